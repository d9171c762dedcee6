"""k0 W + k1 + k2 B + k3 W B with four scalars for each layer: weights, gradients, and the stored form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from methods.engine.functions import MaskFunction
from methods.engine.layout import FlatLayout
from methods.engine.parts import BACKBONE, BITS, Tensors, overrides
from methods.engine.restore import DamagedParts, stored_mask

#: part: k0 to k3 of every layer, float32 (layers, 4)
SCALARS = "affine.scalars"


@dataclass(frozen=True)
class Form:
    """Which scalars train, and what the others are."""

    trained: tuple[int, ...]
    others: tuple[float, float, float, float]

    def all_scalars(self, trained: Tensor) -> Tensor:
        """(layers, trained scalars) -> (layers, 4). Differentiable."""
        row, places = _on(self, trained.device)
        return row.repeat(len(trained), 1).index_copy(1, places, trained)

    def initial(self, weights: list[Tensor]) -> Tensor:
        """What the trained scalars start from, (layers, trained scalars): the transformation is the identity where
        every unit is kept, and scores have gradients.

        All four: k3 = 1. Else k2 is the standard deviation of the layer's weights and k1 = -k2.
        """
        if len(self.trained) == len(self.others):
            return torch.tensor([[0.0, 0.0, 0.0, 1.0]], device=weights[0].device).repeat(len(weights), 1)
        spread = torch.stack([weight.std(correction=0) for weight in weights])
        return torch.stack([-spread, spread], 1)


@lru_cache(maxsize=16)
def _on(form: Form, device: torch.device) -> tuple[Tensor, Tensor]:
    """All scalars (1, 4) and which of them train, on the device once: a copy in every step has the host wait."""
    return torch.tensor([form.others], device=device), torch.tensor(form.trained, device=device)


FORMS = {"2018": Form((1, 2), (1.0, 0.0, 0.0, 0.0)), "2021": Form((0, 1, 2, 3), (0.0, 0.0, 0.0, 0.0))}


def transformed(numbers: Tensor, scalars: Tensor, weights: Tensor, layout: FlatLayout) -> dict[str, Tensor]:
    """Effective weights by parameter name, differentiable in ``numbers`` and ``scalars``.

    Args:
        numbers: B, float32 (units,).
        scalars: k0 to k3 of each layer, float32 (layers, 4).
        weights: W, float32 (elements,).
    """
    effective = _Transformed.apply(numbers, scalars, weights, layout)  # type: ignore[no-untyped-call]
    return dict(zip(layout.names, effective, strict=True))


class _Transformed(MaskFunction):
    @staticmethod
    def forward(ctx: Any, numbers: Tensor, scalars: Tensor, weights: Tensor, layout: FlatLayout) -> tuple[Tensor, ...]:
        ctx.save_for_backward(numbers, scalars, weights)
        ctx.layout = layout
        effective = torch.empty_like(weights)
        masks = layout.expand(numbers)
        for slot, (k0, k1, k2, k3) in zip(layout.slots, scalars.unbind(), strict=True):
            weight, mask = weights[slot.element_slice], masks[slot.element_slice]
            # k1 + k2 B first: 0, exactly, where k1 = -k2 and B = 1
            torch.add(k0 * weight + (k1 + k2 * mask), k3 * weight * mask, out=effective[slot.element_slice])
        return tuple(layout.parts(effective))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        numbers, scalars, weights = ctx.saved_tensors
        layout: FlatLayout = ctx.layout
        masks, factors = layout.expand(numbers), torch.empty_like(weights)
        of_scalars = torch.empty_like(scalars)
        for layer, (slot, gradient) in enumerate(zip(layout.slots, gradients, strict=True)):
            weight, mask, flat = weights[slot.element_slice], masks[slot.element_slice], gradient.reshape(-1)
            masked = flat * mask
            of_scalars[layer] = torch.stack([flat.dot(weight), flat.sum(), masked.sum(), masked.dot(weight)])
            torch.add(scalars[layer, 2], scalars[layer, 3] * weight, out=factors[slot.element_slice])
        return layout.unit_products(gradients, factors, torch.empty_like(numbers)), of_scalars, None, None


def affine_weights(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """The transformed weights of a task, and the task's own tensors; without a mask only these.

    Raises:
        DamagedParts: mask or scalars do not fit the layout.
    """
    own = overrides(kept)
    if BITS not in kept:
        return own
    assert layout is not None
    scalars = kept[SCALARS]
    if scalars.shape != (len(layout.slots), 4):
        raise DamagedParts(f"scalars of the shape {tuple(scalars.shape)} do not fit {len(layout.slots)} layers")
    weights = layout.flatten({name: shared[BACKBONE + name] for name in layout.names})
    return transformed(stored_mask(kept, layout).numbers, scalars, weights, layout) | own
