"""Masks on frozen weights, as section 3 of the KSM paper has them: scores in, effective weights out.

=============================  ==========================================================  =====================
quantity                       definition                                                  source
=============================  ==========================================================  =====================
W_eff, effective weight        W (B + A), one number of the mask per unit of W              equations 3 and 4
B, binary mask                 [M >= tau] (> tau if ``strict``), or the top share a layer  equation 1; Piggyback
B, top share by magnitude      the largest abs(M) of each layer                            SupSup
dL/dM, straight-through        dL/dB, by magnitude times sign(M)                           equation 2
dL/dM, sigmoid                 dL/dB q (1 - q) k/T, with q = sigmoid((M - tau) k/T)        equations 6 to 10
A, soft values                 (1 - B) normal(M), detached                                 equation 5
=============================  ==========================================================  =====================

Equation 8 puts the probability of dropping first; q is that of keeping, as in the authors' code. Piggyback, KSM and
the rows of the paper's table 4 are points of this grid. What stands here is the definition; the same numbers, bit for
bit, come faster from ``methods.engine.fast`` where its conditions hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.engine import fast
from methods.engine.functions import MaskFunction
from methods.engine.knobs import WrongValue, check_settings
from methods.engine.layout import FlatLayout, LayerSlot
from methods.engine.selecting import kth_smallest
from methods.engine.soft_values import SOFT_RULES
from methods.settings import MaskSettings

#: T of equation 8 in the KSM release; only the optional Gumbel noise sees it apart from ``slope`` = k/T
TEMPERATURE = 100.0


def effective_weights(
    scores: Tensor, weights: Tensor, layout: FlatLayout, settings: MaskSettings, noise: Tensor | None = None
) -> dict[str, Tensor]:
    """W_eff by parameter name, differentiable in ``scores`` only (equations 3 and 4).

    Args:
        scores: M, float32 (units,).
        weights: W, the frozen weights, float32 (elements,), laid out as ``layout`` says.
        noise: see ``logistic_noise``; None outside training.
    """
    if fast.serves(settings):
        return fast.effective_weights(scores, weights, layout, settings, noise)
    return masked(weights, mask(scores, layout, settings, noise), layout)


def masked(weights: Tensor, numbers: Tensor, layout: FlatLayout) -> dict[str, Tensor]:
    """Each weight times its unit's number (units,); by parameter name, differentiable in ``numbers``."""
    effective: list[Tensor] = []
    for run in layout.runs:
        products = [(elements * number).flatten(1) for elements, number in run.pieces(weights, numbers)]
        effective.append((torch.cat(products, 1) if len(products) > 1 else products[0]).view(-1))
    return layout.views(torch.cat(effective) if len(effective) > 1 else effective[0])


def mask(scores: Tensor, layout: FlatLayout, settings: MaskSettings, noise: Tensor | None = None) -> Tensor:
    """B + A, float32 (units,) (equation 4)."""
    binary = binary_mask(scores if noise is None else scores + noise, layout, settings)
    if settings.soft == "none":
        return binary
    return binary + soft_values(scores.detach(), binary.detach(), layout, settings)


