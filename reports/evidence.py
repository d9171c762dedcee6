"""What a claim's check answers, and how a paired difference becomes a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.hardware import Hardware
from reports.numbers import signed, times
from reports.setting import as_published, unlike_own
from reports.statistics import MINIMUM_SEEDS, Difference, more_seeds_needed
from reports.tables.grid import NOT_RUN

HOLDS = "holds"
FAILS = "fails"
UNDECIDED = "undecided"
NOT_JUDGED = "not judged"

#: what ``best_pair`` asks of the two BN policies
ALIKE, SAME, OWN = "alike", "same", "own"


@dataclass(frozen=True)
class Evidence:
    """The verdict on a claim in one panel, and the numbers behind it."""

    verdict: str  #: HOLDS, FAILS, UNDECIDED, NOT_JUDGED or NOT_RUN
    statistic: str  #: one line with the numbers
    numbers: Mapping[str, float] = field(default_factory=dict)  #: the same, for the CSV
    more_seeds: int | None = None  #: how many further seeds it would take; only for UNDECIDED
    on: tuple[Configuration, ...] = ()  #: what was judged
    spread_unknown: bool = False  #: a single seed: ``more_seeds`` is the least that gives an interval
    names: tuple[str, ...] = ()  #: of what was judged, where its labels do not tell it apart

    @property
    def compared(self) -> tuple[str, ...]:
        """What was judged, by name."""
        return self.names or tuple(item.label for item in self.on)

    @property
    def seeds_text(self) -> str:
        """``about 3 more seeds``; empty for anything decided."""
        if self.verdict != UNDECIDED:
            return ""
        if self.more_seeds is None:
            return "no number of seeds below a thousand would decide it"
        seeds = f"{self.more_seeds} more seed{'' if self.more_seeds == 1 else 's'}"
        return f"at least {seeds} needed" if self.spread_unknown else f"about {seeds} might decide it"


def unchecked(why: str) -> Evidence:
    """No verdict: what it would take is not among the records."""
    return Evidence(NOT_RUN, why)


def not_run(panel: Panel, *methods: str) -> Evidence:
    """The methods that a check would need and the panel lacks."""
    return unchecked("needs " + " and ".join(panel.methods.title(method) for method in methods))


def missing(panel: Panel, *methods: str) -> tuple[str, ...]:
    """Which of ``methods`` have no main configuration in the panel."""
    return tuple(method for method in methods if not panel.of(method))


@dataclass(frozen=True)
class Pair:
    """Two configurations to compare, and the other pairs of the same two methods that could have been."""

    a: Configuration
    b: Configuration
    others: tuple[tuple[Configuration, Configuration], ...] = ()

    @property
    def both(self) -> tuple[Configuration, Configuration]:
        """The two."""
        return self.a, self.b

    @property
    def unequal_bn(self) -> str:
        """``; BN is frozen in Piggyback, per-task in KSM``, or nothing."""
        policies = [str(item.spec.get("bn_policy")) for item in (self.a, self.b)]
        if policies[0] == policies[1]:
            return ""
        return f"; BN is {policies[0]} in {self.a.label}, {policies[1]} in {self.b.label}"


def best_pair(panel: Panel, a: str, b: str, *, bn: str = ALIKE) -> Pair | None:
    """The configurations of two methods to compare: with their own masks, most shared seeds first, then as ``bn`` says,
    then the ones nearest to what the methods' sources run.

    Args:
        panel: where to look.
        a: one method.
        b: the other.
        bn: ALIKE: rather under the same BN policy; SAME: only so; OWN: each as its own source has it.
    """
    pairs = [
        (first, second)
        for first in as_published(panel, a)
        for second in as_published(panel, b)
        if first is not second and (bn != SAME or _alike(first, second, "bn_policy"))
    ]

    def weight(pair: tuple[Configuration, Configuration]) -> tuple[int, ...]:
        first, second = pair
        shared = len(set(first.seeds) & set(second.seeds))
        unlike = [unlike_own(panel.scenario, item) for item in pair]
        own = sum("bn_policy" in keys for keys in unlike)
        policies = own if bn == OWN else not _alike(first, second, "bn_policy")
        alike = sum(_alike(first, second, key) for key in ("epochs", "batch_size"))
        return -shared, policies, -alike, sum(map(len, unlike)), first.variant + second.variant

    ordered = sorted(pairs, key=weight)
    return Pair(*ordered[0], tuple(ordered[1:])) if ordered else None


def shared_hardware(a: Configuration, b: Configuration) -> Hardware | None:
    """The hardware that both were timed on, with most seeds of both."""

    def seeds(hardware: Hardware) -> int:
        first, second = ({run.spec["seed"] for run in item.on(hardware)} for item in (a, b))
        return len(first & second)

    shared = [hardware for hardware in a.hardware if hardware in b.hardware]
    return max(shared, key=seeds) if shared else None


def _alike(a: Configuration, b: Configuration, key: str) -> bool:
    return bool(a.spec.get(key) == b.spec.get(key))


def decide_above(
    difference: Difference | None,
    bound: float,
    statistic: str,
    on: tuple[Configuration, ...],
    names: tuple[str, ...] = (),
) -> Evidence:
    """HOLDS when both intervals lie above ``bound``, FAILS when both lie below it."""
    if difference is None:
        return Evidence(UNDECIDED, "no seed and task in common", {}, MINIMUM_SEEDS, on, True, names)
    numbers = numbers_of(difference) | {"bound": bound}
    if difference.above(bound):
        return Evidence(HOLDS, statistic, numbers, None, on, names=names)
    if difference.below(bound):
        return Evidence(FAILS, statistic, numbers, None, on, names=names)
    return Evidence(UNDECIDED, statistic, numbers, _more(difference, bound), on, difference.seeds.n == 1, names)


def decide_within(
    difference: Difference | None,
    margin: float,
    statistic: str,
    on: tuple[Configuration, ...],
    names: tuple[str, ...] = (),
) -> Evidence:
    """HOLDS when both intervals lie within ±``margin``, FAILS when both lie outside on one side."""
    if difference is None:
        return Evidence(UNDECIDED, "no seed and task in common", {}, MINIMUM_SEEDS, on, True, names)
    numbers = numbers_of(difference) | {"bound": margin}
    if difference.above(-margin) and difference.below(margin):
        return Evidence(HOLDS, statistic, numbers, None, on, names=names)
    if difference.above(margin) or difference.below(-margin):
        return Evidence(FAILS, statistic, numbers, None, on, names=names)
    nearest = math.copysign(margin, difference.mean)
    return Evidence(UNDECIDED, statistic, numbers, _more(difference, nearest), on, difference.seeds.n == 1, names)


def numbers_of(difference: Difference) -> dict[str, float]:
    """A difference as named numbers."""
    numbers: dict[str, float] = {"difference": difference.mean, "seeds": difference.seeds.n, "pairs": difference.pairs}
    ends = {
        "seeds_low": difference.seeds.low,
        "seeds_high": difference.seeds.high,
        "bootstrap_low": difference.low,
        "bootstrap_high": difference.high,
    }
    return numbers | {name: value for name, value in ends.items() if value is not None}


def points(difference: Difference | None, what: str) -> str:
    """``KSM − Piggyback: +1.4 points; 95 % over 5 seeds [+0.8, +2.0], bootstrap [+0.9, +1.8]``."""
    if difference is None:
        return what
    return f"{what}: {signed(100 * difference.mean, 2)} points; " + _ends(difference, lambda v: signed(100 * v, 2))


def ratio(difference: Difference | None, what: str) -> str:
    """The same for a difference of logarithms, shown as a ratio."""
    if difference is None:
        return what
    return f"{what}: {times(math.exp(difference.mean))}; " + _ends(difference, lambda v: f"{math.exp(v):.3g}")


def _ends(difference: Difference, show: Callable[[float], str]) -> str:
    over_seeds, over_pairs = (difference.seeds.low, difference.seeds.high), (difference.low, difference.high)
    if None in over_seeds or None in over_pairs:
        return "one seed, no interval"

    def interval(ends: tuple[float | None, float | None]) -> str:
        return "[" + ", ".join(show(end) for end in ends if end is not None) + "]"

    return (
        f"95 % over {difference.seeds.n} seeds {interval(over_seeds)}, "
        f"bootstrap over {difference.pairs} pairs {interval(over_pairs)}"
    )


def _more(difference: Difference, bound: float) -> int | None:
    if difference.seeds.n == 1:
        return MINIMUM_SEEDS - 1
    return more_seeds_needed(difference, bound)
