"""Levels of columns: from scores to zero and powers of two, their derivative, and how they are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from methods.engine.functions import MaskFunction
from methods.engine.layout import FlatLayout
from methods.engine.packing import pack_numbers, packed_length, unpack_numbers
from methods.engine.parts import BACKBONE, Tensors, overrides
from methods.engine.restore import DamagedParts
from methods.xma.card import XMASettings

#: parts: packed levels; weights of a column, exponent of the smallest level, number of levels, 1 if signed
LEVELS, SCHEME = "mask.levels", "mask.scheme"

#: bits of a group of levels at most: packed numbers come back as int16
MOST_BITS = 15


@dataclass(frozen=True)
class Levels:
    """The values V that a column may have: 0 and ``count`` powers of two from 2^lowest on, perhaps of both signs."""

    lowest: int
    count: int
    border: float  #: smallest magnitude of the score of a column that is not dropped
    signed: bool = False

    @classmethod
    def of(cls, settings: XMASettings) -> Levels:
        """Those of the knobs."""
        border = 2.0 ** (settings.lowest - 0.5) if settings.border is None else settings.border
        return cls(settings.lowest, settings.levels, border, settings.signed)

    @property
    def base(self) -> int:
        """How many values there are."""
        return 1 + self.count * (2 if self.signed else 1)

    @property
    def highest(self) -> float:
        """The score beyond which a column of the largest level is pushed no further: that level times root 2."""
        return float(2.0 ** (self.lowest + self.count - 0.5))

    def values(self, device: torch.device) -> Tensor:
        """All values, ascending: float32 (base,)."""
        powers = [2.0 ** (self.lowest + step) for step in range(self.count)]
        return _numbers((*([-one for one in reversed(powers)] if self.signed else []), 0.0, *powers), device)

    def index(self, scores: Tensor) -> Tensor:
        """Place of each score's value among ``values``, int64 (units,): the nearest level by the logarithm.

        A score at a border has the upper level, v = 2^clip(floor(log2 M + 1/2)).
        """
        borders = [self.border, *(2.0 ** (self.lowest + step - 0.5) for step in range(1, self.count))]
        below = [-one for one in reversed(borders)] if self.signed else []
        return torch.bucketize(scores.detach(), _numbers((*below, *borders), scores.device), right=True)


@lru_cache(maxsize=64)
def _numbers(values: tuple[float, ...], device: torch.device) -> Tensor:
    """On the device once: a copy in every step would have the host wait."""
    return torch.tensor(values, device=device)


def levelled(scores: Tensor, levels: Levels) -> Tensor:
    """v(M), float32 (units,), with the derivative 1 (straight-through).

    No gradient where a score lies beyond the outermost levels and a step would push it further out.
    """
    found: Tensor = _Levelled.apply(scores, levels)  # type: ignore[no-untyped-call]
    return found


class _Levelled(MaskFunction):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, levels: Levels) -> Tensor:
        ctx.save_for_backward(scores)
        ctx.levels = levels
        return levels.values(scores.device)[levels.index(scores)]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (scores,), levels, gradient = ctx.saved_tensors, ctx.levels, gradients[0]
        lower = -levels.highest if levels.signed else 0.0
        outward = ((scores > levels.highest) & (gradient < 0)) | ((scores < lower) & (gradient > 0))
        return gradient.masked_fill(outward, 0.0), None


# ------------------------------------------------------------------ stored levels


def group_of(base: int) -> tuple[int, int]:
    """How many numbers below ``base`` are packed together, and in how many bits: those that take least a number.

    Five levels: three of them in seven bits, for 5^3 = 125 is at most 2^7.
    """
    sizes = [(size, math.ceil(size * math.log2(base))) for size in range(1, MOST_BITS + 1)]
    return min((one for one in sizes if one[1] <= MOST_BITS), key=lambda one: (one[1] / one[0], one[0]))


def pack_levels(index: Tensor, base: int) -> tuple[Tensor, int]:
    """Numbers below ``base``, int64 (n,) -> uint8, and how many groups they make; the last one ends with zeros."""
    size, bits = group_of(base)
    groups = torch.nn.functional.pad(index, (0, -len(index) % size)).view(-1, size)
    weights = torch.tensor([base**place for place in range(size)], device=index.device)
    return pack_numbers((groups * weights).sum(1), bits), len(groups)


def unpack_levels(packed: Tensor, base: int, count: int) -> Tensor:
    """The inverse: int64 (count,).

    Raises:
        DamagedParts: the bytes do not fit ``count`` numbers below ``base``.
    """
    size, bits = group_of(base)
    groups = -(-count // size)
    if len(packed) != packed_length(groups * bits):
        raise DamagedParts(f"{len(packed)} bytes of levels do not fit {count} columns of {base} levels")
    numbers = unpack_numbers(packed, bits, groups).long()[:, None]
    weights = torch.tensor([base**place for place in range(size)], device=packed.device)
    digits = (numbers // weights % base).view(-1)[:count]
    if bool((numbers >= base**size).any()):
        raise DamagedParts(f"the levels have numbers that no columns of {base} levels make")
    return digits


def scheme_of(rows: int, levels: Levels) -> Tensor:
    """What a reader needs beside the packed levels, int32 (4,)."""
    return torch.tensor([rows, levels.lowest, levels.count, levels.signed], dtype=torch.int32)


def stored_levels(kept: Mapping[str, Tensor], layout: FlatLayout) -> tuple[FlatLayout, Tensor]:
    """A layout of columns, and v of each, float32 (units,). Raises DamagedParts."""
    rows, lowest, count, signed = (int(number) for number in kept[SCHEME].tolist())
    columns, levels = layout.in_blocks(rows), Levels(lowest, count, 1.0, bool(signed))
    index = unpack_levels(kept[LEVELS], levels.base, columns.units)
    return columns, levels.values(index.device)[index]


def levelled_weights(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """The backbone's weights times their column's level, and the task's own tensors; without levels only these.

    Args:
        layout: the masked layers, in units of any kind.

    Raises:
        DamagedParts: the levels do not fit the layout.
    """
    own = overrides(kept)
    if LEVELS not in kept:
        return own
    assert layout is not None
    columns, numbers = stored_levels(kept, layout)
    weights = columns.flatten({name: shared[BACKBONE + name] for name in columns.names})
    return columns.views(columns.scale(weights, numbers)) | own
