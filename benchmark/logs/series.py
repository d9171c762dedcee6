"""From the lines of ``events.jsonl`` to the points of a log: every epoch once, however often a run was interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.logs.run_log import Point

#: name in a log -> name in an event
_EPOCH = {"loss": "loss", "train_accuracy": "train", "selection_accuracy": "selection", "rate": "lr"}


class Series:
    """The points of one run. Epochs that are repeated after a resume are left out."""

    def __init__(self) -> None:
        self.step = 0  #: epochs so far
        self._seen: set[tuple[Any, ...]] = set()
        self._over = False

    def points(self, event: Mapping[str, Any]) -> Iterator[Point]:
        """What an event adds."""
        kind, moment = event.get("type"), float(event.get("time", 0.0))
        if kind == "epoch":
            key = (event.get("task"), event.get("phase"), event.get("key"), event.get("epoch"))
            if key not in self._seen:
                self._seen.add(key)
                self.step += 1
                numbers = {f"epoch/{name}": event.get(field) for name, field in _EPOCH.items()}
                values = {name: float(value) for name, value in numbers.items() if isinstance(value, int | float)}
                yield Point(self.step, moment, values, str(event.get("task")), str(event.get("phase")))
        elif kind == "task-end" and ("task", event.get("name")) not in self._seen:
            self._seen.add(("task", event.get("name")))
            values = {f"task/{name}": float(event[name]) for name in ("accuracy", "seconds") if name in event}
            yield Point(self.step, moment, values, str(event.get("name")))

    def begins_again(self, event: Mapping[str, Any]) -> bool:
        """The event is the start of a repetition of the run, which ended before: another series."""
        if event.get("type") == "run-end":
            self._over = event.get("status") == "finished"
        return self._over and event.get("type") == "run-start" and event.get("done") == 0
