"""torchvision's ResNets without the ``fc`` head, and with a width factor that torchvision's own class lacks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck  # type: ignore[import-untyped]

from benchmark.backbones.conv_layers import initialise, scaled

PLANES = (64, 128, 256, 512)


class ResNet(nn.Module):
    """torchvision's blocks in torchvision's order, under torchvision's names (He et al., 2016)."""

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], width: float, channels: int
    ) -> None:
        super().__init__()
        inputs = scaled(PLANES[0], width)
        self.conv1 = nn.Conv2d(channels, inputs, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number, (size, depth) in enumerate(zip(PLANES, depths, strict=True), start=1):
            planes = scaled(size, width)
            self.add_module(f"layer{number}", _stage(block, inputs, planes, depth, stride=1 if number == 1 else 2))
            inputs = planes * block.expansion
        self.feature_dim = inputs
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (n, channels, h, w) -> (n, feature_dim)."""
        for part in self.children():
            x = part(x)
        return x.mean(dim=(2, 3))


def _stage(block: type[BasicBlock | Bottleneck], inputs: int, planes: int, depth: int, stride: int) -> nn.Sequential:
    outputs = planes * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
    blocks = [block(inputs, planes, stride, shortcut)]
    blocks += [block(outputs, planes) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def resnet18(width: float = 1.0, channels: int = 3) -> nn.Module:
    """ResNet-18, 512 features at width 1."""
    return ResNet(BasicBlock, (2, 2, 2, 2), width, channels)


def resnet50(width: float = 1.0, channels: int = 3) -> nn.Module:
    """ResNet-50, 2,048 features at width 1."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width, channels)
