"""Read a results folder: what the report is made of, and what was left out."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from reports.report_error import ReportError
from reports.without_accuracy import without_accuracy
from results.locations import results_folders, trials_folder
from results.reader import Collection, read_runs
from results.schema import Amount, Count, Fraction, Positive, RunRecord
from results.shapes import AtMost, ShapeError, check_fields


@dataclass(frozen=True)
class Loaded:
    """Finished and failed runs, trials of ``tune``, and one sentence for everything that was not used."""

    finished: tuple[RunRecord, ...]
    failed: tuple[RunRecord, ...]
    left_out: tuple[str, ...]
    source: str = ""  #: the folders that they are from
    trials: tuple[RunRecord, ...] = ()  #: finished and failed ones; their accuracies are of validation images
    home: str = ""  #: address of the index that the page belongs to, relative to it; empty: it stands alone

    @property
    def all(self) -> tuple[RunRecord, ...]:
        """Every run, finished ones first; no trials."""
        return self.finished + self.failed


def load(*folders: Path) -> Loaded:
    """Read every run folder below ``folders``, and the trials of ``tune`` beside each; a run that lies in several is
    taken from the first. A folder may also hold results folders.

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
        places = results_folders(folder)
        for place in dict.fromkeys([*places, *map(trials_folder, places)]):
            collection = _read(place)
            left_out += [f"{_relative(item.path, folder)}: {item.reason}" for item in collection.left_out]
            for record in collection.records:
                if record.run_id in records:
                    same = records[record.run_id].to_json() == record.to_json()
                    left_out += [] if same else [f"{place / record.run_id}: another record of this run was read before"]
                else:
                    records[record.run_id] = record
    source = ", ".join(map(str, folders))
    where = f"the results folder {source} holds" if len(folders) == 1 else f"the results folders {source} hold"
    return dataclasses.replace(sorted_out(records.values(), left_out, where), source=source)


def _read(folder: Path) -> Collection:
    """The records of a folder; none where there is no such folder. Raises ReportError."""
    try:
        with _without_garbage_collector():
            return read_runs(folder) if folder.is_dir() else Collection((), ())
    except OSError as error:
        raise ReportError(f"the results folder {folder} cannot be read ({error.strerror})") from error


def sorted_out(records: Iterable[RunRecord], left_out: list[str], where: str) -> Loaded:
    """The usable ones of ``records``. Raises ReportError: there is none, which begins with ``where`` (``X holds``)."""
    finished, failed, trials = usable(records, left_out)
    if trials and not finished and not failed:
        count = f"{len(trials)} trial{'' if len(trials) == 1 else 's'}"
        raise ReportError(
            f"{where} no run, only {count} of tune, measured on validation images; run their outcome first with "
            "`python -m benchmark run --tuned FILE`, or name the folder of the runs"
        )
    if not finished and not failed:
        reason = f" ({left_out[0]}{'; …' if len(left_out) > 1 else ''})" if left_out else ""
        raise ReportError(
            f"{where} no run record{reason}; run `python -m benchmark run` first or name another --results"
        )
    return Loaded(tuple(finished), tuple(failed), tuple(left_out), trials=tuple(trials))


def usable(
    records: Iterable[RunRecord], left_out: list[str]
) -> tuple[list[RunRecord], list[RunRecord], list[RunRecord]]:
    """Finished runs, failed ones, and trials of ``tune``, as far as the report can name them; a sentence for every
    other is added to ``left_out``."""
    finished: list[RunRecord] = []
    failed: list[RunRecord] = []
    trials: list[RunRecord] = []
    for record in map(without_accuracy, records):
        fault = _misshapen(record) or (_unusable(record) if record.finished else None)
        if fault:
            left_out.append(f"{record.run_id}: {fault}")
        elif record.is_trial:
            trials.append(record)
        else:
            (finished if record.finished else failed).append(record)
    return finished, failed, trials


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
    measured_on: str | None = None
    synthetic: bool | None = None
    tuning: dict[str, Any] | None = None
    tuning_seconds: Amount | None = None


@dataclass(frozen=True)
class UsedTuning:
    """What the report reads of how a run's settings were found."""

    trials: Positive
    tasks: Positive
    seed: int
    space: tuple[Annotated[str, AtMost(500)], ...]
    trial: Count
    validation: Fraction
    pruned: Count = 0


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
        if (tuning := record.spec.get("tuning")) is not None:
            check_fields(UsedTuning, tuning)
            if lacking := [name for name in ("trials", "tasks", "seed", "space", "trial") if name not in tuning]:
                raise ShapeError(f"tuning has no {lacking[0]}")
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
