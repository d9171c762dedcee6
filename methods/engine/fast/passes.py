"""The same effective weights as ``methods.engine.masks``, bit for bit, in fewer passes over memory.

A training step masks every weight anew. Done block by block, what is worked out on the way stays in the cache;
selecting by the derivative of a threshold takes a fraction of the time of comparing and selecting by booleans; and one
function with both passes needs no copy of the layers' gradients. What that pays is in docs/findings.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.engine.fast.blocks import Block, blocks_of, whole
from methods.engine.functions import MaskFunction
from methods.engine.layout import FlatLayout
from methods.settings import MaskSettings


def serves(settings: MaskSettings) -> bool:
    """These masks can be computed here: kept above a threshold, without soft values or with the release's.

    A factor that is no power of two would round otherwise than the definition does.
    """
    if settings.keep != "threshold":
        return False
    return settings.soft == "none" or (settings.soft == "release" and math.frexp(settings.soft_scale)[0] == 0.5)


def effective_weights(
    scores: Tensor, weights: Tensor, layout: FlatLayout, settings: MaskSettings, noise: Tensor | None = None
) -> dict[str, Tensor]:
    """As ``methods.engine.masks.effective_weights``, where :func:`serves` says so."""
    effective = _EffectiveWeights.apply(scores, weights, noise, layout, settings)  # type: ignore[no-untyped-call]
    return dict(zip(layout.names, effective, strict=True))


class _EffectiveWeights(MaskFunction):
    """scores -> effective weights of every layer; forward and backward of the table in ``methods.engine.masks``."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, weights: Tensor, noise: Tensor | None, layout: FlatLayout, settings: MaskSettings
    ) -> tuple[Tensor, ...]:
        if settings.soft == "none" and layout.elementwise:
            effective = _gated(weights, scores if noise is None else scores + noise, settings)
        else:
            effective = torch.empty_like(weights)
            for block, kept, soft in _masks_by_blocks(scores, layout, settings, noise):
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
        for block in _blocks(ctx.layout, settings, scores):
            sums = per_unit[block.units]
            block.layout.unit_products(block.parts_of(layers), weights[block.elements], sums)
            if settings.surrogate == "sigmoid":
                q = (shifted[block.units] - settings.threshold).mul_(settings.slope).sigmoid_()
                sums.mul_(q).mul_(q.neg_().add_(1)).mul_(settings.slope)
        return per_unit, None, None, None, None


def _masks_by_blocks(
    scores: Tensor, layout: FlatLayout, settings: MaskSettings, noise: Tensor | None
) -> Iterator[tuple[Block, Tensor, Tensor | None]]:
    """B and A of block after block: float32 (units of the block,) each, fresh; A is None without soft values."""
    shifted = scores if noise is None else scores + noise
    one = torch.ones((), dtype=scores.dtype, device=scores.device)

    def kept_in(block: Block) -> Tensor:
        return _gated(one, shifted[block.units], settings)

    def dropped_in(block: Block) -> Tensor:
        return _dropped(scores[block.units], shifted[block.units], settings)

    blocks = _blocks(layout, settings, scores)
    if settings.soft == "none":
        for block in blocks:
            yield block, kept_in(block), None
    else:
        for block, values in release_by_blocks(blocks, dropped_in, settings.soft_scale):
            yield block, kept_in(block), values


def _blocks(layout: FlatLayout, settings: MaskSettings, scores: Tensor) -> Sequence[Block]:
    """Cut where soft values are worked out; without these there is little to keep in the cache: one block is all."""
    return blocks_of(layout, scores.device) if settings.soft == "release" else whole(layout)


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


def release_by_blocks(
    blocks: Sequence[Block], dropped_in: Callable[[Block], Tensor], scale: float
) -> Iterator[tuple[Block, Tensor]]:
    """Soft values by the rule "release" of every layer, times ``scale``, in a few passes and without booleans.

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
