"""CPG's VGG16-BN for CIFAR: 13 convolutions, then two hidden fully connected layers."""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.backbones.conv_layers import initialise, scaled

#: Output channels of the convolutions; 0 is a 2x2 max pooling.
LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
HIDDEN = 4096


class VGG16BN(nn.Module):
    """3x3 convolutions without bias, each with BN and ReLU; two FC layers with bias and ReLU, no dropout."""

    def __init__(self, width: float, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in LAYERS:
            if size == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            outputs = scaled(size, width)
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            channels = outputs
        self.feature_dim = scaled(HIDDEN, width)
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            nn.Linear(channels, self.feature_dim),
            nn.ReLU(inplace=True),
            nn.Linear(self.feature_dim, self.feature_dim),
            nn.ReLU(inplace=True),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (n, channels, h, w) with h, w >= 32 -> (n, feature_dim). Larger images are averaged over space."""
        maps: Tensor = self.features(x)
        features: Tensor = self.hidden(maps.mean(dim=(2, 3)))
        return features


def vgg16_bn(width: float = 1.0, channels: int = 3) -> nn.Module:
    """CPG's network; 33,601,472 parameters and 4,096 features at width 1."""
    return VGG16BN(width, channels)
