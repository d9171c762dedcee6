"""Read a results folder: what the report is made of, and what was left out."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.report_error import ReportError
from results.reader import read_runs
from results.schema import RunRecord
from results.shapes import ShapeError, check_fields


@dataclass(frozen=True)
class Loaded:
    """Finished and failed runs, and one sentence for everything that was not used."""

    finished: tuple[RunRecord, ...]
    failed: tuple[RunRecord, ...]
    left_out: tuple[str, ...]
    source: str = ""  #: the folders that they are from

    @property
    def all(self) -> tuple[RunRecord, ...]:
        """Every record, finished ones first."""
        return self.finished + self.failed


def load(*folders: Path) -> Loaded:
    """Read every run folder below ``folders``; a run that lies in several is taken from the first.

    Raises:
        ReportError: a folder does not exist, or none holds a record that can be used.
    """
    records: dict[str, RunRecord] = {}
    left_out: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(
                f"the results folder {folder} does not exist; run `python -m benchmark run` first or name another "
                "--results"
            )
        try:
            with _without_garbage_collector():
                collection = read_runs(folder)
        except OSError as error:
            raise ReportError(f"the results folder {folder} cannot be read ({error.strerror})") from error
        left_out += [f"{_relative(item.path, folder)}: {item.reason}" for item in collection.left_out]
        for record in collection.records:
            if record.run_id in records:
                same = records[record.run_id].to_json() == record.to_json()
                left_out += [] if same else [f"{folder / record.run_id}: another record of this run was read before"]
            else:
                records[record.run_id] = record
    source = ", ".join(map(str, folders))
    where = f"the results folder {source} holds" if len(folders) == 1 else f"the results folders {source} hold"
    return dataclasses.replace(sorted_out(records.values(), left_out, where), source=source)


def sorted_out(records: Iterable[RunRecord], left_out: list[str], where: str) -> Loaded:
    """The usable ones of ``records``. Raises ReportError: there is none, which begins with ``where`` (``X holds``)."""
    finished, failed = usable(records, left_out)
    if not finished and not failed:
        reason = f" ({left_out[0]}{'; …' if len(left_out) > 1 else ''})" if left_out else ""
        raise ReportError(
            f"{where} no run record{reason}; run `python -m benchmark run` first or name another --results"
        )
    return Loaded(tuple(finished), tuple(failed), tuple(left_out))


def usable(records: Iterable[RunRecord], left_out: list[str]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Finished and failed ones that the report can name; a sentence for every other is added to ``left_out``."""
    finished: list[RunRecord] = []
    failed: list[RunRecord] = []
    for record in records:
        fault = _misshapen(record) or (_unusable(record) if record.finished else None)
        if fault:
            left_out.append(f"{record.run_id}: {fault}")
        else:
            (finished if record.finished else failed).append(record)
    return finished, failed


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
    networks: dict[str, Any] | None = None
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
    return None
