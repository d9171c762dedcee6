"""Timing in rounds: every contender trains one pass per round, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.perf.contenders import OnePass

WARM_UP_PASSES = 2
BOOTSTRAPS = 10_000


@dataclass(frozen=True)
class Series:
    """Milliseconds per step of one contender, one number a round, rounds in the same order for all."""

    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.milliseconds)

    @property
    def lowest(self) -> float:
        """The quickest round: what the machine can do when left alone."""
        return min(self.milliseconds)

    @property
    def highest(self) -> float:
        """The slowest round."""
        return max(self.milliseconds)

    def ratios_to(self, other: Series) -> tuple[float, ...]:
        """Round by round: this contender's time over the other's in the same round."""
        return tuple(mine / theirs for mine, theirs in zip(self.milliseconds, other.milliseconds, strict=True))


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios, with its 95 % bootstrap interval over rounds."""

    median: float
    low: float
    high: float


def paired_ratio(mine: Series, other: Series) -> Ratio:
    """One contender's time over another's, round by round: the one definition of a ratio of times here."""
    ratios = np.array(mine.ratios_to(other))
    draws = np.random.default_rng(0).choice(ratios, (BOOTSTRAPS, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def interleaved(
    passes: Mapping[str, OnePass], steps: int, repeats: int, synchronise: Callable[[], None]
) -> dict[str, Series]:
    """Time ``repeats`` rounds after a warm-up; who goes first changes from round to round."""
    names = list(passes)
    for name in names:
        for _ in range(WARM_UP_PASSES):
            passes[name]()
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        for name in _order(names, number):
            synchronise()
            started = time.perf_counter()
            passes[name]()
            synchronise()
            found[name].append((time.perf_counter() - started) * 1000 / steps)
    return {name: Series(tuple(times)) for name, times in found.items()}


def _order(names: Sequence[str], number: int) -> list[str]:
    """Turned by one place a round, so that nobody always follows the same neighbour."""
    shift = number % len(names)
    return [*names[shift:], *names[:shift]]
