"""Soft values: what stands where the binary mask is zero (KSM, equations 4 and 5).

The paper leaves ``normal(.)`` undefined; METHODS.md 2.2 rows 6 and 7 give the readings. Each rule maps one layer's
scores to values of its dropped units; kept units get 0 and so does everything in a degenerate layer (no dropped unit,
or all dropped units equal), so that no NaN can arise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from methods.layout import FlatLayout

Rule = Callable[[Tensor, Tensor], Tensor]


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """``numerator / denominator``, 0 where the denominator is 0 or not finite."""
    usable = (denominator > 0) & torch.isfinite(denominator)
    return torch.where(usable, numerator / torch.where(usable, denominator, torch.ones_like(denominator)), 0.0)


def release(scores: Tensor, kept: Tensor) -> Tensor:
    """The authors' code: min and max over the whole tensor, in which kept units count as zero; zeros stay zero."""
    dropped = scores.masked_fill(kept, 0.0)
    low, high = torch.aminmax(dropped)
    return _ratio(dropped - low, high - low).masked_fill(dropped == 0, 0.0)


def release_everywhere(scores: Tensor, kept: Tensor, layout: FlatLayout, scale: float) -> Tensor:
    """``release`` of every layer times ``scale``, in a few passes over all units at once and without booleans.

    Args:
        scores, kept: float32 (units,); ``kept`` is 1 or 0.

    Returns:
        float32 (units,): bit by bit those of ``release`` where ``scale`` is a power of two, else within rounding.
    """
    dropped = torch.addcmul(scores, scores, kept, value=-1)
    magnitudes = dropped.abs()
    layers = dropped.split_with_sizes(layout.unit_counts)
    bounds = [torch.aminmax(layer) for layer in layers]
    low = torch.stack([bound.min for bound in bounds])
    span = torch.stack([bound.max for bound in bounds]).sub_(low)
    divisor = torch.where(span > 0, span, torch.inf).div_(scale)
    torch._foreach_sub_(layers, low.unbind())
    torch._foreach_div_(layers, divisor.unbind())
    # zeros stay zero: kept units, and dropped ones whose score is exactly 0
    return torch.ops.aten.threshold_backward(dropped, magnitudes, 0.0, grad_input=dropped)  # type: ignore[no-any-return]


def min_max(scores: Tensor, kept: Tensor) -> Tensor:
    """Min and max over the dropped units only: values in [0, 1]."""
    low = scores.masked_fill(kept, torch.inf).amin()
    high = scores.masked_fill(kept, -torch.inf).amax()
    return _ratio(scores - low, high - low).masked_fill(kept, 0.0)


def max_abs(scores: Tensor, kept: Tensor) -> Tensor:
    """Divided by the largest magnitude among the dropped units: values in [-1, 1]."""
    dropped = scores.masked_fill(kept, 0.0)
    return _ratio(dropped, dropped.abs().amax())


def z_score(scores: Tensor, kept: Tensor) -> Tensor:
    """Standardised over the dropped units (population standard deviation)."""
    dropped = (~kept).to(scores.dtype)
    count = dropped.sum().clamp(min=1)
    mean = (scores * dropped).sum() / count
    deviation = (scores - mean) * dropped
    return _ratio(deviation, (deviation.square().sum() / count).sqrt())


RULES: dict[str, Rule | None] = {
    "none": None,
    "release": release,
    "min-max": min_max,
    "max-abs": max_abs,
    "z-score": z_score,
}
