"""SqueezeNet 1.1 (torchvision's) up to its last Fire module; its convolutional classifier gives way to an average.

The network has no BN; its convolutions have biases.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.squeezenet import Fire  # type: ignore[import-untyped]

from benchmark.backbones.conv_layers import scaled

#: Squeeze and expand channels of each Fire module (the two expansions are equally wide); None is a max pooling.
FIRES = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))


class SqueezeNet(nn.Module):
    """torchvision's ``features`` under torchvision's names and initial values, then the global average."""

    def __init__(self, width: float, channels: int) -> None:
        super().__init__()
        stem = scaled(64, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, stem, 3, stride=2), nn.ReLU(inplace=True), _pool()]
        inputs = stem
        for fire in FIRES:
            if fire is None:
                layers.append(_pool())
                continue
            squeeze, expand = (scaled(size, width) for size in fire)
            layers.append(Fire(inputs, squeeze, expand, expand))
            inputs = 2 * expand
        self.feature_dim = inputs
        self.features = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (n, channels, h, w) with h, w >= 17 -> (n, feature_dim)."""
        maps: Tensor = self.features(x)
        return maps.mean(dim=(2, 3))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def squeezenet1_1(width: float = 1.0, channels: int = 3) -> nn.Module:
    """SqueezeNet 1.1, 512 features at width 1."""
    return SqueezeNet(width, channels)
