"""The papers' numbers, as printed, under the names that run records use. Nothing here is ever shown as measured."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from results import schema

#: beside the schema: ``results`` itself has no file where Python takes a folder of that name in the current one for it
FOLDER = Path(schema.__file__).parent / "published"


@dataclass(frozen=True)
class Note:
    """A remark on a printed number: its source, or a slip with what the printed rows really give."""

    file: str
    method: str
    field: str
    printed: str
    computed: str
    kind: str  #: "slip" is shown with a warning; everything else as a remark
    note: str

    @property
    def text(self) -> str:
        """The note with the method (in a table of initial tasks: the task) that it is about."""
        if self.method == "*":
            return self.note
        return f"{f'From task {self.method}' if self.method.isdigit() else self.method}: {self.note}"


@dataclass(frozen=True)
class PublishedTable:
    """One printed table: ``values[row][column]``, where rows are method keys (or initial tasks)."""

    name: str  #: "Table 1 of the KSM paper"
    values: Mapping[str, Mapping[str, float]]
    notes: tuple[Note, ...] = field(default=())
    mean_of: int = 0  #: where only means are printed: over so many columns

    def get(self, row: str, column: str) -> float | None:
        """A printed number, or None."""
        return self.values.get(row, {}).get(column)

    def mean(self, row: str, columns: Iterable[str]) -> float | None:
        """Mean of the printed numbers over ``columns``; None unless all of them are printed, or their mean is."""
        columns = list(columns)
        if self.mean_of:
            return self.get(row, PRINTED_MEAN) if len(columns) == self.mean_of else None
        found = [self.get(row, column) for column in columns]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known and len(known) == len(found) else None


#: the column of a table that prints means alone
PRINTED_MEAN = "mean"


@dataclass(frozen=True)
class TableFile:
    """A CSV of ``results/published`` that holds one printed table, one number a line."""

    name: str  #: "Table 1 of the KSM paper"
    file: str
    row: str  #: the CSV's column of row names
    value: str  #: the CSV's column of numbers
    column: str = ""  #: the CSV's column of column names; empty: the table has one column
    only_column: str = ""  #: the name of that one
    rows: Mapping[str, str] = field(default_factory=dict)  #: printed name -> method key; others stay
    columns: Mapping[str, str] = field(default_factory=dict)  #: printed name -> task name; others stay
    notes_too: tuple[str, ...] = ()  #: further files whose notes are about this table
    mean_of: int = 0  #: the numbers are means over so many tasks, which are not printed one by one

    @cached_property
    def table(self) -> PublishedTable:
        """The table, read when first asked for."""
        values: dict[str, dict[str, float]] = {}
        for line in _lines(self.file):
            if line[self.value]:
                row = self.rows.get(line[self.row], line[self.row])
                column = self.columns.get(line[self.column], line[self.column]) if self.column else self.only_column
                column = PRINTED_MEAN if self.mean_of else column
                values.setdefault(row, {})[column] = float(line[self.value])
        files = {self.file, *self.notes_too}
        own = tuple(note for note in notes() if note.file in files and note.field == self.value)
        return PublishedTable(self.name, values, own, self.mean_of)


@cache
def notes() -> tuple[Note, ...]:
    """Every remark of ``notes.csv``."""
    return tuple(Note(**line) for line in _lines("notes.csv"))


def _lines(file: str) -> list[dict[str, str]]:
    with (FOLDER / file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
