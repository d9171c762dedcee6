"""Read a results folder: what the report is made of, and what was left out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reports.errors import ReportError
from results.reader import read_runs
from results.schema import RunRecord


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
    finished = []
    for record in collection.records:
        fault = _unusable(record) if record.finished else None
        if fault:
            left_out.append(f"{record.run_id}: {fault}")
        elif record.finished:
            finished.append(record)
    failed = tuple(record for record in collection.records if not record.finished)
    if not finished and not failed:
        reason = f" ({left_out[0]}{'; …' if len(left_out) > 1 else ''})" if left_out else ""
        raise ReportError(
            f"the results folder {folder} holds no run record{reason}; "
            "run `python -m benchmark run` first or name another --results"
        )
    return Loaded(folder, tuple(finished), failed, tuple(left_out))


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


def _unusable(record: RunRecord) -> str | None:
    missing = [key for key in ("scenario", "method", "seed") if record.spec.get(key) is None]
    if missing:
        return f"its spec names no {', '.join(missing)}"
    if not isinstance(record.spec["seed"], int) or isinstance(record.spec["seed"], bool):
        return f"its seed {record.spec['seed']!r} is no whole number"
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