def binary_mask(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor:
    """B, float32 (units,), 1 or 0 (equation 1), with the surrogate's derivative (equations 2, 6 to 10)."""
    binary: Tensor = _Binary.apply(scores, layout, settings)  # type: ignore[no-untyped-call]
    return binary


def soft_values(scores: Tensor, binary: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor:
    """A, float32 (units,), 0 where B is 1 (equation 5); each layer is normalised by itself."""
    normal = SOFT_RULES[settings.soft]
    assert normal is not None
    counts = layout.unit_counts
    layers = zip(scores.split_with_sizes(counts), binary.bool().split_with_sizes(counts), strict=True)
    return torch.cat([normal(layer, kept) for layer, kept in layers]) * settings.soft_scale


class _Binary(MaskFunction):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor:
        ctx.save_for_backward(scores)
        ctx.settings = settings
        return KEEP_RULES[settings.keep](scores, layout, settings).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        scores, settings = ctx.saved_tensors[0], ctx.settings
        gradient = SURROGATES[settings.surrogate](gradients[0], scores, settings)
        return gradient * scores.sign() if settings.keep == BY_MAGNITUDE else gradient, None, None


# ------------------------------------------------------------------ rules that a knob names


def straight_through(gradient: Tensor, scores: Tensor, settings: MaskSettings) -> Tensor:
    """dL/dB as it is (equation 2)."""
    return gradient


def sigmoid(gradient: Tensor, scores: Tensor, settings: MaskSettings) -> Tensor:
    """dL/dB times the derivative of q = sigmoid((M - tau) k/T) (equations 6 to 10)."""
    q = torch.sigmoid((scores - settings.threshold) * settings.slope)
    return gradient * q * (1 - q) * settings.slope


#: ``mask.surrogate`` -> gradient of B (units,), scores (units,) -> gradient of the scores
SURROGATES: dict[str, Callable[[Tensor, Tensor, MaskSettings], Tensor]] = {
    "straight-through": straight_through,
    "sigmoid": sigmoid,
}


def above_threshold(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor:
    """Units whose score is at or above tau, or strictly above it: bool (units,)."""
    return scores > settings.threshold if settings.strict else scores >= settings.threshold


def top_share(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor:
    """The ``top`` share of each layer's units, those with the highest scores: bool (units,).

    As many as round(share x units), half up, and one at least; of equal scores the earlier units.
    """
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for slot in layout.slots:
        count = max(1, int(settings.top * slot.units + 0.5))
        highest = scores[slot.unit_slice].sort(descending=True, stable=True).indices[:count]
        kept[slot.unit_slice][highest] = True
    return kept


def top_share_by_magnitude(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Tensor:
    """Units with the largest magnitudes in each layer: bool (units,).

    Of n units in a layer of density k the floor((1 - k) n) smallest fall, of equal magnitudes the earlier ones.
    Source: Wortsman et al., Supermasks in Superposition, NeurIPS 2020.
    """
    kept = torch.empty_like(scores, dtype=torch.bool)
    for slot in layout.slots:
        dropped = int((1 - density_of(slot, settings)) * slot.units + 1e-9)
        kept[slot.unit_slice] = without_smallest(scores[slot.unit_slice].abs(), dropped)
    return kept


def density_of(slot: LayerSlot, settings: MaskSettings) -> float:
    """The share of a layer's units that is kept: ``top``, or, with ``er``, SupSup's Erdos-Renyi density."""
    if settings.er is None:
        return settings.top
    return min(0.5, settings.er * (slot.shape[0] + slot.shape[1]) / slot.elements)


def without_smallest(magnitudes: Tensor, dropped: int) -> Tensor:
    """bool (n,): all but the ``dropped`` smallest of (n,) magnitudes; of equal ones the earlier fall first."""
    if not dropped:
        return torch.ones_like(magnitudes, dtype=torch.bool)
    kept = torch.zeros_like(magnitudes, dtype=torch.bool)
    if magnitudes.is_cuda:  # nothing here waits for the device
        kept[magnitudes.sort(stable=True).indices[dropped:]] = True
        return kept
    numbers, chosen = magnitudes.detach().numpy(), kept.numpy()  # the same memory
    edge = kth_smallest(numbers, dropped)
    np.greater(numbers, edge, out=chosen)
    if lacking := len(numbers) - dropped - np.count_nonzero(chosen):
        chosen[np.flatnonzero(numbers == edge)[-lacking:]] = True
    return kept


BY_MAGNITUDE = "top-magnitude"

#: ``mask.keep`` -> scores (units,) -> kept units, bool (units,)
KEEP_RULES: dict[str, Callable[[Tensor, FlatLayout, MaskSettings], Tensor]] = {
    "threshold": above_threshold,
    "top": top_share,
    BY_MAGNITUDE: top_share_by_magnitude,
}


# ------------------------------------------------------------------ before and after training


def check(settings: MaskSettings) -> None:
    """Refuse names and numbers that make no mask.

    Raises:
        ValueError: one sentence naming the knob, its value and what it may be.
    """
    try:
        check_settings(settings)
    except WrongValue as error:
        raise ValueError(f"mask.{error}") from error


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
    """Fresh scores (units,) on the generator's device: constant or uniform around ``initial``, or, with start=fan-in,
    uniform within 1 / sqrt(fan-in) of each layer (Kaiming-uniform with a = sqrt(5), torch's default for weights)."""
    if settings.start == "fan-in":
        return fan_in_scores(layout, generator)
    scores = torch.full((layout.units,), settings.initial, device=generator.device)
    if settings.initial_spread:
        scores.add_(torch.empty_like(scores).uniform_(-1, 1, generator=generator), alpha=settings.initial_spread)
    return scores


def fan_in_scores(layout: FlatLayout, generator: torch.Generator) -> Tensor:
    """Uniform within 1 / sqrt(fan-in) of each layer: (units,), on the generator's device."""
    scores = torch.empty(layout.units, device=generator.device).uniform_(-1, 1, generator=generator)
    bounds = [(slot.elements / slot.shape[0]) ** -0.5 for slot in layout.slots]
    torch._foreach_mul_(scores.split_with_sizes(layout.unit_counts), bounds)
    return scores


@torch.no_grad()
def finished(scores: Tensor, layout: FlatLayout, settings: MaskSettings) -> Mask:
    """The mask that these scores stand for, without noise."""
    bits = KEEP_RULES[settings.keep](scores, layout, settings)
    if settings.soft == "none":
        return Mask(bits, torch.zeros_like(scores))
    return Mask(bits, soft_values(scores, bits, layout, settings))


def logistic_noise(like: Tensor, settings: MaskSettings, generator: torch.Generator) -> Tensor:
    """The difference of two Gumbel samples, in units of the score: added to it, it acts as noise on equation 8."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device).clamp_(1e-7, 1 - 1e-7)
    return torch.logit(uniform).div_(settings.slope * TEMPERATURE)
