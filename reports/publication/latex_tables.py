r"""A table for a two-column paper: a caption of one line, 8 pt, notes below; wider ones over both columns.

Widths are estimated from letters, since no TeX need be here: an average letter of 8 pt Times is half an em wide. What
does not fit over both columns is parted by columns into several tables. Needs ``booktabs`` and ``threeparttable``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from reports.formats import latex_text as tex
from reports.naming import short
from reports.publication.chosen import Name
from reports.soundness import SIGNS
from reports.tables.sheet import Entry, Heading, Line, Sheet

#: what a document must load; stands at the top of every file
PACKAGES = ("booktabs", "threeparttable")

#: inches: one column, both columns, an average letter of 8 pt, the space between two columns of a table
COLUMN, PAGE, LETTER, GAP = 3.3, 7.0, 0.0556, 0.084

#: letters that a caption of one line holds beside its number
CAPTION = {COLUMN: 42, PAGE: 95}
#: letters of a row's head or of a cell of words, beyond which its lines are broken
LONG = 36
_LONG_INCHES = 1.75
#: letters of a word in a column's head at most before the head is broken at its spaces
_HEAD = 9


@dataclass(frozen=True)
class Captioned:
    """A table with the words over it."""

    key: str  #: file name and label
    title: str  #: "Accuracy"
    unit: str
    scenario: str
    sheet: Sheet
    notes: tuple[str, ...]  #: sentences below it


def written(table: Captioned, names: Mapping[str, Name]) -> str:
    """The file: packages in a comment, then one ``table`` or ``table*`` (several where it is too wide).

    ``names`` are those of the configurations: only the method stands in the table, the rest in a note.
    """
    shown = list(_parts(_named(table.sheet, names)))
    tables = [_table(table, part, number, len(shown)) for number, part in enumerate(shown, start=1)]
    head = [
        "% Written by: python -m benchmark report --paper",
        f"% In the preamble: \\usepackage{{{','.join(PACKAGES)}}}",
        f"% In the text: \\input{{tables/{table.key}}}, \\ref{{tab:{table.key}}}",
    ]
    return "\n".join(head) + "\n" + "\n\n".join(tables) + "\n"


@dataclass(frozen=True)
class _Part:
    """Some columns of a table, of which the first has the row heads; notes by letter."""

    sheet: Sheet
    letters: Mapping[int, str]  #: of columns, counted from the row heads: 0, 1, …
    row_letters: Mapping[int, str]
    notes: Mapping[str, str]


def _named(sheet: Sheet, names: Mapping[str, Name]) -> _Part:
    """Labels that are long are parted: the method stays, the rest becomes a note with a letter."""
    letters: dict[int, str] = {}
    row_letters: dict[int, str] = {}
    notes: dict[str, str] = {}

    def parted(text: str) -> tuple[str, str]:
        label, sign = _without_sign(text)
        name = names.get(label)
        if name is None or not name.rest:
            return text, ""
        known = {rest: letter for letter, rest in notes.items()}
        letter = known.get(name.rest) or _letter(len(notes))
        notes[letter] = name.rest
        return f"{name.title} {sign}".rstrip(), letter

    headings, lines = list(sheet.headings), list(sheet.lines)
    for place, heading in enumerate(headings):
        text, letter = parted(heading.text)
        headings[place] = replace(heading, text=text)
        letters |= {place: letter} if letter else {}
    for place, line in enumerate(lines):
        text, letter = parted(line.head.text)
        lines[place] = replace(line, head=replace(line.head, text=text))
        row_letters |= {place: letter} if letter else {}
    return _Part(replace(sheet, headings=tuple(headings), lines=tuple(lines)), letters, row_letters, notes)


def _without_sign(text: str) -> tuple[str, str]:
    label, _, sign = text.rpartition(" ")
    return (label, sign) if label and sign and set(sign) <= set(SIGNS) else (text, "")


def _letter(number: int) -> str:
    """a, b, …, z, aa, ab, …"""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _parts(part: _Part) -> Iterator[_Part]:
    """As many columns at a time as fit over both columns of the paper."""
    widths = [_inches(part.sheet, place) for place in range(len(part.sheet.headings))]
    start = 1
    while start < len(widths) or start == 1:
        stop, width = start, widths[0]
        while stop < len(widths) and (stop == start or width + widths[stop] <= PAGE):
            width += widths[stop]
            stop += 1
        yield _columns(part, start, stop)
        start = max(stop, 2)


def _columns(part: _Part, start: int, stop: int) -> _Part:
    sheet = replace(
        part.sheet,
        headings=(part.sheet.headings[0], *part.sheet.headings[start:stop]),
        lines=tuple(replace(line, entries=line.entries[start - 1 : stop - 1]) for line in part.sheet.lines),
    )
    letters = {at - start + 1: letter for at, letter in part.letters.items() if start <= at < stop}
    used = {*letters.values(), *part.row_letters.values()}
    notes = {letter: text for letter, text in part.notes.items() if letter in used}
    return _Part(sheet, letters, part.row_letters, notes)


def _table(table: Captioned, part: _Part, number: int, of: int) -> str:
    sheet = part.sheet
    width = sum(_inches(sheet, place) for place in range(len(sheet.headings)))
    star, limit = ("", CAPTION[COLUMN]) if width <= COLUMN and of == 1 else ("*", CAPTION[PAGE])
    caption = _caption(table, limit, f" ({number} of {of})" if of > 1 else "")
    label = table.key + (f"-{number}" if number > 1 else "")
    heads = [_heading(heading, part.letters.get(place, "")) for place, heading in enumerate(sheet.headings)]
    body: list[str] = []
    previous = False
    for place, line in enumerate(sheet.lines):
        if line.summary and not previous and body:
            body.append(r"\midrule")
        previous = line.summary
        body.append(" & ".join(_cells(line, part.row_letters.get(place, ""))) + r" \\")
    notes = [rf"\item {tex(text)}" for text in table.notes if text]
    notes += [rf"\item[{letter}] {tex(text)}." for letter, text in part.notes.items()]
    return "\n".join([
        rf"\begin{{table{star}}}[tb]", r"\centering", rf"\caption{{{caption}}}", rf"\label{{tab:{label}}}",
        r"\begin{threeparttable}", r"\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{@{{}}{''.join(_alignment(sheet, place) for place in range(len(heads)))}@{{}}}}",
        r"\toprule", " & ".join(heads) + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}",
        *([r"\begin{tablenotes}[flushleft]\footnotesize", *notes, r"\end{tablenotes}"] if notes else []),
        r"\end{threeparttable}", rf"\end{{table{star}}}",
    ])  # fmt: skip


def _caption(table: Captioned, limit: int, number: str) -> str:
    """With unit and scenario where one line holds them; the notes name the scenario in any case."""
    told = f"{table.title} ({table.unit})" if table.unit else table.title
    texts = [f"{told}, {table.scenario}{number}", f"{told}{number}", f"{table.title}{number}"]
    room = limit - len(number)
    return tex(next((text for text in texts if len(text) <= limit), f"{short(table.title, room)}{number}"))


def _heading(heading: Heading, letter: str) -> str:
    """Broken at its spaces where a word of it is long; its unit below."""
    lines = [tex(text) for text in _head_lines(heading.text)]
    lines[-1] += rf"\tnote{{{letter}}}" if letter else ""
    lines += [rf"{{\scriptsize {tex(heading.note)}}}"] if heading.note else []
    if len(lines) == 1:
        return lines[0]
    side = "r" if heading.numeric else "l"
    return rf"\shortstack[{side}]{{" + r"\\".join(lines) + "}"


def _head_lines(text: str) -> list[str]:
    return textwrap.wrap(text, _HEAD, break_long_words=False, break_on_hyphens=False) or [""]


def _cells(line: Line, letter: str) -> list[str]:
    head = tex(line.head.text) + (rf"\tnote{{{letter}}}" if letter else "")
    return [head, *(_entry(entry) for entry in line.entries)]


def _entry(entry: Entry) -> str:
    return rf"\textbf{{{tex(entry.text)}}}" if entry.bold else tex(entry.text)


def _texts(sheet: Sheet, place: int) -> list[str]:
    return [(line.head, *line.entries)[place].text for line in sheet.lines]


def _alignment(sheet: Sheet, place: int) -> str:
    if sheet.headings[place].numeric and place:
        return "r"
    return f"p{{{_LONG_INCHES}in}}" if max(map(len, _texts(sheet, place)), default=0) > LONG else "l"


def _inches(sheet: Sheet, place: int) -> float:
    heading = sheet.headings[place]
    letters = max(map(len, [*_head_lines(heading.text), heading.note, *_texts(sheet, place)]), default=0)
    return (_LONG_INCHES if _alignment(sheet, place)[0] == "p" else letters * LETTER) + GAP
