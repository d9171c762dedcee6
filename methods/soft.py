"""Soft values: what stands where the binary mask is zero (KSM, equations 4 and 5).

The paper leaves ``normal(.)`` undefined; METHODS.md 2.2 rows 6 and 7 give the readings. Each rule maps one layer's
scores to values of its dropped units; kept units get 0 and so does everything in a degenerate layer (no dropped unit,
or all dropped units equal), so that no NaN can arise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from methods.blocks import Block

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


def release_by_blocks(
    blocks: Sequence[Block], dropped_in: Callable[[Block], Tensor], scale: float
) -> Iterator[tuple[Block, Tensor]]:
    """``release`` of every layer times ``scale``, block after block, in a few passes and without booleans.

    Args:
        blocks: all blocks of a layout.
        dropped_in: the scores of a block's dropped units, 0 for kept ones; float32 (units of the block,), to write in.

    Yields:
        A block and its values, float32 (units of the block,): bit by bit those of ``release`` where ``scale`` is a
        power of two, else within rounding.
    """
    held = [dropped_in(block) for block in blocks] if len(blocks) == 1 else None
    low, divisor = _bounds(blocks, (dropped_in(block) for block in blocks) if held is None else held, scale)
    for number, block in enumerate(blocks):
        dropped = dropped_in(block) if held is None else held[number]
        magnitudes = dropped.abs()
        parts = dropped.split_with_sizes(block.layout.unit_counts)
        torch._foreach_sub_(parts, [low[layer] for layer in block.layers])
        torch._foreach_div_(parts, [divisor[layer] for layer in block.layers])
        # zeros stay zero: kept units, and dropped ones whose score is exactly 0
        torch.ops.aten.threshold_backward(dropped, magnitudes, 0.0, grad_input=dropped)
        yield block, dropped


def _bounds(
    blocks: Sequence[Block], dropped: Iterable[Tensor], scale: float
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Each layer's minimum, and its span over ``scale`` (infinite where there is none)."""
    bounds: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for block, scores in zip(blocks, dropped, strict=True):
        for layer, part in zip(block.layers, scores.split_with_sizes(block.layout.unit_counts), strict=True):
            bounds.setdefault(layer, []).append(torch.aminmax(part))
    low = torch.stack([_over([bound[0] for bound in found], torch.amin) for _, found in sorted(bounds.items())])
    high = torch.stack([_over([bound[1] for bound in found], torch.amax) for _, found in sorted(bounds.items())])
    span = high.sub_(low)
    return low.unbind(), torch.where(span > 0, span, torch.inf).div_(scale).unbind()


def _over(parts: list[Tensor], reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """One number of a layer from those of its parts."""
    return parts[0] if len(parts) == 1 else reduce(torch.stack(parts))


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
