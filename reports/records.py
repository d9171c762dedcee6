"""Read a results folder: what the report is made of, and what was left out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.errors import ReportError
from results.reader import read_runs
from results.schema import RunRecord
from results.shapes import ShapeError, check_fields


@dataclass(frozen=True)
class Loaded:
    """Finished and failed runs of a folder, and one sentence for everything that was not used."""

    folder: Path
    finished: tuple[RunRecord, ...]
    failed: tuple[RunRecord, ...]
    left_out: tuple[str, ...]

    @property
    def all(self) -> tuple[RunRecord, ...]:
        """Every record, finished ones first."""
        return self.finished + self.failed


def load(folder: Path) -> Loaded:
    """Read every run folder below ``folder``.

    Raises:
        ReportError: the folder does not exist, or holds no record that can be used.
    """
    if not folder.is_dir():
        raise ReportError(
            f"the results folder {folder} does not exist; run `python -m benchmark run` first or name another --results"
        )
    with _without_garbage_collector():
        collection = read_runs(folder)
    left_out = [f"{_relative(item.path, folder)}: {item.reason}" for item in collection.left_out]
    finished: list[RunRecord] = []
    failed: list[RunRecord] = []
    for record in collection.records:
        fault = _misshapen(record) or (_unusable(record) if record.finished else None)
        if fault:
            left_out.append(f"{record.run_id}: {fault}")
        else:
            (finished if record.finished else failed).append(record)
    if not finished and not failed:
        reason = f" ({left_out[0]}{'; …' if len(left_out) > 1 else ''})" if left_out else ""
        raise ReportError(
            f"the results folder {folder} holds no run record{reason}; "
            "run `python -m benchmark run` first or name another --results"
        )
    return Loaded(folder, tuple(finished), tuple(failed), tuple(left_out))


@dataclass(frozen=True)
class UsedSpec:
    """What the report reads of a record's spec, where it is there; everything else is only shown."""

    scenario: str
    method: str
    seed: int
    initial_task: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    bn_policy: str | None = None
    selection: str | None = None
    backbone: dict[str, Any] | str | None = None
    settings: dict[str, Any] | None = None
    task_names: tuple[str, ...] | None = None
    task_indices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class UsedProvenance:
    """What the report reads of a record's provenance, where it is there."""

    notes: tuple[str, ...] | None = None
    host: dict[str, Any] | None = None
    device: dict[str, Any] | None = None
    git: dict[str, Any] | None = None
    packages: dict[str, Any] | None = None
    started: str | None = None
    finished: str | None = None


@contextmanager
def _without_garbage_collector() -> Iterator[None]:
    """A million objects that all stay: visiting them again and again would take longer than making them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _misshapen(record: RunRecord) -> str | None:
    try:
        check_fields(UsedSpec, record.spec)
        check_fields(UsedProvenance, record.provenance)
    except ShapeError as error:
        return f"a field of its spec or provenance has the wrong shape ({error})"
    return None


def _unusable(record: RunRecord) -> str | None:
    missing = [key for key in ("scenario", "method", "seed") if record.spec.get(key) is None]
    if missing:
        return f"its spec names no {', '.join(missing)}"
    if not record.tasks:
        return "it says finished but holds no task"
    wrong = [
        row.name
        for row in record.tasks
        for value in (row.accuracy, row.accuracy_at_end)
        if not (isinstance(value, int | float) and 0.0 <= value <= 1.0)
    ]
    if wrong:
        return f"task {wrong[0]!r} has an accuracy that is no fraction between 0 and 1"
    return None
