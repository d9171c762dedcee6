"""Adding masks up: W_eff = W sum_k a_k B_k, layer by layer, from training to what is stored.

B_k are the impressions, a_k a task's coefficients, one per impression and layer. dL/da_k = <dL/dW_eff, W B_k>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.engine.functions import MaskFunction
from methods.engine.layout import FlatLayout
from methods.engine.packing import packed_length, unpack_bits
from methods.engine.parts import BACKBONE, Tensors, overrides
from methods.engine.restore import DamagedParts

#: what tasks share beside the backbone: packed bits, (impressions, bytes); what a task adds: (impressions, layers)
IMPRESSIONS, COEFFICIENTS = "impressions", "coefficients"


def unpacked(packed: Tensor, layout: FlatLayout) -> Tensor:
    """uint8 (impressions, bytes) -> bool (impressions, elements). Raises DamagedParts."""
    if packed.ndim != 2 or packed.shape[1] != packed_length(layout.elements):
        raise DamagedParts(f"impressions of shape {tuple(packed.shape)} do not fit {layout.elements} weights")
    if not len(packed):
        return torch.zeros(0, layout.elements, dtype=torch.bool, device=packed.device)
    return torch.stack([unpack_bits(row, layout.elements) for row in packed])


def summed(coefficients: Tensor, masks: Tensor, layout: FlatLayout) -> Tensor:
    """sum_k a_k B_k, float32 (elements,).

    Args:
        coefficients: (impressions, layers), or (impressions, 1) where all layers have the same.
        masks: bool (impressions, elements).
    """
    coefficients = coefficients.expand(-1, len(layout.slots))
    numbers = torch.zeros(layout.elements, device=masks.device)
    for number, slot in enumerate(layout.slots):
        layer = numbers[slot.element_slice]
        for mask, factor in zip(masks[:, slot.element_slice], coefficients[:, number], strict=True):
            layer.addcmul_(mask.to(layer.dtype), factor)
    return numbers


class Combined(MaskFunction):
    """coefficients (impressions, layers) -> W_eff (elements,), differentiable in the coefficients."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, masks: Tensor, weights: Tensor, layout: FlatLayout) -> Tensor:
        ctx.save_for_backward(masks, weights)
        ctx.layout = layout
        return weights * summed(coefficients, masks, layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        masks, weights = ctx.saved_tensors
        products = (gradients[0] * weights).split_with_sizes(ctx.layout.element_counts)
        of_layers = masks.split_with_sizes(ctx.layout.element_counts, dim=1)
        columns = [part.to(product.dtype) @ product for part, product in zip(of_layers, products, strict=True)]
        return torch.stack(columns, dim=1), None, None, None


def combined_weights(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """The backbone's weights times the task's sum of impressions, and the task's own tensors.

    Raises:
        DamagedParts: the impressions do not fit the layout, or the coefficients do not fit the impressions.
    """
    assert layout is not None
    coefficients = kept[COEFFICIENTS]
    masks = unpacked(shared[IMPRESSIONS], layout)
    if coefficients.ndim != 2 or coefficients.shape[1] not in (1, len(layout.slots)) or len(coefficients) > len(masks):
        raise DamagedParts(f"coefficients of shape {tuple(coefficients.shape)} do not fit {len(masks)} impressions")
    weights = torch.cat([shared[BACKBONE + name].reshape(-1) for name in layout.names])
    numbers = summed(coefficients, masks[: len(coefficients)], layout)
    return layout.views(weights * numbers) | overrides(kept)
