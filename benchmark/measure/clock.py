"""Where a run's seconds go: named phases per task, the device synchronised at phase edges only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

#: phases of a run; anything else would be a typing slip
PHASES = ("load", "warm-up", "task-1 network", "goal", "train", "prune", "choose", "retrain", "eval", "save")

#: phases outside any task are kept under this name
RUN = "run"


class Gauge(Protocol):
    """Something read beside the clock, at its edges: memory, energy, the device's own clock."""

    def start(self) -> None:
        """A phase begins."""

    def stop(self) -> dict[str, float]:
        """It ends: readings by name; names that start with "peak" are maxima, all others sums."""


@dataclass
class Stopwatch:
    """Seconds, peaks and energies by task and phase. A phase inside a phase interrupts the outer one.

    Attributes:
        synchronise: waits until the device is done; called at every edge.
        gauges: read at every edge, in nobody's time.
        task: whose phases are timed; ``RUN`` outside any task.
        whole: what comes before the first phase belongs to it: reading counters, waking the device.
        pauses: seconds that the process was stopped so far, in no phase and in no total.
        repeated: seconds that later sessions spent on getting back to where the checkpoint stood; in no phase.
    """

    synchronise: Callable[[], None] = lambda: None
    gauges: Sequence[Gauge] = ()
    pauses: Callable[[], float] = lambda: 0.0
    task: str = RUN
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    readings: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    whole: bool = False
    repeated: float = 0.0
    paused_before: float = 0.0  #: in earlier sessions, up to their checkpoint
    _before: float = 0.0
    _started: float = field(default_factory=lambda: time.perf_counter())
    _open: list[str] = field(default_factory=list)
    _edge: float = 0.0

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time one phase of the current task; inside a phase of the same name there is no edge."""
        if phase not in PHASES:
            raise ValueError(f"there is no phase {phase!r}; phases are {', '.join(PHASES)}")
        if self._open and self._open[-1] == phase:
            yield
            return
        if self._open:
            self._close(self._open[-1])
        self._open.append(phase)
        self._begin()
        try:
            yield
        finally:
            self._close(self._open.pop())
            if self._open:
                self._begin()

    def _begin(self) -> None:
        self.synchronise()
        for gauge in self.gauges:
            gauge.start()
        self._edge = self._started if self.whole else self._now()
        self.whole = False

    def _close(self, phase: str) -> None:
        self.synchronise()
        elapsed = self._now() - self._edge
        phases = self.seconds.setdefault(self.task, {})
        phases[phase] = phases.get(phase, 0.0) + elapsed
        if not self.gauges:
            return
        readings = self.readings.setdefault(self.task, {}).setdefault(phase, {})
        for gauge in self.gauges:
            for name, value in gauge.stop().items():
                before = readings.get(name, 0.0)
                readings[name] = max(before, value) if name.startswith("peak") else before + value

    def _now(self) -> float:
        return time.perf_counter() - self.pauses()

    @property
    def paused_seconds(self) -> float:
        """That the process was stopped, in all sessions."""
        return self.paused_before + self.pauses()

    @property
    def wall_seconds(self) -> float:
        """Since the run began in its process; of earlier sessions what led up to their checkpoint, once."""
        return self._before + self._now() - self._started

    @property
    def session_seconds(self) -> float:
        """Since the run began, or went on, in this process."""
        return self._now() - self._started

    @property
    def accounted_seconds(self) -> float:
        """All phases of all tasks together."""
        return sum(sum(phases.values()) for phases in self.seconds.values())

    def state(self) -> dict[str, Any]:
        """For a checkpoint or a record, plain JSON; the phase under way counts up to now."""
        if self._open:
            self._close(self._open[-1])
        state = {
            "seconds": {task: dict(phases) for task, phases in self.seconds.items()},
            "readings": {
                task: {phase: dict(values) for phase, values in phases.items()}
                for task, phases in self.readings.items()
            },
            "wall": self.wall_seconds,
            "repeated": self.repeated,
            "paused": self.paused_seconds,
        }
        if self._open:
            self._begin()
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue where a checkpoint stood: its work counts once, lost work and getting back here not at all."""
        now = self._now()
        self.seconds = {task: dict(phases) for task, phases in state["seconds"].items()}
        self.readings = {
            task: {phase: dict(values) for phase, values in phases.items()}
            for task, phases in state["readings"].items()
        }
        self.repeated = state["repeated"] + now - self._started
        self.paused_before = state.get("paused", 0.0)
        self._before = state["wall"]
        for gauge in self.gauges:
            gauge.start()  # getting back here is in no phase of theirs either
        self._started = self._edge = now
