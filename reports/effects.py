"""What each choice of a masked method is worth: main effects and pairwise interactions, from matched runs alone.

Runs are matched when they differ in the factors that a contrast changes and in nothing else: same seed, same scenario,
training and backbone, same levels of all other factors. A *matched set* is one setting of the other factors. The main
effect of a level is the mean, over matched sets, of its accuracy minus that of the factor's reference level; the
interaction of two levels is the mean difference of differences. Intervals are those of every other comparison here
(``reports.statistics.paired_difference``): a t-interval over the seeds' means, and a bootstrap over (set, seed).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from methods.factors import FACTORS, Factor
from methods.registry import METHODS
from reports.configuration import Configuration
from reports.grouping import Panel
from reports.naming import slug, value_title
from reports.specification import FOLLOWING, canonical, flatten, telling_differences
from reports.statistics import Difference, mean_interval, paired_difference

#: of the mask: whether a score that is exactly the threshold keeps its unit
STRICT, INITIAL, THRESHOLD, SPREAD = "mask.strict", "mask.initial", "mask.threshold", "mask.initial_spread"

#: accuracies by (matched set, seed)
Values = dict[tuple[str, int], float]


@dataclass(frozen=True)
class Contrast:
    """A level of a factor against the factor's reference level."""

    factor: Factor
    level: Any
    reference: Any

    @property
    def title(self) -> str:
        """``Units: kernel``."""
        return f"{self.factor.title}: {value_title(self.level)}"


@dataclass(frozen=True)
class Effect:
    """A main effect (one contrast) or an interaction (two), in accuracy as a fraction."""

    contrasts: tuple[Contrast, ...]
    difference: Difference
    sets: tuple[float, ...]  #: the mean of each matched set over the seeds
    unused: int  #: matched (set, seed) that do not count, since not every seed has the set, or the set every seed

    @property
    def sure(self) -> bool:
        """Both intervals leave out zero."""
        return self.difference.above(0) or self.difference.below(0)


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects among the runs of a panel that were made alike but for the factors."""

    key: str  #: file name and HTML id
    title: str
    configurations: tuple[Configuration, ...]
    contrasts: tuple[Contrast, ...]
    main: tuple[Effect, ...]
    interactions: Mapping[tuple[Contrast, Contrast], Effect]
    alone: int  #: configurations that nothing is matched with

    @cached_property
    def references(self) -> dict[str, Any]:
        """The reference level by the factor's title, of the factors that have a contrast."""
        return {contrast.factor.title: contrast.reference for contrast in self.contrasts}

    @property
    def all(self) -> tuple[Effect, ...]:
        """Main effects, then interactions."""
        return (*self.main, *self.interactions.values())

    @property
    def seeds(self) -> tuple[int, ...]:
        """How many seeds effects rest on, ascending, each number once."""
        return tuple(sorted({effect.difference.seeds.n for effect in self.all}))


@dataclass(frozen=True)
class _Point:
    """A configuration as a point of the grid."""

    configuration: Configuration
    levels: tuple[Any, ...]  #: in the order of ``FACTORS``
    rest: Mapping[str, Any]  #: all of its specification that is none of the factors

    def without(self, factors: Collection[Factor]) -> str:
        """What must agree when these factors may differ: the name of the matched set."""
        kept = [None if factor in factors else level for factor, level in zip(FACTORS, self.levels, strict=True)]
        return canonical([kept, self.rest])


@lru_cache(maxsize=4)
def effects_of(panel: Panel) -> tuple[Effects, ...]:
    """The effects in a panel: one entry for each way of training in which anything is matched, most runs first."""
    alike: dict[str, list[_Point]] = defaultdict(list)
    for item in panel.everything:
        if (point := _point(item)) is not None:
            alike[canonical(point.rest)].append(point)
    found = [(points, effects) for points in alike.values() if (effects := _effects(points))]
    found.sort(key=lambda one: (-sum(len(point.configuration.runs) for point in one[0]), canonical(one[0][0].rest)))
    suffixes = telling_differences([points[0].rest for points, _ in found]) if found else []
    named = []
    for number, ((points, (contrasts, main, interactions)), suffix) in enumerate(zip(found, suffixes, strict=True)):
        used = {id(point) for effect in main for point in _used(points, effect)}
        title = "What each choice is worth" + (f" ({suffix})" if suffix else "")
        named.append(
            Effects(
                key=slug(f"{panel.slug}-effects") + (f"-{number + 1}" if number else ""),
                title=title,
                configurations=tuple(point.configuration for point in points if id(point) in used),
                contrasts=contrasts,
                main=main,
                interactions=interactions,
                alone=sum(id(point) not in used for point in points),
            )
        )
    return tuple(named)


