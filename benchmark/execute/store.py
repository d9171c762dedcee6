"""Where things lie under a results folder.

``<results>/<run id>/``    ``result.json``, ``events.jsonl``, ``tasks/``, and while running ``checkpoint*.safetensors``
``<results>/.cache/``      task-1 networks and accuracy goals that several runs share
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError
from results.atomic import require_place
from results.reader import read_record, without_waiting
from results.schema import RECORD_NAME, RunRecord, SchemaError
from results.temporary import TEMPORARY_SUFFIX

CACHE = ".cache"


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def run_id(self) -> str:
        """The name that the run goes by here."""
        return self.path.name

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
        """What a killed run goes on from: as it stood after its last finished task."""
        return self.path / "checkpoint.safetensors"

    @property
    def inner_checkpoint(self) -> Path:
        """The same, as it stood somewhere within a task."""
        return self.path / "checkpoint-within.safetensors"

    @property
    def backbone(self) -> Path:
        """What all tasks share."""
        return self.path / "tasks" / "shared.safetensors"

    def task(self, index: int) -> Path:
        """What task ``index`` (1-based, the scenario's order) adds."""
        return self.path / "tasks" / f"task{index:03d}.safetensors"

    def absent(self, indices: Iterable[int]) -> Path | None:
        """The first file that is not there of those that tell the networks of these tasks."""
        paths = (self.backbone, *(self.task(index) for index in indices))
        return next((path for path in paths if not path.exists()), None)

    def read(self) -> RunRecord | None:
        """The record, None where there is none that can be used; a damaged one is named once, on the terminal.

        Raises:
            RequestError: a folder stands where the record belongs, so that no run could leave one.
        """
        if not os.path.lexists(self.record):
            return None
        if self.record.is_dir():
            raise RequestError(f"{self.record} is a folder, and a run's record belongs there; move it away.")
        try:
            return read_record(self.record)
        except SchemaError as error:
            _tell(f"{self.record} is left out ({error}): its run does not count as finished")
            return None

    def read_finished(self) -> RunRecord | None:
        """The record of a finished run that nobody asked to repeat; None without one."""
        record = self.read()
        return record if record is not None and record.finished and not self.to_be_repeated else None

    @property
    def to_be_repeated(self) -> bool:
        """--force asked for the finished run again, and its new record is not there yet."""
        try:
            return self._wish.stat().st_mtime_ns > self.record.stat().st_mtime_ns
        except OSError:
            return False

    @property
    def _wish(self) -> Path:
        return self.path / ".repeat"

    def repeat(self) -> None:
        """Have the run carried out again, from its beginning; its record stays until there is another."""
        self.forget_checkpoints()
        self._wish.touch()

    @property
    def _networks_wanted(self) -> Path:
        return self.path / ".networks-wanted"

    @property
    def networks_wanted(self) -> bool:
        """Another run starts from this one's networks: they stay, whatever ``--keep-weights`` says."""
        return self._networks_wanted.exists()

    def want_networks(self) -> None:
        """Have the run keep its networks, whoever carries it out."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._networks_wanted.touch()

    def append_event(self, event: dict[str, Any]) -> None:
        """Add one line to ``events.jsonl``. A full disk costs the line, never the run."""
        with suppress(OSError), open(self.events, "a", encoding="utf-8", opener=without_waiting) as file:
            file.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")

    def sweep(self) -> None:
        """Remove temporary files that a killed process left."""
        sweep(self.path)

    def begin_afresh(self) -> None:
        """Remove the checkpoints; whether the run is to be repeated stays known, in case this time does not finish."""
        for path in (self.checkpoint, self.inner_checkpoint):
            path.unlink(missing_ok=True)

    def forget_checkpoints(self) -> None:
        """Remove the checkpoints, and the wish for a repetition: the run is finished."""
        self.begin_afresh()
        self._wish.unlink(missing_ok=True)

    def forget_tasks(self) -> None:
        """Remove what tasks and backbone were stored as."""
        for path in self.backbone.parent.glob("*.safetensors"):
            path.unlink()


@functools.cache
def _tell(sentence: str) -> None:
    """A warning on the terminal, the first time that it is given."""
    if not _warned_by_command:
        print(f"warning: {sentence}", file=sys.stderr, flush=True)


#: this is the process of a run, whose command has given the warnings
_warned_by_command = False


def leave_warnings_to_the_command() -> None:
    """From here on this process says nothing of damaged records: the command that started it did."""
    global _warned_by_command
    _warned_by_command = True


def sweep(folder: Path) -> None:
    """Remove the temporary files below ``folder`` that a killed process left; the caller holds the folder's lock."""
    for leftover in folder.rglob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def run_folder(results: Path, *ids: str) -> RunFolder:
    """The folder of one run, under the first of its names (``RunSpec.ids``) that is there, else under the first."""
    found = (name for name in ids if (results / name).is_dir())
    return RunFolder(results / next(found, ids[0]))


def require_writable(folder: Path) -> None:
    """Make sure that runs can be written below ``folder``.

    Raises:
        RequestError: it is a file, it cannot be made, or it takes no file.
    """
    try:
        require_place(folder)
    except OSError as error:
        raise RequestError(
            f"The results folder {folder} cannot be written ({error.strerror}); make room or choose another with "
            "--results."
        ) from error


def cache_path(results: Path, *names: str | None) -> Path:
    """A file in the results folder's shared cache, under the first of its names that is there, else under the first."""
    paths = [results / CACHE / name for name in names if name is not None]
    return next((path for path in paths if path.exists()), paths[0])
