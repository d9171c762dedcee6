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
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.layout import FlatLayout
from methods.settings import MaskSettings
from methods.soft import RULES, release_everywhere
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


def _gated(values: Tensor, scores: Tensor, settings: MaskSettings) -> Tensor:
    """``values`` (broadcast to the scores) where a unit is kept, 0 where it is dropped, in one pass.

    The derivative of the threshold function is just that. Comparing and selecting by booleans takes five to twenty
    times as long on a CPU.
    """
    return torch.ops.aten.threshold_backward(values, scores, _strict_threshold(settings))  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _strict_threshold(settings: MaskSettings) -> float:
    """The float32 number above which, strictly, a unit is kept: tau, or the number just below it for ">="."""
    threshold = np.float32(settings.threshold)
    return float(threshold if settings.strict else np.nextafter(threshold, np.float32(-np.inf)))


def kept_units(scores: Tensor, settings: MaskSettings, noise: Tensor | None = None) -> Tensor:
    """B as float32 (units,), 1 or 0. ``noise``: logistic noise (units,), already divided by k; moves the threshold."""
    shifted = scores if noise is None else scores + noise
    return _gated(torch.ones((), dtype=scores.dtype, device=scores.device), shifted, settings)


def soft_values(scores: Tensor, kept: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor | None:
    """A, float32 (units,), per layer by the chosen rule; None without soft values. ``kept``: B, float32 (units,)."""
    if settings.soft == "release":
        return release_everywhere(scores, kept, layout, settings.soft_scale)
    rule = RULES[settings.soft]
    if rule is None:
        return None
    values = torch.empty_like(scores)
    kept_bits = kept.bool()
    for slot in layout.slots:
        values[slot.unit_slice] = rule(scores[slot.unit_slice], kept_bits[slot.unit_slice])
    return values.mul_(settings.soft_scale)


@torch.no_grad()
def finished(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Mask:
    """The mask that these scores stand for, without noise."""
    kept = kept_units(scores, settings)
    values = soft_values(scores, kept, layout, settings)
    return Mask(kept.bool(), torch.zeros_like(scores) if values is None else values)


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
        if settings.soft == "none" and layout.elementwise:
            effective = _gated(weights, scores if noise is None else scores + noise, settings)
        else:
            kept = kept_units(scores, settings, noise)
            values = soft_values(scores, kept, layout, settings)
            effective = layout.scale(weights, kept if values is None else values.add_(kept))
        ctx.save_for_backward(scores, weights, *([] if noise is None else [noise]))
        ctx.layout, ctx.settings = layout, settings
        return tuple(layout.parts(effective))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scores, weights, *noise = ctx.saved_tensors
        settings: MaskSettings = ctx.settings
        per_unit = ctx.layout.unit_products(gradients, weights)
        if settings.surrogate == "sigmoid":
            shifted = scores + noise[0] if noise else scores
            q = (shifted - settings.threshold).mul_(settings.slope).sigmoid_()
            per_unit.mul_(q).mul_(q.neg_().add_(1)).mul_(settings.slope)
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
    effective = EffectiveWeights.apply(scores, weights, noise, layout, settings)  # type: ignore[no-untyped-call]
    return dict(zip(layout.names, effective, strict=True))
