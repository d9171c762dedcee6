"""Accuracy at equal budgets, read from the learning curves: after so many epochs, and after so many seconds, of a task.

What counts is what a task has reached by then: the best held-out accuracy of the phase under way, since the best epoch
is what is kept. Retraining after a cut replaces the network before it; a method that tries cuts and goes back where
they cost too much (CPG's pruning) counts with the best of all its phases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.configuration import Configuration, own_training_seconds
from reports.grouping import Panel
from reports.setting import drawn
from reports.tables.ranking import main_hardware
from results.schema import TRAINING_PHASES, TaskRow

#: so many budgets of seconds, evenly spaced on a log scale
STEPS = 120


@dataclass(frozen=True)
class Learned:
    """One task of one seed: accuracy reached after every epoch, float64 (epochs,), and the seconds of an epoch."""

    task: int
    seed: int
    reached: NDArray[np.float64]
    epoch_seconds: float | None  #: training seconds over epochs; None on other hardware than the panel's main one
    on: str  #: images that accuracies are of: "validation" or "test"


#: configurations with the tasks that all of them trained
Common = Sequence[tuple[Configuration, Sequence[Learned]]]


@dataclass(frozen=True)
class Budget:
    """A configuration's mean accuracy over tasks and seeds, by budget."""

    item: Configuration
    at: NDArray[np.float64]  #: budgets, ascending
    accuracy: NDArray[np.float64]  #: fractions, of the same length
    end: float  #: the budget at which the last of its tasks has ended; what follows is what it stopped with


@dataclass(frozen=True)
class Budgets:
    """All configurations by both budgets, over the tasks that every one of them trained."""

    epochs: tuple[Budget, ...]
    seconds: tuple[Budget, ...]
    tasks: tuple[int, ...]
    on: tuple[str, ...]


def equal_budgets(panel: Panel) -> Budgets | None:
    """None where fewer than two configurations have curves of a task in common."""
    every = [(item, found) for item in drawn(panel) if (found := list(_learned(panel, item)))]
    tasks = set.intersection(*({one.task for one in found} for _, found in every)) if every else set()
    if len(every) < 2 or not tasks:
        return None
    common = [(item, [one for one in found if one.task in tasks]) for item, found in every]
    on = sorted({one.on for _, found in common for one in found})
    timed = [(item, [one for one in found if one.epoch_seconds is not None]) for item, found in common]
    return Budgets(
        tuple(_by_epoch(common)),
        tuple(_by_second([(item, found) for item, found in timed if found])),
        tuple(sorted(tasks)),
        tuple(on),
    )


def _learned(panel: Panel, item: Configuration) -> Iterator[Learned]:
    hardware = main_hardware(panel)
    timed = {id(run) for run in item.on(hardware)} if hardware else set()
    for run in item.runs:
        for row in run.tasks:
            reached, on = _reached(row)
            if len(reached):
                seconds = own_training_seconds(row) if id(run) in timed else None
                each = None if seconds is None else seconds / len(reached)
                yield Learned(row.index, int(run.spec["seed"]), reached, each, on)


def _reached(row: TaskRow) -> tuple[NDArray[np.float64], str]:
    """Best held-out accuracy so far, after every epoch, and of which images; empty where an epoch has none."""
    points = [point for point in row.curve if point.phase in TRAINING_PHASES]
    on = "test" if all(point.validation is None for point in points) else "validation"
    values = [getattr(point, on) for point in points]
    if None in values:
        return np.empty(0), on
    goes_back = any(point.phase == "prune" for point in points)
    found: list[float] = []
    for place, (point, value) in enumerate(zip(points, values, strict=True)):
        same = place > 0 and (goes_back or points[place - 1].phase == point.phase)
        found.append(max(found[-1], value) if same else value)
    return np.array(found, dtype=np.float64), on


def _by_epoch(common: Common) -> Iterator[Budget]:
    longest = max(len(one.reached) for _, found in common for one in found)
    at = np.arange(1, longest + 1, dtype=np.float64)
    for item, found in common:
        yield Budget(item, at, _mean(found, [at] * len(found)), max(len(one.reached) for one in found))


def _by_second(common: Common) -> Iterator[Budget]:
    """From the moment when the first epoch of every task has ended."""
    if len(common) < 2:
        return
    firsts = [max(_seconds(one) for one in found) for _, found in common]
    ends = [max(_seconds(one) * len(one.reached) for one in found) for _, found in common]
    grid = np.geomspace(min(firsts), max(ends), STEPS)
    for (item, found), first, end in zip(common, firsts, ends, strict=True):
        at = np.unique([first, *grid[grid > first], end])
        # a millionth more: rounding must not take an epoch away at the moment when it ends
        epochs = [np.floor(at / _seconds(one) * (1 + 1e-6)) for one in found]
        yield Budget(item, at, _mean(found, epochs), end)


def _seconds(one: Learned) -> float:
    assert one.epoch_seconds is not None
    return one.epoch_seconds


def _mean(found: Sequence[Learned], epochs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over tasks and seeds of what was reached after ``epochs``, one array of budgets for each."""
    values = [
        one.reached[np.clip(done.astype(int), 1, len(one.reached)) - 1] for one, done in zip(found, epochs, strict=True)
    ]
    mean: NDArray[np.float64] = np.mean(values, axis=0)
    return mean
