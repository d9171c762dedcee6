"""What a backbone starts from before the first task: as it was given, or weights that no task ever trains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods.card import AS_GIVEN, RANDOM, SIGNED_CONSTANT
from methods.engine.layers import weight_layers


def as_given(backbone: nn.Module, generator: torch.Generator) -> None:
    """Nothing: trained weights, or those that task 1 is to train."""


@torch.no_grad()
def signed_constant(backbone: nn.Module, generator: torch.Generator) -> None:
    """Every convolution and linear weight is +s or -s with equal chance, s = sqrt(2 / fan-in) of its layer.

    Source: Ramanujan et al., What's hidden in a randomly weighted neural network?, CVPR 2020 ("signed Kaiming
    constant"), as SupSup uses it.
    """
    for _, module in weight_layers(backbone):
        weight = module.weight
        assert isinstance(weight, Tensor)
        signs = torch.randint(0, 2, weight.shape, generator=generator).mul_(2).sub_(1)
        weight.copy_(signs.to(weight) * (2 / weight[0].numel()) ** 0.5)


@torch.no_grad()
def random(backbone: nn.Module, generator: torch.Generator) -> None:
    """Every convolution and linear weight from a normal distribution of standard deviation sqrt(2 / fan-in)."""
    for _, module in weight_layers(backbone):
        weight = module.weight
        assert isinstance(weight, Tensor)
        normal = torch.empty(weight.shape).normal_(generator=generator)
        weight.copy_(normal.to(weight) * (2 / weight[0].numel()) ** 0.5)


#: ``Needs.backbone`` -> changes a backbone in place; the generator is torch's, on the CPU
INITIAL: dict[str, Callable[[nn.Module, torch.Generator], None]] = {
    AS_GIVEN: as_given,
    SIGNED_CONSTANT: signed_constant,
    RANDOM: random,
}
