"""Records of runs on generated images, without what only real images can tell."""

from __future__ import annotations

import dataclasses
import math

from results.schema import RunRecord, TaskRow


def without_accuracy(record: RunRecord) -> RunRecord:
    """A run on generated images without accuracies, curves, goals and its method's own measures; any other as it is."""
    if not record.is_synthetic:
        return record
    shared = record.task1_network
    return dataclasses.replace(
        record,
        tasks=tuple(_without(row) for row in record.tasks),
        accuracy_matrix=(),
        mean_accuracy=None,
        forgetting=None,
        backward_transfer=None,
        measures={},
        task1_network=shared and {key: value for key, value in shared.items() if key not in ("accuracy", "curve")},
    )


def _without(row: TaskRow) -> TaskRow:
    """Accuracies are NaN, since a row must have some: a number that equals none and is taken into no mean."""
    return dataclasses.replace(row, accuracy=math.nan, accuracy_at_end=math.nan, goal=None, goal_met=None, curve=())
