"""The kinds of check that claims are made of. Each maker returns a function from a panel to evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from reports.configuration import Configuration
from reports.evidence import (
    FAILS,
    HOLDS,
    Evidence,
    best_pair,
    decide_above,
    decide_within,
    missing,
    not_run,
    points,
    ratio,
    shared_hardware,
)
from reports.families import initial_task_families
from reports.grouping import Panel
from reports.naming import method_title
from reports.statistics import paired_difference

Check = Callable[[Panel], Evidence]


def more_accurate(a: str, b: str, *, by: float = 0.0, same_bn: bool = False) -> Check:
    """Mean accuracy of ``a`` exceeds that of ``b`` by more than ``by`` points (negative: "at least near")."""

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b, same_bn=same_bn)
        if pair is None:
            return _absent(panel, a, b, same_bn)
        difference = paired_difference(pair[0].accuracy, pair[1].accuracy)
        return decide_above(difference, by / 100, points(difference, _what(pair)), _labels(pair))

    return check


def about_as_accurate(a: str, b: str, *, within: float) -> Check:
    """Mean accuracies of ``a`` and ``b`` differ by less than ``within`` points."""

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b)
        if pair is None:
            return _absent(panel, a, b)
        difference = paired_difference(pair[0].accuracy, pair[1].accuracy)
        return decide_within(difference, within / 100, points(difference, _what(pair)), _labels(pair))

    return check


def slower(a: str, b: str, *, times: float, per_epoch: bool = False, same_bn: bool = False) -> Check:
    """Training ``a`` takes more than ``times`` as long as ``b``, per task, on the same hardware.

    Where only one of the two trains its BN the statistic says so: that, too, takes time.
    """

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b, same_bn=same_bn)
        if pair is None:
            return _absent(panel, a, b, same_bn)
        hardware = shared_hardware(*pair)
        if hardware is None:
            return Evidence("not run", f"{pair[0].label} and {pair[1].label} were not timed on the same hardware")
        first, second = (
            _logarithms(item.seconds_per_epoch(hardware) if per_epoch else item.training_seconds(hardware))
            for item in pair
        )
        difference = paired_difference(first, second)
        what = f"{pair[0].label} over {pair[1].label}, seconds {'per epoch' if per_epoch else 'per task'}"
        statistic = ratio(difference, what) + _unequal_bn(pair)
        return decide_above(difference, math.log(times), statistic, _labels(pair))

    return check


def no_forgetting(method: str) -> Check:
    """Every earlier task's accuracy after the last task is exactly what it was: an invariant, no statistic."""

    def check(panel: Panel) -> Evidence:
        items = panel.of(method)
        if not items:
            return not_run(method)
        changes = [abs(row.accuracy - row.accuracy_at_end) for item in items for run in item.runs for row in run.tasks]
        changed = sum(change > 0 for change in changes)
        statistic = f"{changed} of {len(changes)} tasks changed; largest change {100 * max(changes):.2f} points"
        numbers = {"changed": float(changed), "tasks": float(len(changes)), "largest": max(changes)}
        return Evidence(HOLDS if changed == 0 else FAILS, statistic, numbers, None, tuple(i.label for i in items))

    return check


def initial_task_spread(method: str, *, within: float) -> Check:
    """The best and the worst initial task differ in mean accuracy by less than ``within`` points."""

    def check(panel: Panel) -> Evidence:
        family = _family(panel, method)
        if len(family) < 2:
            return Evidence("not run", f"needs {method_title(method)} from at least two initial tasks")
        means = {start: _mean(item.accuracy) for start, item in family.items()}
        best, worst = max(means, key=lambda k: means[k]), min(means, key=lambda k: means[k])
        difference = paired_difference(family[best].accuracy, family[worst].accuracy)
        what = f"best initial task ({best}) − worst ({worst}) of {len(family)}"
        names = (f"from task {best}", f"from task {worst}")
        return decide_within(difference, within / 100, points(difference, what), names)

    return check


def every_initial_task_above(method: str, other: str) -> Check:
    """Even the worst initial task of ``method`` is above ``other``."""

    def check(panel: Panel) -> Evidence:
        family = _family(panel, method)
        if len(family) < 2:
            return Evidence("not run", f"needs {method_title(method)} from at least two initial tasks")
        if not panel.of(other):
            return not_run(other)
        start = min(family, key=lambda key: _mean(family[key].accuracy))
        rival = panel.of(other)[0]
        difference = paired_difference(family[start].accuracy, rival.accuracy)
        what = f"worst initial task ({start}) − {rival.label}"
        return decide_above(difference, 0.0, points(difference, what), (f"from task {start}", rival.label))

    return check


