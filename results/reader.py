"""Read the run folders below a results folder; what cannot be read is named, never a crash."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from results.schema import RECORD_NAME, RunRecord, SchemaError


@dataclass(frozen=True)
class LeftOut:
    """A file that looked like a record and was not used, and why (one sentence, without the path)."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Collection:
    """The records of a results folder, sorted by run id, and what was left out."""

    records: tuple[RunRecord, ...]
    left_out: tuple[LeftOut, ...]


def read_record(path: Path) -> RunRecord:
    """Read one ``result.json``.

    Raises:
        SchemaError: unreadable, half-written, or of another schema version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"it cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SchemaError("it is half-written or no JSON") from error
    return RunRecord.from_json(value)


def read_runs(folder: Path) -> Collection:
    """All records in ``folder/<run id>/result.json``; run folders without a record are named as unfinished.

    Raises:
        FileNotFoundError: ``folder`` does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the results folder {folder} does not exist")
    records: dict[str, RunRecord] = {}
    left_out: list[LeftOut] = []
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        path = run / RECORD_NAME
        if not path.exists():
            if (run / "events.jsonl").exists():
                left_out.append(LeftOut(run, "the run has not finished (no result.json yet)"))
            continue
        try:
            record = read_record(path)
        except SchemaError as error:
            left_out.append(LeftOut(path, str(error)))
            continue
        if record.run_id in records:
            left_out.append(LeftOut(path, f"run {record.run_id} was already read from another folder"))
            continue
        records[record.run_id] = record
    return Collection(tuple(records.values()), tuple(left_out))
