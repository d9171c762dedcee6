"""Read the run folders below a results folder; what cannot be read is named, never a crash."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.schema import RECORD_NAME, RunRecord, SchemaError
from results.seal import require_seal
from results.sense import require_sense
from results.units import in_units

#: a larger file is not read: a run of 200 tasks, 150 layers and 100 epochs a task leaves about 10 MiB
MOST_BYTES = 64 * 2**20

#: how a JSON text writes half of a pair of UTF-16 units, which alone is no character
_HALF_A_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


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
    """Read one ``result.json``: its shape, its bounds, whether its numbers agree with each other, and its digest.

    Raises:
        SchemaError: unreadable, half-written, of another schema version, or it contradicts itself or its digest.
    """
    value = read_value(path)
    record = RunRecord.from_json(value)
    require_sense(record)
    require_seal(value)
    return record


def read_value(path: Path) -> Any:
    """The JSON value of a regular file of at most ``MOST_BYTES``.

    Raises:
        SchemaError: there is none, or it has a key twice, a number that is not finite, or text that is none.
    """
    content = content_of(path)
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_mapping,
            parse_float=_Floats().__getitem__,
            parse_constant=_no_number,
        )
        if _HALF_A_CHARACTER.search(content):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except SchemaError:
        raise
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SchemaError("it is half-written or no JSON") from error
    except UnicodeEncodeError as error:
        raise SchemaError("it holds text with half a character, which cannot be written") from error
    except RecursionError as error:
        raise SchemaError("it is nested too deeply for a run record") from error
    except ValueError as error:
        raise SchemaError("it holds a whole number of thousands of digits") from error
    return value


def content_of(path: Path) -> bytes:
    """The bytes of a regular file that is not too large. Raises SchemaError."""
    try:
        with open(path, "rb", opener=without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise SchemaError("it is no regular file")
            if about.st_size > MOST_BYTES:
                raise SchemaError(f"it is larger than {in_units(MOST_BYTES)}, the most that is read")
            return file.read(about.st_size + 1)
    except IsADirectoryError as error:
        raise SchemaError("it is no regular file") from error
    except OSError as error:
        raise SchemaError(f"it cannot be read ({error.strerror})") from error


def without_waiting(path: str, flags: int) -> int:
    """Open a file, as ``opener`` of ``open``; somebody at the other end of a pipe is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o644)


class _Floats(dict[str, float]):
    """Numbers by how they are written: one that a file has often, as an accuracy that stays, is one object."""

    def __missing__(self, text: str) -> float:
        self[text] = number = float(text)
        return number


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, times),) = Counter(name for name, _ in pairs).most_common(1)
        raise SchemaError(f"it has the key {name[:40]!r} {times} times in one mapping")
    return found


def _no_number(word: str) -> Any:
    raise SchemaError(f"it holds {word}, which is no number of JSON")


def read_runs(folder: Path) -> Collection:
    """All records in ``folder/<run id>/result.json``; run folders without a record are named as unfinished.

    Of two records of one run, that in the folder of the run's own name counts.

    Raises:
        FileNotFoundError: ``folder`` does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the results folder {folder} does not exist")
    found: dict[str, tuple[Path, RunRecord]] = {}
    left_out: list[LeftOut] = []
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        path = run / RECORD_NAME
        if not os.path.lexists(path):
            if os.path.lexists(run / "events.jsonl"):
                left_out.append(LeftOut(run, "the run has not finished (no result.json yet)"))
            continue
        try:
            record = read_record(path)
        except SchemaError as error:
            left_out.append(LeftOut(path, str(error)))
            continue
        if record.run_id in found:
            earlier, _ = found[record.run_id]
            unused = earlier if run.name == record.run_id else path
            left_out.append(LeftOut(unused, f"run {record.run_id} was already read from another folder"))
            if unused is path:
                continue
        found[record.run_id] = (path, record)
    return Collection(tuple(record for _, record in found.values()), tuple(left_out))
