"""The page: one self-contained HTML file from tables, figures and claims. Jinja escapes whatever comes from records."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import glossary
from reports.answers import Answer
from reports.claims import Checked
from reports.configuration import Configuration
from reports.evidence import FAILS, HOLDS, NOT_JUDGED, UNDECIDED
from reports.naming import listed, plural
from reports.notices import Notice
from reports.other_measurements import Measurement
from reports.style import Look, css_variables
from reports.tables.sheet import Sheet

TEMPLATES = Path(__file__).parent / "templates"
#: what the page runs, in one element
SCRIPTS = ("script.js", "explore.js")


@dataclass(frozen=True)
class TableView:
    """A table in one or three views, and the files beside the page."""

    key: str
    title: str
    sheets: tuple[Sheet, ...]
    files: tuple[str, ...]
    folded: bool = False  #: shown when a reader asks for it


@dataclass(frozen=True)
class FigureView:
    """A figure for the page; ``svg`` is safe markup that carries its own title and description."""

    key: str
    title: str
    caption: str
    svg: Markup
    files: tuple[str, ...]
    folded: bool = False


@dataclass(frozen=True)
class PanelView:
    """One scenario setting on the page."""

    key: str
    title: str
    setting: str
    answers: tuple[Answer, ...]
    notices: tuple[Notice, ...]
    ranking: TableView
    claims: tuple[Checked, ...]
    tables: tuple[TableView, ...]
    figures: tuple[FigureView, ...]
    synthetic: bool = False  #: on generated images: no claims
    effects: tuple[tuple[TableView, FigureView], ...] = ()  #: what each choice is worth, with its picture
    beside: tuple[TableView, ...] = ()  #: tuned beside untuned, on the first of the two panels
    glance: FigureView | None = None  #: the picture beside the answers
    said: tuple[str, ...] = ()  #: sentences in place of figures that would show nothing

    @property
    def decided(self) -> tuple[Checked, ...]:
        """Claims that hold or fail."""
        return tuple(item for item in self.claims if item.evidence.verdict in (HOLDS, FAILS))

    @property
    def undecided(self) -> str:
        """Claims that were checked without a verdict, in a sentence or two; empty without any."""
        undecided = [item.evidence for item in self.claims if item.evidence.verdict == UNDECIDED]
        silent = [item.evidence for item in self.claims if item.evidence.verdict == NOT_JUDGED]
        found = []
        if undecided:
            one = all(item.spread_unknown for item in undecided)
            why = "one seed decides none; they take two more" if one else "an interval reaches the bound"
            found.append(f"{plural(len(undecided), 'claim')} not decided: {why}.")
        if silent:
            reasons = list(dict.fromkeys(item.statistic for item in silent))
            faults = list(dict.fromkeys(text.partition(":")[0].lower() for text in reasons))
            why = reasons[0] if len(reasons) == 1 else f"{listed(faults, 3)}, see the signs in the ranking"
            found.append(f"{plural(len(silent), 'claim')} not judged: {why}.")
        return " ".join(found)

    @property
    def away(self) -> bool:
        """Some claim is judged on runs that were trained otherwise than the paper's."""
        return any(item.away for item in self.claims)

    @property
    def score(self) -> str:
        """``holds 6 · fails 1 · undecided 4``."""
        counts = Counter(item.evidence.verdict for item in self.claims)
        words = ("holds", "fails", "undecided", "not judged", "not run")
        return " · ".join(f"{word} {counts[word]}" for word in words if counts[word])


@dataclass(frozen=True)
class Entry:
    """A line of the contents."""

    key: str
    title: str
    inside: tuple[Entry, ...] = ()


def environment() -> Environment:
    """Jinja with autoescape everywhere; an unknown name is an error, not an empty string."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"terms": glossary.marked, "meaning": glossary.meaning}
    return made


def render(
    template: str, title: str, contents: Sequence[Entry], looks: Iterable[Look], values: Mapping[str, Any]
) -> str:
    """One page as HTML text; ``looks`` are those of its methods."""
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    html = (
        environment()
        .get_template(template)
        .render(
            title=title,
            contents=contents,
            css=Markup(css_variables(looks) + (TEMPLATES / "style.css").read_text(encoding="utf-8")),
            js=Markup(script),
            policy=Markup(security_policy(script)),
            **values,
        )
    )
    parts = html.split(script)  # which has its hash in the policy, and stays as it is
    return script.join(part.replace(" · ", "\N{NO-BREAK SPACE}· ") for part in parts)  # no line begins with the dot


def security_policy(script: str) -> str:
    """What a browser lets the page do: run ``script`` alone, show its own styles and figures, and reach nothing.

    Styles are allowed inline and not by hash: the figures and the colours of methods are style attributes, which no
    hash can allow. Without any source for images and fonts but ``data:`` a style reaches no network either.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def index_contents(
    panels: Sequence[PanelView], steps: Sequence[TableView | Measurement], has: Mapping[str, bool]
) -> tuple[Entry, ...]:
    """The contents of the index page: of a panel what is shown at once, not every folded part."""
    first = [Entry(table.key, table.title) for panel in panels[:1] for table in (panel.ranking, *panel.beside)]
    claims = [Entry("claims-overview", "Claims") for panel in panels[:1] if not panel.synthetic]
    entries = [Entry("top", "In short", (*first, *claims))]
    for number, panel in enumerate(panels):
        inside = [Entry(item.key, item.title) for item in (panel.ranking, *panel.beside) if number]
        inside += [Entry(item.key, item.title) for item in panel.tables if not item.folded]
        inside += [Entry(item.key, item.title) for item, _ in panel.effects]
        inside += [Entry(item.key, item.title) for item in panel.figures if not item.folded]
        inside += [Entry(item.key, item.title) for item in panel.tables if item.folded]
        inside += [Entry(item.key, item.title) for item in panel.figures if item.folded]
        inside += [] if panel.synthetic else [Entry(f"{panel.key}-claims", "Claims, in numbers")]
        entries.append(Entry(panel.key, panel.title, tuple(inside)))
    if steps:
        inside = [Entry(item.key, item.title.removeprefix("Training steps: ")) for item in steps]
        entries.append(Entry("steps", "Training steps", tuple(inside)))
    inside = [Entry(key, title) for key, title in (
        ("failed", "Failed runs"), ("left-out", "Left out"), ("warnings", "Warnings"), ("not-run", "Not run"),
        ("configurations", "Configurations"), ("origin", "Hosts and packages"), ("glossary", "Words used"),
        ("slips", "Errors in the papers"), ("files", "Files"),
    ) if has.get(key, True)]  # fmt: skip
    entries.append(Entry("provenance", "What was run", tuple(inside)))
    return tuple(entries)


def swatches(items: Iterable[Configuration]) -> dict[str, str]:
    """CSS variable of the colour of every configuration label."""
    return {item.label: item.facts.look.name for item in items}
