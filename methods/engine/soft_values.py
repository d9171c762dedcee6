"""Soft values: what stands where the binary mask is zero (KSM, equations 4 and 5).

The paper leaves ``normal(.)`` undefined; "release" is what the authors' code does, the others are readings of the
text. Each rule maps one layer's scores to values of its dropped units; kept units get 0, and so does everything in a
degenerate layer (no dropped unit, or all dropped units equal), so that no NaN can arise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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


#: ``mask.soft`` -> scores (units of a layer,), kept units, bool -> values, 0 where kept; None: no soft values
SOFT_RULES: dict[str, Rule | None] = {
    "none": None,
    "release": release,
    "min-max": min_max,
    "max-abs": max_abs,
    "z-score": z_score,
}
