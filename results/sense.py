"""Whether the numbers of a run record agree with each other: what a run writes always does, a damaged file need not."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from results import metrics
from results.schema import RunRecord, SchemaError
from results.shapes import LARGEST, brief

#: by how much a number may differ from the one that follows from others
TOLERANCE = 1e-9

#: what a measure may be called: a column of ``runs.csv`` is called after it
_MEASURE = re.compile(r"[a-z][a-z0-9_]{0,39}")

#: how deep lists and mappings may lie in the parts of a record that are anybody's
DEEPEST = 16


def require_sense(record: RunRecord) -> None:
    """Raises SchemaError, with the first contradiction in a sentence."""
    if (fault := next(_faults(record), None)) is not None:
        raise SchemaError(fault)


def _faults(record: RunRecord) -> Iterator[str]:
    yield from _of_free_parts(record)
    yield from _of_the_end(record)
    if record.finished:  # what a failed run got to is in no table
        yield from _of_tasks(record)
        yield from _of_the_matrix(record)
    yield from _of_masks(record)
    yield from _of_measures(record)
    yield from _of_size(record)


def _of_free_parts(record: RunRecord) -> Iterator[str]:
    for name in ("spec", "provenance", "method", "task1_network"):
        if (fault := _free(getattr(record, name), DEEPEST)) is not None:
            yield f"{name}{fault}"


def _free(value: Any, depth: int) -> str | None:
    """What is wrong with a value of any kind: ``.mask.slope is no finite number …``."""
    if isinstance(value, int | float):
        return None if -LARGEST <= value <= LARGEST else f" is no finite number of at most {LARGEST:g}"
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value, start=1)
    else:
        return None
    if not depth:
        return f" is nested more than {DEEPEST} deep"
    for key, item in items:
        if (fault := _free(item, depth - 1)) is not None:
            return f".{str(key)[:40]}{fault}"
    return None


def _of_the_end(record: RunRecord) -> Iterator[str]:
    if not record.finished:
        if record.error is not None and not record.error.strip():
            yield "it says failed but its error is an empty text"
        return
    if not record.tasks:
        yield "it says finished but holds no task"
    for name in ("accuracy_matrix", "mean_accuracy", "training_seconds_total"):
        if getattr(record, name) in (None, ()):
            yield f"it says finished but has no {name}"


def _of_tasks(record: RunRecord) -> Iterator[str]:
    for name in ("index", "name"):
        for value, times in Counter(getattr(row, name) for row in record.tasks).most_common(1):
            if times > 1:
                yield f"{times} of its tasks have the {name} {value!r}"
    total = sum(row.training_seconds for row in record.tasks)
    if record.training_seconds_total is not None and not _agree(record.training_seconds_total, total):
        yield f"training_seconds_total is {record.training_seconds_total!r}, its tasks' phases make {total!r}"


def _of_the_matrix(record: RunRecord) -> Iterator[str]:
    """Row i: after learning task i; column j: task j, in the order of learning; null where it was not learned yet."""
    matrix, tasks = record.accuracy_matrix, record.tasks
    count = len(tasks)
    if len(matrix) != count or any(len(row) != count for row in matrix):
        yield f"its accuracy matrix is not of {count} rows and columns, as it has tasks"
        return
    for place, row in enumerate(matrix, start=1):
        if None in row[:place] or any(value is not None for value in row[place:]):
            yield f"row {place} of its accuracy matrix has not an accuracy for each task learned by then, and no other"
            return
    for place, task in enumerate(tasks):
        for name, found in (("accuracy", matrix[place][place]), ("accuracy_at_end", matrix[-1][place])):
            assert found is not None
            if abs(getattr(task, name) - found) > TOLERANCE:
                yield f"{name} of task {task.name!r} is {getattr(task, name)!r}, its accuracy matrix has {found!r}"
    for name in ("mean_accuracy", "forgetting", "backward_transfer"):
        told = getattr(record, name)
        made = getattr(metrics, name)(matrix) if matrix else None
        if (told is None) != (made is None) or (told is not None and abs(told - made) > TOLERANCE):
            yield f"{name} is {_number(told)}, its accuracy matrix makes {_number(made)}"


def _of_masks(record: RunRecord) -> Iterator[str]:
    for row in record.mask_statistics:
        if row.ones + row.soft + row.zeros != row.units:
            total = row.ones + row.soft + row.zeros
            where = f"the mask of {row.task!r} on {row.layer!r}"
            yield f"{where} has {row.units} units, its ones, soft and zeros make {total}"


def _of_measures(record: RunRecord) -> Iterator[str]:
    for name in record.measures:
        if not _MEASURE.fullmatch(name):
            yield f"its measure {brief(name)} has no name of small letters, digits and underscores, 40 at most"


def _of_size(record: RunRecord) -> Iterator[str]:
    size = record.size
    if size is None:
        return
    itemised = size.rules.get("itemised")
    if itemised is None:
        yield "its size has no rule 'itemised'"
    elif size.components and itemised != (total := sum(item.bytes for item in size.components)):
        yield f"its itemised size is {itemised:,} bytes, its components make {total:,}"
    table = size.rules.get("cpg_table")
    if size.table_parts and (total := sum(size.table_parts.values())) != table:
        yield f"its published size is {table} bytes, the parts of it make {total:,}"
    if size.written_bytes is not None and size.header_bytes > size.written_bytes:
        yield f"{size.header_bytes:,} bytes of its files are headers, and the files have {size.written_bytes:,}"


def _agree(told: float, made: float) -> bool:
    return math.isclose(told, made, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)
