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

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.blocks import Block, blocks_of, cut
from methods.layout import FlatLayout
from methods.settings import MaskSettings
from methods.soft import RULES, release_by_blocks
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


def _dropped(values: Tensor, scores: Tensor, settings: MaskSettings) -> Tensor:
    """``values`` where a unit is dropped, 0 where it is kept, in one pass: the derivative of a clamp."""
    return torch.ops.aten.hardtanh_backward(values, scores, -np.inf, _least_kept(settings))  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _strict_threshold(settings: MaskSettings) -> float:
    """The float32 number above which, strictly, a unit is kept: tau, or the number just below it for ">="."""
    threshold = np.float32(settings.threshold)
    return float(threshold if settings.strict else np.nextafter(threshold, np.float32(-np.inf)))


@lru_cache(maxsize=64)
def _least_kept(settings: MaskSettings) -> float:
    """The least float32 score of a kept unit: tau, or the number just above it for ">"."""
    threshold = np.float32(settings.threshold)
    return float(np.nextafter(threshold, np.float32(np.inf)) if settings.strict else threshold)


def kept_units(scores: Tensor, settings: MaskSettings) -> Tensor:
    """B as float32 (units,), 1 or 0."""
    return _gated(torch.ones((), dtype=scores.dtype, device=scores.device), scores, settings)


def masks_by_blocks(
    scores: Tensor, layout: FlatLayout, settings: MaskSettings, noise: Tensor | None = None
) -> Iterator[tuple[Block, Tensor, Tensor | None]]:
    """B and A of block after block: float32 (units of the block,) each, fresh; A is None without soft values."""
    shifted = scores if noise is None else scores + noise

    def kept_in(block: Block) -> Tensor:
        return kept_units(shifted[block.units], settings)

    def dropped_in(block: Block) -> Tensor:
        return _dropped(scores[block.units], shifted[block.units], settings)

    if settings.soft == "release":
        for block, values in release_by_blocks(blocks_of(layout, scores.device), dropped_in, settings.soft_scale):
            yield block, kept_in(block), values
    elif (rule := RULES[settings.soft]) is None:
        for block in blocks_of(layout, scores.device):
            yield block, kept_in(block), None
    else:  # the other readings of equation 5 are there to be compared, not to be fast
        (whole,) = cut(layout, layout.units)
        kept = kept_in(whole)
        layers = zip(
            scores.split_with_sizes(layout.unit_counts), kept.split_with_sizes(layout.unit_counts), strict=True
        )
        yield whole, kept, torch.cat([rule(layer, bits.bool()) for layer, bits in layers]).mul_(settings.soft_scale)


@torch.no_grad()
def finished(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Mask:
    """The mask that these scores stand for, without noise."""
    bits, values = torch.empty_like(scores, dtype=torch.bool), torch.zeros_like(scores)
    for block, kept, soft in masks_by_blocks(scores, layout, settings):
        bits[block.units] = kept
        if soft is not None:
            values[block.units] = soft
    return Mask(bits, values)


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
            effective = torch.empty_like(weights)
            for block, kept, soft in masks_by_blocks(scores, layout, settings, noise):
                mask = kept if soft is None else kept.add_(soft)
                block.layout.scale(weights[block.elements], mask, out=effective[block.elements])
        ctx.save_for_backward(scores, weights, *([] if noise is None else [noise]))
        ctx.layout, ctx.settings = layout, settings
        return tuple(layout.parts(effective))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scores, weights, *noise = ctx.saved_tensors
        settings: MaskSettings = ctx.settings
        shifted = scores + noise[0] if noise else scores
        layers = [gradient.reshape(-1) for gradient in gradients]
        per_unit = torch.empty_like(scores)
        for block in blocks_of(ctx.layout, scores.device):
            sums = per_unit[block.units]
            block.layout.unit_products(block.parts_of(layers), weights[block.elements], sums)
            if settings.surrogate == "sigmoid":
                q = (shifted[block.units] - settings.threshold).mul_(settings.slope).sigmoid_()
                sums.mul_(q).mul_(q.neg_().add_(1)).mul_(settings.slope)
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
