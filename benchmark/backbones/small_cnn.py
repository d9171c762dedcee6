"""The small convolutional net of the embedded scenario: cheap on a CPU, works from 8x8 grey digits up."""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.backbones.conv_layers import initialise, scaled

WIDTHS = (32, 64, 64)


class SmallCNN(nn.Module):
    """Three 3x3 convolutions without bias, each with BN and ReLU, one pooling, then the global average."""

    def __init__(self, width: float, channels: int) -> None:
        super().__init__()
        first, second, third = (scaled(size, width) for size in WIDTHS)
        self.feature_dim = third
        self.features = nn.Sequential(
            *_convolution(channels, first), *_convolution(first, second), nn.MaxPool2d(2), *_convolution(second, third)
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (n, channels, h, w) with h, w >= 2 -> (n, feature_dim)."""
        features: Tensor = self.features(x)
        return features.mean(dim=(2, 3))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def small_cnn(width: float = 1.0, channels: int = 3) -> nn.Module:
    """The small net with 64 features at width 1."""
    return SmallCNN(width, channels)
