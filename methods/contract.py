"""The small contract between a method and whoever runs it: phases to time, numbers to store, masks to count."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

#: ``phase(name)``: a context manager around work of that kind ("train", "eval", ...); a runner passes a clock.
Phase = Callable[[str], AbstractContextManager[object]]


def untimed(name: str) -> AbstractContextManager[object]:
    """The Phase that does nothing: what a strategy uses unless a runner passes a clock."""
    return nullcontext()


@dataclass(frozen=True)
class StoredItem:
    """``count`` numbers of ``bits`` each that must be stored so that ``task`` (None: all tasks) can be restored."""

    name: str  #: "backbone", "head", "bn", "bias", "mask bits", "mask values", "owner index", "weights"
    task: int | None
    count: int
    bits: int
    dtype: str
    purpose: str


@dataclass(frozen=True)
class MaskCount:
    """Units of one layer's mask for one task: ``ones + soft + zeros == units`` (figure 6 of the KSM paper)."""

    task: int
    layer: str
    units: int
    ones: int
    soft: int
    zeros: int
