"""Dataclasses from the JSON mappings that hold their fields, one or a whole list at once."""

from __future__ import annotations

import dataclasses
import functools
from sys import intern
from typing import Any, TypeVar, cast

from results.shapes import all_fit, check_fields

Made = TypeVar("Made")

#: fields whose texts thousands of rows have: of equal ones, one is kept
_REPEATED = frozenset({"task", "layer", "phase", "name", "status", "dtype", "purpose"})


@functools.cache
def _ordered(kind: type) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(kind))


@functools.cache
def _names(kind: type) -> frozenset[str]:
    return frozenset(_ordered(kind))


def known(kind: type, value: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``value`` without what this version does not know."""
    names = _names(kind)
    return dict(value) if value.keys() <= names else {key: item for key, item in value.items() if key in names}


def made(kind: type[Made], value: dict[str, Any], **parts: Any) -> Made:
    """A dataclass from a JSON mapping, its fields checked; ``parts`` are those that were read already.

    Raises:
        TypeError: a field is missing, or has another type or other bounds than its annotation.
    """
    plain = known(kind, value) | parts
    check_fields(kind, plain)
    return kind(**plain)


def all_made(kind: type[Made], rows: Any) -> tuple[Made, ...]:
    """One for each of ``rows``, a list of mappings. Rows that have the same fields are checked together.

    Raises:
        TypeError: as ``made``, for the first row that is not as it should be; or ``rows`` is no list.
    """
    if isinstance(rows, list | tuple) and len(rows) > 1 and all(isinstance(row, dict) for row in rows):
        keys, plain = rows[0].keys(), cast(type, kind)
        if keys <= _names(plain) and all(row.keys() == keys for row in rows):
            columns = {name: [row[name] for row in rows] for name in keys}
            if all_fit(kind, columns):
                columns |= {name: [value and intern(value) for value in columns[name]] for name in keys & _REPEATED}
                first = [name for name in _ordered(plain)[: len(keys)] if name in keys]
                if len(first) == len(keys):
                    return tuple(map(kind, *(columns[name] for name in first)))
    return tuple(made(kind, row) for row in rows)
