"""Which weights a task uses, from training to what is stored.

W_eff = B W with B = [abs(M) >= v], v the r-th smallest of a layer's n magnitudes, r = 1 + round((1 - c) (n - 1)).
Gradients: dL/dW = B G and dL/dM = sign(M) W G, G = dL/dW_eff (straight-through).
Source: Kang et al., ICML 2022, section 3 and the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.engine.functions import MaskFunction
from methods.engine.layout import FlatLayout
from methods.engine.packing import packed_length, unpack_bits
from methods.engine.parts import BITS, Tensors, overrides, without_prefix
from methods.engine.restore import LATEST, WEIGHTS, DamagedParts
from methods.engine.selecting import kth_smallest


def edge_rank(density: float, count: int) -> int:
    """r: which of ``count`` magnitudes, the smallest being 1, is the least that is used."""
    return 1 + round((1 - density) * (count - 1))


@torch.no_grad()
def edges(magnitudes: Tensor, layout: FlatLayout, density: float) -> list[float] | list[Tensor]:
    """v of every layer, from abs(M), float32 (elements,): numbers on a CPU, () tensors on a GPU, which is not waited
    for."""
    layers = magnitudes.split_with_sizes(layout.element_counts)
    ranks = [edge_rank(density, len(layer)) for layer in layers]
    if magnitudes.is_cuda:
        return [torch.kthvalue(layer, rank).values for layer, rank in zip(layers, ranks, strict=True)]
    return [kth_smallest(layer.numpy(), rank) for layer, rank in zip(layers, ranks, strict=True)]


@torch.no_grad()
def used(scores: Tensor, layout: FlatLayout, density: float) -> Tensor:
    """B, bool (elements,): the share ``density`` of each layer with the largest scores by magnitude; ties all stay."""
    magnitudes = scores.abs()
    layers = magnitudes.split_with_sizes(layout.element_counts)
    least = edges(magnitudes, layout, density)
    return torch.cat([layer >= least[at] for at, layer in enumerate(layers)])


class Selected(MaskFunction):
    """weights, scores (each (elements,)) -> W_eff, differentiable in both."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, scores: Tensor, layout: FlatLayout, density: float) -> Tensor:
        magnitudes = scores.abs()
        ctx.layout, ctx.edges = layout, edges(magnitudes, layout, density)
        ctx.save_for_backward(weights, scores)
        return _where_used(weights, magnitudes, layout, ctx.edges)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        weights, scores = ctx.saved_tensors
        (gradient,) = gradients
        of_weights = _where_used(gradient, scores.abs(), ctx.layout, ctx.edges)
        return of_weights, scores.sign().mul_(weights).mul_(gradient), None, None


def _where_used(values: Tensor, magnitudes: Tensor, layout: FlatLayout, least: list[float] | list[Tensor]) -> Tensor:
    """``values`` (elements,) where the magnitude is at least the layer's edge, else 0; in one pass over memory."""
    chosen = torch.empty_like(values)
    for at, slot in enumerate(layout.slots):
        part, edge = slot.element_slice, least[at]
        if isinstance(edge, Tensor):
            torch.where(magnitudes[part] >= edge, values[part], values.new_zeros(()), out=chosen[part])
            continue
        below = float(np.nextafter(np.float32(edge), np.float32(-np.inf)))
        torch.ops.aten.threshold_backward(values[part], magnitudes[part], below, grad_input=chosen[part])
    return chosen


def selected_weights(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """The shared weights that the task uses, zero elsewhere, with its biases and BN set.

    Raises:
        DamagedParts: not as many bits as weights.
    """
    assert layout is not None
    packed = kept[BITS]
    if len(packed) != packed_length(layout.elements):
        raise DamagedParts(f"{len(packed)} bytes of mask bits do not fit {layout.elements} weights")
    weights = torch.where(unpack_bits(packed, layout.elements), shared[WEIGHTS], 0.0)
    return layout.views(weights) | without_prefix(shared, LATEST) | overrides(kept)
