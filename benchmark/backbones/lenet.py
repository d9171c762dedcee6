"""LeNet for 32 pixels, as WSN's authors use it on the twenty superclasses of CIFAR-100: no biases, no BN."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (20, 50)
HIDDEN = (800, 500)
#: side of the last feature map at 32 pixels; maps of other images are pooled to it
SIDE = 8


class LeNet(nn.Module):
    """Two 5x5 convolutions with pooling, two hidden linear layers; torch's own initial values."""

    def __init__(self, width: float, channels: int) -> None:
        super().__init__()
        first, second, hidden, self.feature_dim = (max(1, round(size * width)) for size in (*WIDTHS, *HIDDEN))
        self.features = nn.Sequential(*_convolution(channels, first), *_convolution(first, second))
        self.pool = nn.AdaptiveAvgPool2d(SIDE)
        self.hidden = nn.Sequential(
            nn.Linear(second * SIDE**2, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, self.feature_dim, bias=False),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """float32 (n, channels, h, w), 32 x 32 as published -> (n, feature_dim)."""
        features: Tensor = self.hidden(self.pool(self.features(x)).flatten(1))
        return features


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 5, padding=2, bias=False),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def lenet(width: float = 1.0, channels: int = 3) -> nn.Module:
    """LeNet with 500 features at width 1: 1,500 + 25,000 + 2,560,000 + 400,000 weights."""
    return LeNet(width, channels)
