"""A table as it is shown: texts with what they sort by. HTML, LaTeX and Markdown are written from this."""

from __future__ import annotations

from dataclasses import dataclass

from reports.numbers import DASH, decimals_for, signed, with_spread
from reports.statistics import Difference, Interval


@dataclass(frozen=True)
class Entry:
    """One shown cell."""

    text: str
    value: float | None = None  #: what the column sorts by and what the CSV holds
    spread: float | None = None  #: half-width of the 95 % interval, for the CSV
    bold: bool = False
    place: int = 0  #: 1 and 2: the best and the second best mean of its row
    kind: str = ""  #: "holds", "fails", "agrees", "missing", …: how it is coloured
    hint: str = ""
    mark: str = ""  #: the sign that ends the text ("*"), or what it means; a column of its own in the CSV


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


def missing(hint: str = "", text: str = DASH) -> Entry:
    """A cell without a value."""
    return Entry(text, kind="missing", hint=hint)


def interval_entry(interval: Interval | None, scale: float = 1.0, decimals: int | None = None) -> Entry:
    """A mean with its interval, both times ``scale``; three figures unless ``decimals`` are given."""
    if interval is None:
        return missing()
    mean = interval.mean * scale
    half = None if interval.half_width is None else interval.half_width * scale
    digits = decimals_for(mean) if decimals is None else decimals
    text = with_spread(mean, half, digits)
    if 0 < mean < 0.5 * 10**-digits:
        text = f"< {10**-digits:.{digits}f}"  # nothing and very little are not the same
    return Entry(text, mean, half)


def points_entry(difference: Difference | None, decimals: int = 1, mark: str = "", hint: str = "") -> Entry:
    """A paired difference of fractions in points with its interval over seeds; ``mark`` ends the text."""
    if difference is None:
        return missing(hint)
    half = None if difference.seeds.half_width is None else 100 * difference.seeds.half_width
    spread = f" ± {half:.{decimals}f}" if half else ""
    text = signed(100 * difference.mean, decimals) + spread + (f" {mark}" if mark else "")
    return Entry(text, 100 * difference.mean, half, mark=mark)