def fewer_mask_units(a: str, b: str, *, times: float) -> Check:
    """``b`` has ``times`` as many mask units per task as ``a``, to the nearest half: a count, no statistic."""

    def check(panel: Panel) -> Evidence:
        if missing(panel, a, b):
            return not_run(*missing(panel, a, b))
        units = [_units(panel.of(method)) for method in (a, b)]
        if not units[0] or not units[1]:
            return Evidence("not run", "the runs recorded no mask statistics")
        factor = units[1] / units[0]
        statistic = (
            f"{method_title(b)} {units[1]:,.0f} units per task, {method_title(a)} {units[0]:,.0f}: {factor:.2f}×"
        )
        verdict = HOLDS if factor >= times - 0.5 else FAILS
        return Evidence(verdict, statistic, {"ratio": factor, "bound": times}, None, (method_title(a), method_title(b)))

    return check


def size_at_most(a: str, b: str, *, times: float) -> Check:
    """The whole model of ``a`` takes at most ``times`` the bytes of ``b``, itemised."""

    def check(panel: Panel) -> Evidence:
        pair = best_pair(panel, a, b)
        if pair is None:
            return _absent(panel, a, b)
        first, second = (_itemised(item) for item in pair)
        if not first or not second:
            return Evidence("not run", "the runs recorded no sizes")
        factor = first / second
        statistic = f"{pair[0].label} {first / 2**20:.2f} MiB, {pair[1].label} {second / 2**20:.2f} MiB: {factor:.3g}×"
        numbers = {"ratio": factor, "bound": times}
        return Evidence(HOLDS if factor <= times else FAILS, statistic, numbers, None, _labels(pair))

    return check


def soft_share_at_most(method: str, *, share: float) -> Check:
    """At most ``share`` of the mask units hold a soft value after training, over all tasks and runs."""

    def check(panel: Panel) -> Evidence:
        rows = [row for item in panel.of(method) for run in item.runs for row in run.mask_statistics]
        if not rows:
            return not_run(method)
        found = sum(row.soft for row in rows) / max(sum(row.units for row in rows), 1)
        statistic = f"{100 * found:.1f} % of the mask units hold a soft value"
        return Evidence(
            HOLDS if found <= share else FAILS,
            statistic,
            {"share": found, "bound": share},
            None,
            (method_title(method),),
        )

    return check


def later_layers_change_more(method: str) -> Check:
    """The later half of the layers drops or softens a larger share of its units than the earlier half."""

    def check(panel: Panel) -> Evidence:
        changed: dict[str, dict[tuple[str, int], float]] = {"early": {}, "late": {}}
        for item in panel.of(method):
            for run in item.runs:
                layers = list(dict.fromkeys(row.layer for row in run.mask_statistics))
                late = set(layers[len(layers) // 2 :])
                sums: dict[tuple[str, str], list[int]] = {}
                for row in run.mask_statistics:
                    total = sums.setdefault(("late" if row.layer in late else "early", row.task), [0, 0])
                    total[0] += row.units - row.ones
                    total[1] += row.units
                for (half, task), (count, units) in sums.items():
                    changed[half][task, int(run.spec["seed"])] = count / max(units, 1)
        difference = paired_difference(changed["late"], changed["early"])
        if difference is None:
            return not_run(method)
        statistic = points(difference, "changed units, later half of the layers − earlier half")
        return decide_above(difference, 0.0, statistic, (method_title(method),))

    return check


def _absent(panel: Panel, a: str, b: str, same_bn: bool = False) -> Evidence:
    lacking = missing(panel, a, b)
    if lacking or not same_bn:
        return not_run(*lacking)
    return Evidence("not run", f"needs {method_title(a)} and {method_title(b)} under the same BN policy")


def _unequal_bn(pair: tuple[Configuration, Configuration]) -> str:
    policies = [str(item.spec.get("bn_policy")) for item in pair]
    if policies[0] == policies[1]:
        return ""
    return "; BN is " + ", ".join(f"{policy} in {item.label}" for item, policy in zip(pair, policies, strict=True))


def _labels(pair: tuple[Configuration, Configuration]) -> tuple[str, str]:
    return pair[0].label, pair[1].label


def _what(pair: tuple[Configuration, Configuration]) -> str:
    return f"{pair[0].label} − {pair[1].label}"


def _logarithms(values: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    return {key: math.log(value) for key, value in values.items() if value > 0}


def _mean(values: Mapping[tuple[int, int], float]) -> float:
    return sum(values.values()) / len(values)


def _family(panel: Panel, method: str) -> dict[int, Configuration]:
    families = initial_task_families(panel)
    return next((family for family in families if next(iter(family.values())).method == method), {})


def _units(items: tuple[Configuration, ...]) -> float:
    for item in items:
        for run in item.runs:
            tasks = {row.task for row in run.mask_statistics}
            if tasks:
                return sum(row.units for row in run.mask_statistics) / len(tasks)
    return 0.0


def _itemised(item: Configuration) -> float:
    sizes = [size for run in item.runs if run.size and (size := run.size.rules.get("itemised")) is not None]
    return sum(sizes) / len(sizes) if sizes else 0.0
