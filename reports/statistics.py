"""Means, intervals and paired differences. Seeds are the unit of statistics (docs/measuring.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95
RESAMPLES = 2_000
#: bytes of random draws that are kept for the next bootstrap of as many numbers, at most
MOST_KEPT = 2**26
#: A paper's number is rounded to 0.1 point: half of that is no disagreement.
PUBLISHED_ROUNDING = 0.05
#: Below this many seeds a prediction interval says nothing, so a measured value neither agrees nor differs.
MINIMUM_SEEDS = 3
MOST_SEEDS = 1_000

#: A task's index or name; values per (task, seed) are what two methods are compared over.
Task = TypeVar("Task", int, str)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % t-interval; ``half_width`` is None for a single seed."""

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float | None:
        """Lower end, None without an interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end, None without an interval."""
        return None if self.half_width is None else self.mean + self.half_width


@dataclass(frozen=True)
class Difference:
    """Paired difference ``a - b``: mean, t-interval over seeds, and bootstrap interval over (task, seed) pairs."""

    mean: float
    seeds: Interval  #: over the per-seed mean differences
    low: float | None  #: bootstrap over (task, seed); None for a single seed
    high: float | None
    pairs: int

    def above(self, bound: float) -> bool:
        """True when both intervals lie above ``bound``."""
        return self.seeds.low is not None and self.low is not None and min(self.seeds.low, self.low) > bound

    def below(self, bound: float) -> bool:
        """True when both intervals lie below ``bound``."""
        return self.seeds.high is not None and self.high is not None and max(self.seeds.high, self.high) < bound


def t_quantile(degrees: int, level: float = LEVEL) -> float:
    """Two-sided Student quantile: ``t_quantile(2) = 4.303``."""
    return float(stdtrit(degrees, 0.5 + level / 2))


def mean_interval(values: Iterable[float]) -> Interval | None:
    """Mean and 95 % t-interval ``t(n-1) * s / sqrt(n)`` of one value per seed; None without values."""
    sample = np.asarray(list(values), dtype=np.float64)
    if not len(sample):
        return None
    mean = float(sample.mean())
    if len(sample) == 1:
        return Interval(mean, None, 1)
    half = t_quantile(len(sample) - 1) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Interval(mean, half, len(sample))


def agrees_with_published(
    values: Sequence[float], published: float, rounding: float = PUBLISHED_ROUNDING
) -> bool | None:
    """Could ``published`` be one more run of the same thing?

    The papers print single runs, so the yardstick is the 95 % prediction interval of one further run,
    ``t(n-1) * s * sqrt(1 + 1/n)``, not the narrower interval of the mean. None with fewer than three seeds.
    """
    if len(values) < MINIMUM_SEEDS:
        return None
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    reach = t_quantile(n - 1) * float(sample.std(ddof=1)) * math.sqrt(1 + 1 / n)
    return bool(abs(float(sample.mean()) - published) <= reach + rounding + 1e-9)


def paired_difference(
    a: Mapping[tuple[Task, int], float],
    b: Mapping[tuple[Task, int], float],
    *,
    resamples: int = RESAMPLES,
    random_seed: int = 0,
) -> Difference | None:
    """Paired difference ``a - b`` over the (task, seed) pairs that both have; None when they share none.

    The t-interval over seeds asks whether other seeds would say the same; the paired bootstrap over (task, seed)
    asks whether the difference hangs on a few tasks. One seed has no interval at all.
    """
    shared = sorted((key for key in a.keys() & b.keys()), key=lambda key: (key[1], str(key[0])))
    if not shared:
        return None
    differences = np.asarray([a[key] - b[key] for key in shared], dtype=np.float64)
    of_seed = np.asarray([key[1] for key in shared])
    per_seed = [float(differences[of_seed == seed].mean()) for seed in dict.fromkeys(of_seed.tolist())]
    seeds = mean_interval(per_seed)
    assert seeds is not None
    if seeds.n == 1:
        return Difference(seeds.mean, seeds, None, None, len(shared))
    low, high = bootstrap_interval(differences, resamples=resamples, random_seed=random_seed)
    return Difference(seeds.mean, seeds, low, high, len(shared))


def bootstrap_interval(
    sample: NDArray[np.float64], *, resamples: int = RESAMPLES, random_seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap of the mean of ``sample`` (float64, (n,)): its 2.5 % and 97.5 % points."""
    return _bootstrap(sample.astype(np.float64).tobytes(), resamples, random_seed)


@lru_cache(maxsize=64)  # a ranking, its answers and the claims ask for many of the same differences
def _bootstrap(numbers: bytes, resamples: int, random_seed: int) -> tuple[float, float]:
    sample = np.frombuffer(numbers)
    few = len(sample) * resamples * np.min_scalar_type(len(sample)).itemsize <= MOST_KEPT
    drawn = _kept(len(sample), resamples, random_seed) if few else _drawn(len(sample), resamples, random_seed)
    means = np.concatenate([np.take(sample, places).mean(axis=1) for places in drawn])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _drawn(size: int, resamples: int, random_seed: int) -> Iterator[NDArray[np.unsignedinteger[Any]]]:
    """Which of ``size`` numbers each resample takes, unsigned integers (some resamples, size), chunk by chunk."""
    generator = np.random.default_rng(random_seed)
    chunk = max(1, 500_000 // size)
    smallest = np.min_scalar_type(size)  # short random integers are drawn several times faster
    for start in range(0, resamples, chunk):
        yield generator.integers(size, size=(min(chunk, resamples - start), size), dtype=smallest)


@lru_cache(maxsize=1)  # all methods of a panel have as many numbers, and drawing takes longer than the means
def _kept(size: int, resamples: int, random_seed: int) -> tuple[NDArray[np.unsignedinteger[Any]], ...]:
    return tuple(_drawn(size, resamples, random_seed))


def forget_draws() -> None:
    """Give back the memory of the random draws that were kept for the next bootstrap."""
    _kept.cache_clear()


def more_seeds_needed(difference: Difference, bound: float) -> int | None:
    """How many further seeds would separate the difference from ``bound``, were mean and spread to stay as they are.

    None when that cannot be said: a single seed shows no spread, and no number suffices for an effect of nothing
    (or one that would take more than a thousand seeds).
    """
    if difference.seeds.half_width is None or difference.low is None or difference.high is None:
        return None
    effect = abs(difference.mean - bound)
    n = difference.seeds.n
    spread = difference.seeds.half_width * math.sqrt(n) / t_quantile(n - 1)
    tasks_reach = max(difference.mean - difference.low, difference.high - difference.mean)
    for seeds in range(n, MOST_SEEDS + 1):
        over_seeds = t_quantile(seeds - 1) * spread / math.sqrt(seeds)
        over_pairs = tasks_reach * math.sqrt(n / seeds)
        if over_seeds < effect and over_pairs < effect:
            return max(seeds - n, 1)
    return None
