"""Is a scenario's data there and right? Decodes and checks every image, or compares prepared files with their manifest.
Imports no torch, unless there are weights to try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, Scenario, Task, Vouched, silent
from benchmark.scenarios.start_weights import misfits, weights_faults

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
    fault: str = ""  #: one sentence, perhaps with what to get; empty: it can be read
    vouched: Vouched | None = None  #: by a manifest: nothing was decoded

    @property
    def content(self) -> str:
        """sha256 (hex) of prepared files, names and bytes; empty where the images were decoded instead."""
        return "" if self.vouched is None else self.vouched.content


@dataclass(frozen=True)
class Readiness:
    """What a scenario's data is like, and whether a run could start."""

    scenario: str
    tasks: tuple[TaskCheck, ...]
    notes: tuple[str, ...]  #: what is unusual but no fault
    faults: tuple[str, ...]  #: one sentence each
    fingerprint: str  #: of the data; empty where not all of it was read: a fault, or a manifest that vouches for it

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
            found = scenario.vouch(root, index, progress) if scenario.vouch is not None else None
            if found is not None:
                name = scenario.task_names[index - 1]
                yield TaskCheck(index, name, found.class_names, found.train, found.test, vouched=found)
                continue
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
    from benchmark.data import class_folders

    wrong = weights_faults(scenario, weights) or misfits(scenario, weights)
    on, folder = scenario.pretrained_on, class_folders.folder_of(scenario, root)
    unusable = class_folders.fault(folder, on) if on is not None and folder is not None else None
    wrong += [unusable] if unusable else []
    faults = list(dict.fromkeys([*wrong, *(task.fault for task in tasks if task.fault)]))
    if any(task.fault for task in tasks):
        return Readiness(scenario.name, tasks, (), tuple(faults), "")
    decoded = [task.index for task in tasks if task.vouched is None]
    data = scenario.read(root, decoded, progress) if decoded else None
    read = {} if data is None else {task.index: task for task in data.tasks}
    found = [note for task in tasks for note in notes(scenario, task, read.get(task.index))]
    if on is not None and not unusable:
        found.append(class_folders.told(on, folder))
    whole = data is not None and len(decoded) == len(tasks)
    return Readiness(scenario.name, tasks, tuple(found), tuple(faults), data.fingerprint if data and whole else "")


def notes(scenario: Scenario, task: TaskCheck, read: Task | None) -> Iterator[str]:
    """What is unusual but no fault: of the source, images in both splits, counts that differ from the papers'.

    Args:
        read: the task, where its images were decoded.
    """
    from benchmark.data.overlap import shared_images

    said: tuple[str, ...] = ()
    shared, how = 0, "pixel for pixel"
    if read is not None:
        said, shared = read.notes, shared_images(read.train.images, read.test.images)
    elif task.vouched is not None:
        said, shared, how = task.vouched.notes, task.vouched.in_both_splits, "byte for byte"
    for note in said:
        yield f"{task.name}: {note}."
    if shared:
        yield f"{task.name}: test images that are training images too, {how}: {shared:,} of {task.test:,}."
    classes = scenario.classes[task.index - 1]
    if classes and len(task.class_names) != classes:
        yield f"{task.name} has {len(task.class_names)} classes, {classes} in the papers."
    if scenario.images and (task.train, task.test) != scenario.images[task.index - 1]:
        train, test = scenario.images[task.index - 1]
        yield (
            f"{task.name} has {task.train:,} training and {task.test:,} test images, {train:,} and {test:,} in the "
            "papers."
        )
