"""Soft values as they are stored: fp32, fp16, or int8 with one scale per layer; dropped units only.

Accuracy is measured with the values as they come back, so the loss of the conversion is in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.engine.layout import FlatLayout

#: bits per stored value
VALUE_BITS = {"fp32": 32, "fp16": 16, "int8": 8}
TORCH = {"fp32": torch.float32, "fp16": torch.float16}

LARGEST = 127  #: of int8, used symmetrically


def encode(values: Tensor, bits: Tensor, layout: FlatLayout, dtype: str) -> tuple[Tensor, Tensor | None]:
    """Values to store.

    Args:
        values: float32 (units,).
        bits: bool (units,), kept units; their values are not stored.
        dtype: a key of ``VALUE_BITS``.

    Returns:
        The dropped units' numbers in layout order, and for "int8" float32 (layers,): what one step stands for.
    """
    dropped = ~bits
    if dtype != "int8":
        return values[dropped].to(TORCH[dtype]), None
    scales = torch.stack([values[slot.unit_slice].abs().amax() / LARGEST for slot in layout.slots])
    steps = values / _per_unit(torch.where(scales > 0, scales, 1.0), layout)
    return steps[dropped].round().clamp(-LARGEST, LARGEST).to(torch.int8), scales


def decode_layer(stored: Tensor, scale: Tensor | None) -> Tensor:
    """One layer's part of what ``encode`` stored, as float32 (dropped units,); ``scale``: its own, for "int8"."""
    values = stored.to(torch.float32)
    return values if scale is None else values * scale


def _per_unit(per_layer: Tensor, layout: FlatLayout) -> Tensor:
    """Repeat each layer's number for its units: (layers,) -> (units,)."""
    counts = torch.tensor([slot.units for slot in layout.slots], device=per_layer.device)
    return per_layer.repeat_interleave(counts)
