"""What a log of one run can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """Numbers of one moment of a run.

    Attributes:
        step: epochs of the run so far, of all tasks and phases.
        time: seconds since 1970, of the event.
        values: after an epoch "epoch/loss", "epoch/train_accuracy", "epoch/selection_accuracy" and "epoch/rate"; after
            a task "task/accuracy" and "task/seconds". Accuracies are fractions.
        task, phase: what was under way.
    """

    step: int
    time: float
    values: Mapping[str, float]
    task: str
    phase: str = ""


class RunLog(ABC):
    """The log of one run."""

    @abstractmethod
    def add(self, point: Point) -> None:
        """Write one point; steps never fall."""

    @abstractmethod
    def finish(self, values: Mapping[str, float], status: str, step: int) -> None:
        """Write what the whole run came to, and close: "final/mean_accuracy" and the like."""

    @abstractmethod
    def close(self) -> None:
        """Leave the log as it is; the run goes on another time."""
