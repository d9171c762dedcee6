"""What an executor is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmark.plan.execution import RunOptions
from benchmark.plan.spec import RunSpec
from results.schema import RunRecord

#: ``hear(spec, event)``: progress of a run
Hear = Callable[[RunSpec, dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """A run to do and how."""

    spec: RunSpec
    options: RunOptions


class Executor(ABC):
    """Carries out runs apart from the command line."""

    @property
    def at_once(self) -> int:
        """How many runs are under way at a time, at most."""
        return 1

    @abstractmethod
    def start(self) -> None:
        """Begin with what takes time before the first run; returns at once."""

    @abstractmethod
    def check(self, job: Job) -> str | None:
        """What is wrong with the job's backbone and weights, in one sentence; None: nothing."""

    @abstractmethod
    def seconds_per_step(self, job: Job) -> float | str:
        """Seconds of one training step of the job; a sentence where it cannot be timed."""

    @abstractmethod
    def run(self, jobs: Iterable[Job], hear: Hear) -> Iterator[tuple[Job, RunRecord | None]]:
        """Carry out jobs; yields each as it ends, with its record (None: another process is at it)."""

    def expect(self, seconds: float | None) -> None:
        """Be told how long a run takes, about; None: it is not known."""
        del seconds  # of use where several runs share a job

    @property
    def parting(self) -> str:
        """What goes on when the command is stopped, in a sentence; empty: nothing does."""
        return ""

    @abstractmethod
    def stop(self, patience: float = 3.0) -> None:
        """End what is under way, by force after ``patience`` seconds; what was finished and checkpointed stays."""
