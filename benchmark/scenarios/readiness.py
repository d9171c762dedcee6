"""Is a scenario's data there and right? Decodes and checks every image, imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, Scenario, Task, silent
from benchmark.scenarios.start_weights import weights_faults

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TaskCheck:
    """One task: its counts, or why it cannot be read."""

    index: int  #: 1-based position in the scenario
    name: str
    class_names: tuple[str, ...] = ()
    train: int = 0  #: images
    test: int = 0
    fault: str = ""  #: one sentence; empty: it can be read


@dataclass(frozen=True)
class Readiness:
    """What a scenario's data is like, and whether a run could start."""

    scenario: str
    tasks: tuple[TaskCheck, ...]
    notes: tuple[str, ...]  #: what is unusual but no fault
    faults: tuple[str, ...]  #: one sentence each
    fingerprint: str  #: of the data; empty where not all of it could be read

    @property
    def ready(self) -> bool:
        """A run could start."""
        return not self.faults

    def table(self) -> pd.DataFrame:
        """One row a task: index, name, classes, training and test images, fault."""
        import pandas as pd

        rows = [
            (task.index, task.name, len(task.class_names), task.train, task.test, task.fault) for task in self.tasks
        ]
        return pd.DataFrame(rows, columns=["task", "name", "classes", "train", "test", "fault"]).set_index("task")


def task_checks(scenario: Scenario, root: Path | None, count: int, progress: Progress = silent) -> Iterator[TaskCheck]:
    """The first ``count`` tasks, one after another."""
    for index in range(1, count + 1):
        try:
            (task,) = scenario.read(root, [index], progress).tasks
        except RequestError as error:
            yield TaskCheck(index, scenario.task_names[index - 1], fault=str(error))
            continue
        yield TaskCheck(index, task.name, task.class_names, len(task.train), len(task.test))


def conclude(
    scenario: Scenario,
    root: Path | None,
    weights: Path | None,
    tasks: tuple[TaskCheck, ...],
    progress: Progress = silent,
) -> Readiness:
    """What the checks of all tasks come to, the weights' included."""
    faults = list(dict.fromkeys([*weights_faults(scenario, weights), *(task.fault for task in tasks if task.fault)]))
    if any(task.fault for task in tasks):
        return Readiness(scenario.name, tasks, (), tuple(faults), "")
    data = scenario.read(root, [task.index for task in tasks], progress)
    return Readiness(scenario.name, tasks, tuple(notes(scenario, data.tasks)), tuple(faults), data.fingerprint)


def notes(scenario: Scenario, tasks: tuple[Task, ...]) -> list[str]:
    """What is unusual but no fault: of the source, images in both splits, counts that differ from the papers'."""
    from benchmark.data.overlap import shared_images

    found: list[str] = []
    for task in tasks:
        found += [f"{task.name}: {note}." for note in task.notes]
        if shared := shared_images(task.train.images, task.test.images):
            found.append(
                f"{task.name}: test images that are training images too, pixel for pixel: {shared:,} of "
                f"{len(task.test):,}."
            )
        classes = scenario.classes[task.index - 1]
        if classes and len(task.class_names) != classes:
            found.append(f"{task.name} has {len(task.class_names)} classes, {classes} in the papers.")
        if scenario.images and (len(task.train), len(task.test)) != scenario.images[task.index - 1]:
            train, test = scenario.images[task.index - 1]
            found.append(
                f"{task.name} has {len(task.train):,} training and {len(task.test):,} test images, "
                f"{train:,} and {test:,} in the papers."
            )
    return found
