"""What the backbones share: the width factor and the initial values."""

from __future__ import annotations

from torch import nn


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded to the nearest multiple of 4 (half up), at least 4.

    Every published width here is a multiple of 4, so a factor of 1 changes none of them.
    """
    return max(4, 4 * int(channels * width / 4 + 0.5))


def initialise(network: nn.Module) -> None:
    """Initial values of CPG and torchvision, in place: convolutions Kaiming-normal by fan-out, BN 1 and 0,
    linear weights N(0, 0.01), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
