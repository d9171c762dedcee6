"""Configurations that differ in one factor only: the initial task, or the BN policy."""

from __future__ import annotations

from collections import defaultdict

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.specification import canonical

#: Keys of a specification that follow from the initial task.
LEARNING_ORDER = ("initial_task", "task_names", "task_indices")


def initial_task_families(panel: Panel) -> list[dict[int, Configuration]]:
    """Per method the configurations that differ in the initial task only, by initial task.

    A method with several such families is represented by the one with the most initial tasks, then runs.
    """
    families: dict[tuple[str, str], dict[int, Configuration]] = defaultdict(dict)
    for item in panel.everything:
        # The learning order follows from the initial task, so it is no difference of its own.
        rest = {key: value for key, value in item.spec.items() if key not in LEARNING_ORDER}
        families[item.method, canonical(rest)][item.initial_task] = item
    best: dict[str, dict[int, Configuration]] = {}
    for (method, _), family in sorted(families.items()):
        if method not in best or _weight(family) > _weight(best[method]):
            best[method] = dict(sorted(family.items()))
    return [best[method] for method in panel.methods.in_order(best)]


def _weight(family: dict[int, Configuration]) -> tuple[int, int]:
    return len(family), sum(len(item.runs) for item in family.values())
