"""MobileNetV2 (Sandler et al., 2018) without its head: torchvision's network, and a variant expanded throughout.

The two differ in one place. torchvision leaves out the expansion of the first inverted residual, where it would map
32 channels to 32; ``mobilenet_v2_expanded`` has it, as some published weights do.
"""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.backbones.conv_layers import initialise, scaled

#: Per stage: expansion factor, output channels, blocks, stride of the first block (table 2 of the paper).
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """Expansion (1x1), depthwise 3x3, linear projection (1x1); ``expansion`` None: without the first."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int | None) -> None:
        super().__init__()
        hidden = inputs * (expansion or 1)
        steps: list[nn.Module] = [] if expansion is None else [_activated(inputs, hidden, 1)]
        steps += [
            _activated(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*steps)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """torchvision's ``features`` under torchvision's names, then the global average. Unlike torchvision's, the last
    convolution narrows with ``width`` as well."""

    def __init__(self, width: float, channels: int, expand_first: bool) -> None:
        super().__init__()
        inputs = scaled(32, width)
        layers: list[nn.Module] = [_activated(channels, inputs, 3, stride=2)]
        for factor, size, depth, stride in STAGES:
            outputs = scaled(size, width)
            expansion = factor if factor > 1 or expand_first else None
            for block in range(depth):
                layers.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
                inputs = outputs
        self.feature_dim = scaled(1280, width)
        layers.append(_activated(inputs, self.feature_dim, 1))
        self.features = nn.Sequential(*layers)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (n, channels, h, w) -> (n, feature_dim)."""
        maps: Tensor = self.features(x)
        return maps.mean(dim=(2, 3))


def _activated(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-5),
        nn.ReLU6(inplace=True),
    )


def mobilenet_v2(width: float = 1.0, channels: int = 3) -> nn.Module:
    """torchvision's MobileNetV2, 1,280 features at width 1."""
    return MobileNetV2(width, channels, expand_first=False)


def mobilenet_v2_expanded(width: float = 1.0, channels: int = 3) -> nn.Module:
    """MobileNetV2 with an expansion in every inverted residual, the first one included; 1,280 features at width 1."""
    return MobileNetV2(width, channels, expand_first=True)
