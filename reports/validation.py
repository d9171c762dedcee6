"""Validation accuracy of what was kept, read from the curves: it stands beside test accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports.configuration import TASK_1_NETWORK
from results.schema import RunRecord, TaskRow

REMARK = (
    "Validation: accuracy on the held-out images that the epochs were chosen on (the best epoch of a task's last "
    "training phase), mean over tasks."
)


def mean_validation(run: RunRecord) -> float | None:
    """Mean of ``validation_accuracy`` over the tasks, a fraction; None unless every task has one."""
    return mean_of_all([validation_accuracy(run, row) for row in run.tasks])


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """Their mean; None unless all are there."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def validation_accuracy(run: RunRecord, row: TaskRow) -> float | None:
    """Validation accuracy of the epoch that a task kept, a fraction: the best of its last training phase.

    The shared task-1 network counts with its own curve. None without a curve on validation images, and for a method
    that goes back to an earlier phase (CPG's pruning): which of its epochs was kept is not in the curve.
    """
    if row.status == TASK_1_NETWORK:
        if run.spec.get("selection") != "validation":
            return None
        return _best((point.get("phase"), point.get("selection")) for point in task1_curve(run))
    return _best((point.phase, point.validation) for point in row.curve)


def task1_curve(run: RunRecord) -> list[dict[str, Any]]:
    """The curve of the shared task-1 network, empty where a record has none."""
    curve = (run.task1_network or {}).get("curve")
    points = curve if isinstance(curve, list | tuple) else ()
    return [point for point in points if isinstance(point, dict)]


def _best(points: Iterable[tuple[Any, Any]]) -> float | None:
    found = list(points)
    if not found or any(phase == "prune" for phase, _ in found):
        return None
    last = found[-1][0]
    values = [value for phase, value in found if phase == last and _is_fraction(value)]
    return max(values, default=None)


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
