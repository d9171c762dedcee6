"""Where things lie under a results folder, and locks that a dead process does not hold.

``<results>/<run id>/``    ``result.json``, ``events.jsonl``, ``checkpoint.safetensors`` (while running), ``tasks/``
``<results>/.cache/``      task-1 networks and accuracy goals that several runs share
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError
from results.atomic import TEMPORARY_SUFFIX
from results.reader import read_record
from results.schema import RECORD_NAME, RunRecord, SchemaError

CACHE = ".cache"


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def record(self) -> Path:
        """The finished (or failed) run's record."""
        return self.path / RECORD_NAME

    @property
    def events(self) -> Path:
        """Progress, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def checkpoint(self) -> Path:
        """What a killed run goes on from."""
        return self.path / "checkpoint.safetensors"

    @property
    def backbone(self) -> Path:
        """What all tasks share."""
        return self.path / "tasks" / "shared.safetensors"

    def task(self, index: int) -> Path:
        """What task ``index`` (1-based, the scenario's order) adds."""
        return self.path / "tasks" / f"task{index:03d}.safetensors"

    def read(self) -> RunRecord | None:
        """The record, None where there is none that can be read."""
        try:
            return read_record(self.record)
        except SchemaError:
            return None

    def append_event(self, event: dict[str, Any]) -> None:
        """Add one line to ``events.jsonl``."""
        with self.events.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")

    def sweep(self) -> None:
        """Remove temporary files that a killed process left."""
        for leftover in self.path.rglob(f".*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)


def run_folder(results: Path, run_id: str) -> RunFolder:
    """The folder of one run."""
    return RunFolder(results / run_id)


def require_writable(folder: Path) -> None:
    """Make sure that runs can be written below ``folder``.

    Raises:
        RequestError: it is a file, it cannot be made, or it takes no file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise RequestError(
            f"The results folder {folder} cannot be written ({error.strerror}); choose another with --results."
        ) from error


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made where absent); the system frees it when the process ends.

    ``waiting`` is called once when another process holds it; without ``waiting`` BlockingIOError is raised instead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cache_path(results: Path, name: str) -> Path:
    """A file in the results folder's shared cache."""
    return results / CACHE / name