def _point(item: Configuration) -> _Point | None:
    """None where the record does not tell every factor's level: of a method without masks, say."""
    flat = flatten({key: value for key, value in item.spec.items() if key not in FOLLOWING})
    levels = tuple(flat.pop(factor.key, None) for factor in FACTORS)
    if not all(isinstance(level, str | int | float) for level in levels):
        return None
    if flat.get(SPREAD) or levels[[factor.key for factor in FACTORS].index(INITIAL)] != flat.get(THRESHOLD):
        flat.pop(STRICT, None)  # only scores that are the threshold to the last bit ask for it
    card = METHODS.get(item.method)
    if card is not None and card.mask_grid:
        flat.pop("method", None)
    return _Point(item, levels, flat)


def _effects(
    points: list[_Point],
) -> tuple[tuple[Contrast, ...], tuple[Effect, ...], dict[tuple[Contrast, Contrast], Effect]] | None:
    main = {contrast: effect for contrast in _contrasts(points) if (effect := _main(points, contrast)) is not None}
    if not main:
        return None
    interactions = {
        (one, other): effect
        for one, other in itertools.combinations(main, 2)
        if one.factor is not other.factor and (effect := _interaction(points, one, other)) is not None
    }
    return tuple(main), tuple(main.values()), interactions


def _contrasts(points: list[_Point]) -> Iterator[Contrast]:
    for at, factor in enumerate(FACTORS):
        levels = sorted({point.levels[at] for point in points}, key=factor.place)
        yield from (Contrast(factor, level, levels[0]) for level in levels[1:])


def _main(points: list[_Point], contrast: Contrast) -> Effect | None:
    level, reference = (_accuracies(points, {contrast.factor: level}) for level in (contrast.level, contrast.reference))
    return _effect((contrast,), level, reference)


def _interaction(points: list[_Point], one: Contrast, other: Contrast) -> Effect | None:
    """(accuracy with both levels - with the other's alone) - (with the one's alone - with neither)."""
    a, b, c, d = (
        _accuracies(points, {one.factor: first, other.factor: second})
        for second in (other.level, other.reference)
        for first in (one.level, one.reference)
    )
    there, here = ({key: x[key] - y[key] for key in x.keys() & y.keys()} for x, y in ((a, b), (c, d)))
    return _effect((one, other), there, here)


def _accuracies(points: list[_Point], wanted: Mapping[Factor, Any]) -> Values:
    """Mean accuracy after the last task of the points at these levels, by (matched set, seed)."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for point in points:
        if all(point.levels[at] == wanted.get(factor, point.levels[at]) for at, factor in enumerate(FACTORS)):
            name = point.without(wanted)
            for run in point.configuration.runs:
                if run.mean_accuracy is not None:
                    found[name, run.spec["seed"]].append(run.mean_accuracy)
    return {key: sum(values) / len(values) for key, values in found.items()}


def _effect(contrasts: tuple[Contrast, ...], level: Values, reference: Values) -> Effect | None:
    matched = level.keys() & reference.keys()
    counted = balanced(matched)
    first, second = ({key: values[key] for key in counted} for values in (level, reference))
    difference = paired_difference(first, second)
    if difference is None:
        return None
    names = sorted({name for name, _ in counted})
    sets = [mean_interval([first[key] - second[key] for key in counted if key[0] == name]) for name in names]
    return Effect(
        contrasts, difference, tuple(one.mean for one in sets if one is not None), len(matched) - len(counted)
    )


def balanced(matched: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
    """The (set, seed) that count: as many as there are with every seed in every set, so that seeds differ in nothing
    but themselves; of equally many those with more seeds."""
    seeds = Counter(seed for _, seed in matched)
    ranked = sorted(seeds, key=lambda seed: (-seeds[seed], seed))
    of_set: dict[str, set[int]] = defaultdict(set)
    for name, seed in matched:
        of_set[name].add(seed)
    best: tuple[int, int] = (0, 0)
    found: list[tuple[str, int]] = []
    for count in range(1, len(ranked) + 1):
        chosen = ranked[:count]
        names = sorted(name for name, own in of_set.items() if own.issuperset(chosen))
        if (count * len(names), count) > best:
            best = (count * len(names), count)
            found = [(name, seed) for name in names for seed in sorted(chosen)]
    return found


def _used(points: list[_Point], effect: Effect) -> Iterator[_Point]:
    """Points with a partner in a main effect."""
    (contrast,) = effect.contrasts
    at = FACTORS.index(contrast.factor)
    sides = [[point for point in points if point.levels[at] == x] for x in (contrast.level, contrast.reference)]
    names = [{point.without([contrast.factor]) for point in side} for side in sides]
    for side in sides:
        yield from (point for point in side if point.without([contrast.factor]) in names[0] & names[1])
