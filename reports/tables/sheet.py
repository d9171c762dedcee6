"""A table as it is shown: texts with what they sort by. HTML, LaTeX and Markdown are written from this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One shown cell."""

    text: str
    value: float | None = None  #: what the column sorts by and what the CSV holds
    spread: float | None = None  #: half-width of the 95 % interval, for the CSV
    bold: bool = False
    kind: str = ""  #: "holds", "fails", "agrees", "missing", …: how it is coloured
    hint: str = ""


@dataclass(frozen=True)
class Heading:
    """One column's head; ``note`` is a second, smaller line."""

    text: str
    note: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Line:
    """One row: its head, then an entry per column."""

    head: Entry
    entries: tuple[Entry, ...]
    summary: bool = False


@dataclass(frozen=True)
class Sheet:
    """A shown table. ``headings`` has one more member than a line has entries: the first heads the row heads."""

    key: str
    title: str
    caption: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...] = ()
    view: str = ""  #: "measured", "published", "difference", or empty for a table of one view
    view_title: str = ""
