"""The kinds of check that claims are made of. Each maker returns a function from a panel to evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from reports.configuration import Configuration
from reports.evidence import (
    ALIKE,
    FAILS,
    HOLDS,
    SAME,
    Evidence,
    Pair,
    best_pair,
    decide_above,
    decide_within,
    missing,
    not_run,
    points,
    ratio,
    shared_hardware,
    unchecked,
)
from reports.families import initial_task_families
from reports.grouping import Panel
from reports.numbers import signed
from reports.setting import as_published, unlike_own
from reports.soundness import judgeable
from reports.statistics import paired_difference
from reports.timing_caveats import caveats_in_brief
from results.units import in_units

Check = Callable[[Panel], Evidence]


def more_accurate(a: str, b: str, *, by: float = 0.0, bn: str = ALIKE) -> Check:
    """Mean accuracy of ``a`` exceeds that of ``b`` by more than ``by`` points (negative: "at least near")."""

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b, bn=bn)
        if pair is None:
            return _absent(panel, a, b, bn)
        difference = paired_difference(pair.a.accuracy, pair.b.accuracy)
        statistic = points(difference, _what(pair)) + pair.unequal_bn + _other_points(pair)
        return decide_above(difference, by / 100, statistic, pair.both)

    return check


def about_as_accurate(a: str, b: str, *, within: float) -> Check:
    """Mean accuracies of ``a`` and ``b`` differ by less than ``within`` points."""

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b)
        if pair is None:
            return _absent(panel, a, b)
        difference = paired_difference(pair.a.accuracy, pair.b.accuracy)
        statistic = points(difference, _what(pair)) + pair.unequal_bn + _other_points(pair)
        return decide_within(difference, within / 100, statistic, pair.both)

    return check


def slower(a: str, b: str, *, times: float, per_epoch: bool = False, bn: str = ALIKE) -> Check:
    """Training ``a`` takes more than ``times`` as long as ``b``, per task, on the same hardware.

    Where only one of the two trains its BN the statistic says so: that, too, takes time. It also says when a run's
    own notes hold timing caveats.
    """

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b, bn=bn)
        if pair is None:
            return _absent(panel, a, b, bn)
        hardware = shared_hardware(pair.a, pair.b)
        if hardware is None:
            return unchecked(f"{pair.a.label} and {pair.b.label} were not timed on the same hardware")
        first, second = (
            _logarithms(item.seconds_per_epoch(hardware) if per_epoch else item.training_seconds(hardware))
            for item in (pair.a, pair.b)
        )
        difference = paired_difference(first, second)
        what = f"{pair.a.label} over {pair.b.label}, seconds {'per epoch' if per_epoch else 'per task'}"
        statistic = ratio(difference, what) + pair.unequal_bn + caveats_in_brief((pair.a, pair.b), hardware)
        return decide_above(difference, math.log(times), statistic, pair.both)

    return check


def no_forgetting(method: str) -> Check:
    """Every earlier task's accuracy after the last task is exactly what it was: an invariant, no statistic."""

    def check(panel: Panel) -> Evidence:
        items = judgeable(panel, panel.of(method))
        if not items:
            return not_run(panel, method)
        changes = [abs(row.accuracy - row.accuracy_at_end) for item in items for run in item.runs for row in run.tasks]
        changed = sum(change > 0 for change in changes)
        statistic = f"{changed} of {len(changes)} tasks changed; largest change {100 * max(changes):.2f} points"
        numbers = {"changed": float(changed), "tasks": float(len(changes)), "largest": max(changes)}
        return Evidence(HOLDS if changed == 0 else FAILS, statistic, numbers, None, tuple(items))

    return check


def initial_task_spread(method: str, *, within: float) -> Check:
    """The best and the worst initial task differ in mean accuracy by less than ``within`` points."""

    def check(panel: Panel) -> Evidence:
        family = _family(panel, method)
        if len(family) < 2:
            return unchecked(f"needs {panel.methods.title(method)} from at least two initial tasks")
        means = {start: _mean(item.accuracy) for start, item in family.items()}
        best, worst = max(means, key=lambda k: means[k]), min(means, key=lambda k: means[k])
        difference = paired_difference(family[best].accuracy, family[worst].accuracy)
        what = f"best initial task ({best}) − worst ({worst}) of {len(family)}"
        names = (f"from task {best}", f"from task {worst}")
        on = (family[best], family[worst])
        return decide_within(difference, within / 100, points(difference, what), on, names)

    return check


def every_initial_task_above(method: str, other: str) -> Check:
    """Even the worst initial task of ``method`` is above ``other``."""

    def check(panel: Panel) -> Evidence:
        family = _family(panel, method)
        if len(family) < 2:
            return unchecked(f"needs {panel.methods.title(method)} from at least two initial tasks")
        if not panel.of(other):
            return not_run(panel, other)
        start = min(family, key=lambda key: _mean(family[key].accuracy))
        rival = _telling_first(panel, other)[0]
        difference = paired_difference(family[start].accuracy, rival.accuracy)
        what = f"worst initial task ({start}) − {rival.label}"
        names = (f"from task {start}", rival.label)
        return decide_above(difference, 0.0, points(difference, what), (family[start], rival), names)

    return check


def fewer_mask_units(a: str, b: str, *, times: float) -> Check:
    """``b`` has ``times`` as many mask units per task as ``a``, to the nearest half: a count, no statistic."""

    def check(panel: Panel) -> Evidence:
        if missing(panel, a, b):
            return not_run(panel, *missing(panel, a, b))
        first, second = (_telling_first(panel, method)[0] for method in (a, b))
        units = [_units(item) for item in (first, second)]
        if not units[0] or not units[1]:
            return unchecked("the runs recorded no mask statistics")
        factor = units[1] / units[0]
        statistic = f"{second.label} {units[1]:,.0f} units per task, {first.label} {units[0]:,.0f}: {factor:.2f}×"
        verdict = HOLDS if factor >= times - 0.5 else FAILS
        return Evidence(verdict, statistic, {"ratio": factor, "bound": times}, None, (first, second))

    return check


