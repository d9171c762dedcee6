"""Mask layers written the straightforward way, as the KSM and Piggyback releases do: every layer computes its own mask.

A peer to measure against, not used by any method. Own re-implementation from the papers' equations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

THRESHOLD, INITIAL, SLOPE = 0.005, 0.01, 12.0


class _StraightThrough(torch.autograd.Function):
    """Binary in the forward pass, the identity in the backward pass."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        return (scores > THRESHOLD).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class MaskedConvolution(nn.Module):
    """A frozen convolution whose weight is multiplied by its own mask in every forward pass.

    Args:
        convolution: gives the frozen weight and the geometry.
        kernel_wise: one score per kernel with the sigmoid surrogate and soft values (KSM), else one per element,
            straight-through (Piggyback).
    """

    def __init__(self, convolution: nn.Conv2d, kernel_wise: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.detach().clone(), requires_grad=False)
        self.bias = convolution.bias
        self.geometry: dict[str, Any] = {
            "stride": convolution.stride,
            "padding": convolution.padding,
            "dilation": convolution.dilation,
            "groups": convolution.groups,
        }
        self.kernel_wise = kernel_wise
        outputs, inputs, *_ = self.weight.shape
        shape = (outputs, inputs, 1, 1) if kernel_wise else self.weight.shape
        self.scores = nn.Parameter(torch.full(shape, INITIAL))

    def mask(self) -> Tensor:
        """B, or for KSM B + A (equation 4)."""
        if not self.kernel_wise:
            binary: Tensor = _StraightThrough.apply(self.scores)  # type: ignore[no-untyped-call]
            return binary
        surrogate = torch.sigmoid(SLOPE * (self.scores - THRESHOLD))
        binary = (surrogate >= 0.5).to(surrogate.dtype) - surrogate.detach() + surrogate
        dropped = self.scores.detach() * (binary.detach() == 0)
        low, high = dropped.min(), dropped.max()
        soft = torch.where(dropped != 0, (dropped - low) / (high - low + 1e-12), torch.zeros_like(dropped))
        return binary + 0.5 * soft

    def forward(self, images: Tensor) -> Tensor:
        """As ``nn.Conv2d``."""
        return functional.conv2d(images, self.weight * self.mask(), self.bias, **self.geometry)


def with_masks(network: nn.Module, kernel_wise: bool) -> nn.Module:
    """``network`` with every convolution replaced, in place; everything else but BN is frozen."""
    network.requires_grad_(False)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(module, name, MaskedConvolution(child, kernel_wise).to(child.weight.device))
            elif isinstance(child, nn.BatchNorm2d) and kernel_wise:
                child.requires_grad_(True)
    return network
