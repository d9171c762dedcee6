"""Masks on frozen weights: scores in, effective weights out, gradients back to the scores.

One grid holds all of them: units x surrogate x soft values (METHODS.md 2.2). Piggyback, KSM and the rows of table 4
are points of it (``methods.registry``).

=================  ============================================================  ==========================
quantity           definition                                                    source
=================  ============================================================  ==========================
kept               B = [score >= tau]  (> tau if ``strict``)                      KSM equation 1; Piggyback
straight-through   dL/dscore = dL/dB                                             KSM equation 2
sigmoid            q = sigmoid(slope (score - tau)), slope = k/T;                KSM equations 6-10, with the
                   B = [q >= 1/2], dL/dscore = slope q (1 - q) dL/dB             release's sign
soft values        A = (1 - B) normal(score), detached as a whole                KSM equation 5
mask               B + A                                                         KSM equation 4
=================  ============================================================  ==========================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods.layout import FlatLayout
from methods.settings import MaskSettings
from methods.soft import RULES
from methods.values import BITS

SURROGATES = ("straight-through", "sigmoid")

#: T of equation 8 in the KSM release; only the optional Gumbel noise sees it apart from ``slope`` = k/T
TEMPERATURE = 100.0


def check(settings: MaskSettings) -> None:
    """Refuse names and numbers that make no mask.

    Raises:
        ValueError: one sentence naming the knob, its value and what it may be.
    """
    if settings.surrogate not in SURROGATES:
        raise ValueError(f"mask.surrogate {settings.surrogate!r} is unknown; choose one of {', '.join(SURROGATES)}")
    if settings.soft not in RULES:
        raise ValueError(f"mask.soft {settings.soft!r} is unknown; choose one of {', '.join(RULES)}")
    if settings.values_dtype not in BITS:
        raise ValueError(f"mask.values_dtype {settings.values_dtype!r} is unknown; choose one of {', '.join(BITS)}")
    if settings.surrogate == "sigmoid" and settings.slope <= 0:
        raise ValueError(f"mask.slope must be above 0, not {settings.slope}")


@dataclass(frozen=True)
class Mask:
    """A finished mask: ``bits`` bool (units,), ``values`` float32 (units,), 0 where the bit is set."""

    bits: Tensor
    values: Tensor

    @property
    def numbers(self) -> Tensor:
        """The mask itself, B + A, float32 (units,)."""
        return self.bits.to(self.values.dtype) + self.values


def initial_scores(layout: FlatLayout, settings: MaskSettings, generator: torch.Generator) -> Tensor:
    """Fresh scores (units,), constant or uniform around ``initial``, on the generator's device."""
    scores = torch.full((layout.units,), settings.initial, device=generator.device)
    if settings.initial_spread:
        scores.add_(torch.empty_like(scores).uniform_(-1, 1, generator=generator), alpha=settings.initial_spread)
    return scores


def kept_units(scores: Tensor, settings: MaskSettings, noise: Tensor | None = None) -> Tensor:
    """B as bool (units,). ``noise``: logistic noise (units,), already divided by k; moves the threshold."""
    shifted = scores if noise is None else scores + noise
    return shifted > settings.threshold if settings.strict else shifted >= settings.threshold


def soft_values(scores: Tensor, kept: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor | None:
    """A, float32 (units,), per layer by the chosen rule; None without soft values."""
    rule = RULES[settings.soft]
    if rule is None:
        return None
    values = torch.empty_like(scores)
    for slot in layout.slots:
        values[slot.unit_slice] = rule(scores[slot.unit_slice], kept[slot.unit_slice])
    return values.mul_(settings.soft_scale)


@torch.no_grad()
def finished(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Mask:
    """The mask that these scores stand for, without noise."""
    kept = kept_units(scores, settings)
    values = soft_values(scores, kept, layout, settings)
    return Mask(kept, torch.zeros_like(scores) if values is None else values)


def logistic_noise(like: Tensor, settings: MaskSettings, generator: torch.Generator) -> Tensor:
    """The difference of two Gumbel samples, in units of the score: added to it, it acts as noise on equation 8."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device).clamp_(1e-7, 1 - 1e-7)
    return torch.logit(uniform).div_(settings.slope * TEMPERATURE)


class EffectiveWeights(torch.autograd.Function):
    """scores -> effective weights of every layer; see the table above for forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, weights: Tensor, noise: Tensor | None, layout: FlatLayout, settings: MaskSettings
    ) -> tuple[Tensor, ...]:
        kept = kept_units(scores, settings, noise)
        values = soft_values(scores, kept, layout, settings)
        numbers = kept.to(weights.dtype) if values is None else values.add_(kept)
        effective = layout.scale(weights, numbers)
        ctx.save_for_backward(scores, weights, *([] if noise is None else [noise]))
        ctx.layout, ctx.settings = layout, settings
        return tuple(layout.views(effective).values())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scores, weights, *noise = ctx.saved_tensors
        settings: MaskSettings = ctx.settings
        per_unit = torch.empty_like(scores)
        for slot, gradient in zip(ctx.layout.slots, gradients, strict=True):
            weight = weights[slot.element_slice]
            target = per_unit[slot.unit_slice]
            if slot.unit_size == 1:
                torch.mul(gradient.reshape(-1), weight, out=target)
            else:
                product = gradient.reshape(-1, slot.unit_size) * weight.view(-1, slot.unit_size)
                torch.sum(product, dim=1, out=target)
        if settings.surrogate == "sigmoid":
            shifted = scores + noise[0] if noise else scores
            q = torch.sigmoid((shifted - settings.threshold).mul_(settings.slope))
            per_unit.mul_(q).mul_(1 - q).mul_(settings.slope)
        return per_unit, None, None, None, None


def effective_weights(
    scores: Tensor, weights: Tensor, layout: FlatLayout, settings: MaskSettings, noise: Tensor | None = None
) -> dict[str, Tensor]:
    """Masked weights by parameter name, differentiable in ``scores`` only.

    Args:
        scores: float32 (units,).
        weights: the frozen weights, float32 (elements,), laid out as ``layout`` says.
        noise: see ``logistic_noise``; None outside training.
    """
    return dict(zip(layout.names, EffectiveWeights.apply(scores, weights, noise, layout, settings), strict=True))