def size_at_most(a: str, b: str, *, times: float) -> Check:
    """The whole model of ``a`` takes at most ``times`` the bytes of ``b``, itemised."""

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b)
        if pair is None:
            return _absent(panel, a, b)
        first, second = _itemised(pair.a), _itemised(pair.b)
        if not first or not second:
            return unchecked("the runs recorded no sizes")
        factor = first / second
        statistic = f"{pair.a.label} {in_units(first)}, {pair.b.label} {in_units(second)}: {factor:.3g}×"
        numbers = {"ratio": factor, "bound": times}
        return Evidence(HOLDS if factor <= times else FAILS, statistic, numbers, None, pair.both)

    return check


def soft_share_at_most(method: str, *, share: float) -> Check:
    """At most ``share`` of the mask units hold a soft value after training, over all tasks and seeds.

    Judged is the configuration with most seeds, among equals the nearest to the source's own; what the others have is
    said beside it.
    """

    def check(panel: Panel) -> Evidence:
        found = [(item, value) for item in _telling_first(panel, method) if (value := _soft_share(item)) is not None]
        if not found:
            return not_run(panel, method)
        statistic = "; ".join(f"{item.label}: {100 * value:.1f} % of the mask units" for item, value in found)
        judged, value = found[0]
        numbers = {"share": value, "bound": share}
        return Evidence(HOLDS if value <= share else FAILS, statistic, numbers, None, (judged,))

    return check


def later_layers_change_more(method: str) -> Check:
    """The later half of the layers drops or softens a larger share of its units than the earlier half.

    Judged is the configuration with most seeds, among equals the nearest to the source's own; what the others have is
    said beside it.
    """

    def check(panel: Panel) -> Evidence:
        found = [
            (item, difference)
            for item in _telling_first(panel, method)
            if (difference := paired_difference(*_changed_by_half(item))) is not None
        ]
        if not found:
            return not_run(panel, method)
        (judged, difference), *others = found
        what = f"{judged.label}, changed units, later half of the layers − earlier half"
        rest = [f"{item.label} {signed(100 * other.mean, 2)}" for item, other in others]
        statistic = points(difference, what) + (f"; not judged: {', '.join(rest)}" if rest else "")
        return decide_above(difference, 0.0, statistic, (judged,))

    return check


def _telling_first(panel: Panel, method: str) -> list[Configuration]:
    found = as_published(panel, method)
    return sorted(found, key=lambda item: (-len(item.seeds), len(unlike_own(panel.scenario, item))))


def _soft_share(item: Configuration) -> float | None:
    rows = [row for run in item.runs for row in run.mask_statistics]
    return sum(row.soft for row in rows) / max(sum(row.units for row in rows), 1) if rows else None


def _changed_by_half(item: Configuration) -> tuple[dict[tuple[str, int], float], dict[tuple[str, int], float]]:
    """Share of units that are not one, by (task, seed): in the later half of the layers, and in the earlier."""
    late: dict[tuple[str, int], float] = {}
    early: dict[tuple[str, int], float] = {}
    for run in item.runs:
        layers = list(dict.fromkeys(row.layer for row in run.mask_statistics))
        for half, names in ((early, layers[: len(layers) // 2]), (late, layers[len(layers) // 2 :])):
            sums: dict[str, list[int]] = {}
            for row in run.mask_statistics:
                if row.layer in names:
                    total = sums.setdefault(row.task, [0, 0])
                    total[0] += row.units - row.ones
                    total[1] += row.units
            for task, (count, units) in sums.items():
                half[task, int(run.spec["seed"])] = count / max(units, 1)
    return late, early


def _absent(panel: Panel, a: str, b: str, bn: str = ALIKE) -> Evidence:
    lacking = missing(panel, a, b)
    if lacking or bn != SAME:
        return not_run(panel, *lacking)
    return unchecked(f"needs {panel.methods.title(a)} and {panel.methods.title(b)} under the same BN policy")


def _what(pair: Pair) -> str:
    return f"{pair.a.label} − {pair.b.label}"


def _other_points(pair: Pair) -> str:
    """The other configurations of the two methods in one phrase: which of them was judged must not hang in the air."""
    found = []
    for a, b in pair.others:
        difference = paired_difference(a.accuracy, b.accuracy)
        if difference is not None and (a is pair.a or b is pair.b):
            found.append(f"{a.label} − {b.label} {signed(100 * difference.mean, 2)}")
    return f"; not judged: {', '.join(found)}" if found else ""


def _logarithms(values: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    return {key: math.log(value) for key, value in values.items() if value > 0}


def _mean(values: Mapping[tuple[int, int], float]) -> float:
    return sum(values.values()) / len(values)


def _family(panel: Panel, method: str) -> dict[int, Configuration]:
    families = initial_task_families(panel)
    return next((family for family in families if next(iter(family.values())).method == method), {})


def _units(item: Configuration) -> float:
    """Mask units per task, the same in every run."""
    for run in item.runs:
        tasks = {row.task for row in run.mask_statistics}
        if tasks:
            return sum(row.units for row in run.mask_statistics) / len(tasks)
    return 0.0


def _itemised(item: Configuration) -> float:
    sizes = [size for run in item.runs if run.size and (size := run.size.rules.get("itemised")) is not None]
    return sum(sizes) / len(sizes) if sizes else 0.0
