"""The part of a panel that a paper is about: the methods asked for, under the names that they have on the page."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from methods.registry import GROUPS, METHODS
from reports import soundness
from reports.configuration import Configuration
from reports.grouping import Panel
from reports.report_error import ReportError
from reports.tables.accuracy import PRINTED
from reports.tables.grid import Axis, Grid


@dataclass(frozen=True)
class Name:
    """A configuration's label in two parts: the method, and what tells its configurations apart."""

    title: str
    rest: str = ""  #: "lr 0.0002, schedule cosine", "release schedule"; empty where the method has one configuration


@dataclass(frozen=True)
class Choice:
    """A panel with the configurations of the methods asked for, beside the whole one."""

    panel: Panel
    whole: Panel  #: by which faults are found: a lower bound need not be among the methods asked for
    methods: frozenset[str]

    @cached_property
    def names(self) -> dict[str, Name]:
        """The two parts of every label."""
        return {item.label: _parted(item) for item in self.panel.everything}

    @cached_property
    def unasked(self) -> frozenset[str]:
        """Titles of the methods that nobody asked for and that papers may have."""
        of_paper = {*self.panel.paper.methods, *self.panel.paper.ablation_order, *METHODS}
        return frozenset(self.panel.methods.title(method) for method in of_paper - self.methods)

    def of_others(self, remark: str) -> bool:
        """Whether a remark on printed numbers is about a method that nobody asked for."""
        return remark.startswith(tuple(f"{start}{title}: " for start in PRINTED for title in self.unasked))

    def remarks(self, items: Sequence[Configuration]) -> tuple[str, ...]:
        """What the signs beside ``items`` mean, a line each."""
        return soundness.remarks(self.whole, items)

    def signs(self, item: Configuration) -> str:
        """The signs of a configuration's faults in the whole panel."""
        return soundness.signs(self.whole, item)

    def of(self, grid: Grid) -> Grid:
        """A grid of ``panel`` without published columns that nobody asked for, and with the whole panel's signs."""
        columns = tuple(
            self._signed(column) for column in grid.columns if column.title in self.names or self._asked(column)
        )
        shown = [item for item in self.panel.everything if item.label in {column.title for column in columns}]
        return replace(
            grid,
            columns=columns,
            signs=self.remarks(shown),
            missing=tuple(text for text in grid.missing if not text.startswith(tuple(f"{t} (" for t in self.unasked))),
        )

    def _asked(self, column: Axis) -> bool:
        return column.method not in self.unasked

    def _signed(self, column: Axis) -> Axis:
        item = next((item for item in self.panel.configurations if item.label == column.title), None)
        if item is None:
            return column
        unjudged = soundness.unjudged(self.whole, item)
        return replace(
            column,
            sign=soundness.signs(self.whole, item),
            mark=soundness.names(self.whole, item),
            incomparable=unjudged or column.incomparable,
        )


def expanded(methods: str | Iterable[str]) -> tuple[str, ...]:
    """Names and groups, comma lists too, as names, each once. Raises ReportError: a name is empty."""
    words = [methods] if isinstance(methods, str) and methods else methods
    names = [name.strip() for word in words for name in word.split(",")]
    if not all(names):
        raise ReportError("a method's name is empty; give names or groups, parted by single commas")
    return tuple(dict.fromkeys(member for name in names for member in GROUPS.get(name, (name,))))


def choose(panels: Sequence[Panel], methods: Collection[str]) -> tuple[list[Choice], tuple[str, ...]]:
    """The panels that have a run of ``methods``, with these only, and a line for every method without any run.
    Without a name every method that was run is chosen.

    Raises:
        ReportError: there is no such method, or no run of any.
    """
    run = {item.method for panel in panels for item in panel.everything}
    there = f"the records have runs of {', '.join(sorted(run)) or 'no method'}"
    if unknown := [method for method in methods if method not in run and method not in METHODS]:
        near = [*_near(unknown[0], run), *_near(unknown[0], METHODS)]
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise ReportError(f"There is no method {unknown[0]!r} here.{meant} {there.capitalize()}.")
    absent = [method for method in methods if method not in run]
    if (absent and len(absent) == len(methods)) or not run:
        raise ReportError(f"No run of {', '.join(absent) or 'any method'} is finished; {there}.")
    found = []
    for panel in panels:
        items = tuple(item for item in panel.everything if not methods or item.method in methods)
        if items:
            asked = frozenset(methods or (item.method for item in items))
            found.append(Choice(replace(panel, everything=items, trials=()), panel, asked))
    return found, tuple(f"{method}: no run of it is finished" for method in absent)


def _near(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)


def _parted(item: Configuration) -> Name:
    title = item.facts.title
    rest = item.label.removeprefix(title).lstrip(", ")
    return Name(title, rest.removeprefix("(").removesuffix(")")) if item.label.startswith(title) else Name(item.label)
