"""One method with one specification: the unit whose seeds may be averaged."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reports.hardware import Hardware, hardware_of
from reports.method_facts import MethodFacts
from reports.naming import slug
from results.schema import PretrainedRow, RunRecord, TaskRow

#: Status of the row of the task whose network a frozen-backbone method starts from.
TASK_1_NETWORK = "task-1 network"


@dataclass(frozen=True)
class TaskRef:
    """A task of a panel: its 1-based position in the scenario, and its name."""

    index: int
    name: str


@dataclass(frozen=True)
class Configuration:
    """One method with one specification; ``runs`` differ in seed (and perhaps hardware) only."""

    method: str
    label: str  #: unique among the panel's configurations of one initial task
    spec: Mapping[str, Any]  #: without the seed
    runs: tuple[RunRecord, ...]
    facts: MethodFacts  #: title, colours and role of the method
    variant: int = 0  #: 0 for the method's first configuration of an initial task, 1 for the second, …

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The distinct seeds, ascending."""
        return tuple(sorted({run.spec["seed"] for run in self.runs}))

    @property
    def initial_task(self) -> int:
        """1-based index of the task that was learned first."""
        return int(self.spec.get("initial_task") or 1)

    @cached_property
    def slug(self) -> str:
        """The label as a file name and HTML id."""
        return slug(self.label)

    @cached_property
    def by_hardware(self) -> dict[Hardware, tuple[RunRecord, ...]]:
        """The runs by what they were timed on."""
        found: dict[Hardware, list[RunRecord]] = defaultdict(list)
        for run in self.runs:
            found[hardware_of(run)].append(run)
        return {hardware: tuple(found[hardware]) for hardware in sorted(found)}

    @property
    def hardware(self) -> tuple[Hardware, ...]:
        """Everything that the runs were timed on."""
        return tuple(self.by_hardware)

    @cached_property
    def accuracy(self) -> dict[tuple[int, int], float]:
        """Test accuracy after the last task, a fraction, by (task index, seed)."""
        return self._by_task_and_seed(lambda row: row.accuracy_at_end)

    @cached_property
    def accuracy_when_learned(self) -> dict[tuple[int, int], float]:
        """Test accuracy when the task was learned, a fraction, by (task index, seed)."""
        return self._by_task_and_seed(lambda row: row.accuracy)

    @cached_property
    def pretrained_rows(self) -> dict[int, PretrainedRow]:
        """What the pretrained network still does on the data set that it is from, by seed, where records say."""
        return {int(run.spec["seed"]): run.pretrained_row for run in self.runs if run.pretrained_row is not None}

    def on(self, hardware: Hardware) -> tuple[RunRecord, ...]:
        """The runs that were timed on ``hardware``."""
        return self.by_hardware.get(hardware, ())

    def training_seconds(self, hardware: Hardware) -> dict[tuple[int, int], float]:
        """Training seconds on ``hardware`` by (task index, seed); tasks that the method did not train are absent."""
        return self._training_seconds.get(hardware, {})

    def networks_seconds(self, hardware: Hardware) -> dict[int, float]:
        """Training seconds, by seed, of the runs whose networks these started from; of another hardware none."""
        return {
            int(run.spec["seed"]): run.networks_from.seconds
            for run in self.on(hardware)
            if run.networks_from is not None and run.networks_from.same_hardware
        }

    def seconds_in_all(self, hardware: Hardware) -> dict[int, float]:
        """Training seconds of all tasks by seed, with those of the networks that a run started from; of a run whose
        networks were trained on other hardware none."""
        networks = self.networks_seconds(hardware)
        return {
            int(run.spec["seed"]): run.training_seconds_total + networks.get(int(run.spec["seed"]), 0.0)
            for run in self.on(hardware)
            if run.training_seconds_total is not None
            and (run.networks_from is None or int(run.spec["seed"]) in networks)
        }

    @property
    def trains(self) -> bool:
        """It trains by itself, and does not only make something of another run's networks."""
        return all(run.networks_from is None for run in self.runs)

    def seconds_per_epoch(self, hardware: Hardware) -> dict[tuple[int, int], float]:
        """Training seconds per epoch on ``hardware`` by (task index, seed)."""
        return self._by_task_and_seed(own_seconds_per_epoch, self.on(hardware))

    @cached_property
    def _training_seconds(self) -> dict[Hardware, dict[tuple[int, int], float]]:
        return {name: self._by_task_and_seed(own_training_seconds, runs) for name, runs in self.by_hardware.items()}

    def _by_task_and_seed(
        self, value: Callable[[TaskRow], float | None], runs: Iterable[RunRecord] | None = None
    ) -> dict[tuple[int, int], float]:
        collected: dict[tuple[int, int], list[float]] = defaultdict(list)
        for run in self.runs if runs is None else runs:
            for row in run.tasks:
                number = value(row)
                if number is not None and not math.isnan(number):
                    collected[row.index, run.spec["seed"]].append(number)
        return {key: sum(numbers) / len(numbers) for key, numbers in collected.items()}


def own_training_seconds(row: TaskRow) -> float | None:
    """Seconds in training phases; None for a task that the method itself did not train."""
    seconds = row.training_seconds
    return seconds if seconds > 0 and row.status != TASK_1_NETWORK else None


def own_seconds_per_epoch(row: TaskRow) -> float | None:
    """Training seconds over training epochs; None for a task that the method itself did not train."""
    seconds = own_training_seconds(row)
    return seconds / row.epochs if seconds is not None and row.epochs else None
