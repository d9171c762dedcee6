"""The papers' numbers, as printed, under the names that run records use. Nothing here is ever shown as measured."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import results

FOLDER = Path(results.__file__).parent / "published"

#: Row names of the papers' tables -> method keys of run records.
METHODS = {
    "Scratch": "scratch",
    "Finetune": "finetune",
    "PackNet": "packnet",
    "Piggyback": "piggyback",
    "CPG": "cpg",
    "KSM": "ksm",
    "Piggyback - Ker-wise": "piggyback-kernelwise",
    "Piggyback - Soft": "piggyback-soft",
    "Ours - Softmax": "ksm-softmax",
    "Ours - Ele-wise": "ksm-elementwise",
    "Ours - Full": "ksm",
}

#: Data set names of tables 2 and 4 -> task names of the scenario ``imagenet2sketch``.
DATASETS = {
    "CUBS": "cubs_cropped",
    "Cars": "stanford_cars_cropped",
    "Flowers": "flowers",
    "WikiArt": "wikiart",
    "Sketch": "sketches",
    "ImageNet": "imagenet",
}

TIMES_DEVICE = "Quadro RTX 5000"


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
        """The note with the method (in table 3 the initial task) that it is about."""
        if self.method == "*":
            return self.note
        return f"{f'From task {self.method}' if self.method.isdigit() else self.method}: {self.note}"


@dataclass(frozen=True)
class PublishedTable:
    """One printed table: ``values[row][column]``, where rows are method keys (or initial tasks)."""

    name: str  #: "table 1"
    values: Mapping[str, Mapping[str, float]]
    notes: tuple[Note, ...] = field(default=())

    def get(self, row: str, column: str) -> float | None:
        """A printed number, or None."""
        return self.values.get(row, {}).get(column)

    def mean(self, row: str, columns: Iterable[str]) -> float | None:
        """Mean of the printed numbers over ``columns``; None unless all of them are printed."""
        found = [self.get(row, column) for column in columns]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known and len(known) == len(found) else None


@cache
def accuracy(scenario: str) -> PublishedTable | None:
    """Tables 1 and 2: accuracy in percent by (method, task index as text or task name)."""
    if scenario == "cifar100-20":
        return _table("table 1", "table1_cifar100_20.csv", "method", "task", "accuracy_percent")
    if scenario == "imagenet2sketch":
        return _table("table 2", "table2_imagenet2sketch.csv", "method", "dataset", "accuracy_percent")
    return None


@cache
def training_seconds(scenario: str) -> PublishedTable | None:
    """Table 1: training seconds by (method, task index as text), on a Quadro RTX 5000."""
    if scenario == "cifar100-20":
        return _table("table 1", "table1_cifar100_20.csv", "method", "task", "training_seconds")
    return None


@cache
def model_size(scenario: str) -> PublishedTable | None:
    """Table 2: model size in MiB by (method, "cpg_table")."""
    if scenario != "imagenet2sketch":
        return None
    rows = _rows("table2_model_size.csv")
    values = {METHODS[row["method"]]: {"cpg_table": float(row["model_size_mb_printed"])} for row in rows}
    return PublishedTable("table 2", values, _notes_on("table2_model_size.csv"))


@cache
def initial_task(scenario: str) -> PublishedTable | None:
    """Table 3: KSM's accuracy in percent by (initial task as text, task index as text)."""
    if scenario != "cifar100-20":
        return None
    return _table("table 3", "table3_initial_task.csv", "initial_task", "task", "accuracy_percent")


@cache
def ablation(scenario: str) -> PublishedTable | None:
    """Table 4: accuracy in percent by (method, task name)."""
    if scenario != "imagenet2sketch":
        return None
    return _table("table 4", "table4_ablation.csv", "method", "dataset", "accuracy_percent")


@cache
def notes() -> tuple[Note, ...]:
    """Every remark of ``notes.csv``."""
    return tuple(Note(**row) for row in _rows("notes.csv"))


def column(scenario: str, index: int, name: str) -> str:
    """The column under which a task stands in the published tables of ``scenario``."""
    return str(index) if scenario == "cifar100-20" else name


def _table(name: str, file: str, row_key: str, column_key: str, value_key: str) -> PublishedTable:
    values: dict[str, dict[str, float]] = {}
    for row in _rows(file):
        if row[value_key]:
            key = METHODS.get(row[row_key], row[row_key])
            values.setdefault(key, {})[DATASETS.get(row[column_key], row[column_key])] = float(row[value_key])
    return PublishedTable(name, values, _notes_on(file, value_key))


def _notes_on(file: str, value: str | None = None) -> tuple[Note, ...]:
    files = {file, "table1_printed_averages.csv"} if file == "table1_cifar100_20.csv" else {file}
    return tuple(note for note in notes() if note.file in files and value in (None, note.field))


def _rows(file: str) -> list[dict[str, str]]:
    with (FOLDER / file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
