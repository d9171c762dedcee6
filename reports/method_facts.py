"""What a report shows of methods: title, place among the others, colours, role.

Known from the records, so that the page of somebody else's method needs nothing installed; else from the methods'
cards; else neutral. What a record says is foreign text: what cannot be shown is replaced by the neutral value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.markers import MarkerStyle

from methods.registry import METHODS
from reports.naming import slug
from reports.style import SPARE, Look, shades, spare_look
from results.schema import REFERENCES, RunRecord

#: letters of a title at most
LONGEST = 60
#: and of a sentence
LONGEST_SENTENCE = 300

MARKERS = frozenset(mark for mark in MarkerStyle.markers if isinstance(mark, str) and len(mark) == 1) - {" "}

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_DATE = re.compile(r"\d{4}(-\d\d){0,2}")

#: figures draw these beside the page's colours, and they stay as they are
_FIXED = ("#000000", "#ffffff", "#fffffe")


@dataclass(frozen=True)
class MeasureFacts:
    """What is shown of a number that a method alone reports."""

    title: str
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class MethodFacts:
    """What is shown of one method."""

    name: str  #: its key in run records
    title: str  #: no other method of the report has it
    look: Look
    published: str | None = None  #: "2021-06"; empty: a baseline; None: not known
    order: int = 0  #: among methods of one date
    reference: str = ""  #: one of ``results.schema.REFERENCES``, or nothing
    lower_bound: bool = False  #: what starts from the same backbone should not stay below it
    measures: Mapping[str, MeasureFacts] = field(default_factory=dict)  #: by the name in ``RunRecord.measures``
    caveat: str = ""  #: what to know wherever a number of the method stands

    @property
    def place(self) -> tuple[bool, str, int, str]:
        """Sort key: baselines, then by publication, then methods of which no date is known."""
        return self.published is None, self.published or "", self.order, self.name


class Methods:
    """The facts of every method, by its key; made once for a report, from all of its records."""

    def __init__(self, records: Iterable[RunRecord] = ()) -> None:
        cards = {name: card.facts() for name, card in METHODS.items()}
        given = {name: _completed(facts, cards.get(name, {})) for name, facts in (cards | _recorded(records)).items()}
        found = {name: _checked(name, facts) for name, facts in given.items()}
        self._facts: dict[str, MethodFacts] = {}
        titles: set[str] = set()
        colours = {*_FIXED, *(shade.light for shade in shades(()))}
        variables = {shade.name for shade in shades(())}
        # the methods of this suite come first: another's title or colour cannot pass for theirs
        for name in sorted(found, key=lambda name: (name not in cards, found[name].place)):
            facts = found[name]
            title, look = _unused(facts.title, f" ({name})", titles), facts.look
            if look not in SPARE:
                free = look.light not in colours  # of two equal ones a page could swap only one for the dark shade
                look = replace(look, name=_unused(look.name, "-2", variables)) if free else spare_look(name)
            titles.add(title)
            colours.add(look.light)
            variables.add(look.name)
            self._facts[name] = replace(facts, title=title, look=look)

    def __getitem__(self, name: str) -> MethodFacts:
        """The facts of a method; neutral ones for a name that is nowhere known."""
        return self._facts.get(name) or _checked(name, {})

    def title(self, name: str) -> str:
        """The printed name of a method."""
        return self[name].title

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Each name once, as tables and legends list them."""
        return sorted(set(names), key=lambda name: self[name].place)

    def looks(self, names: Iterable[str]) -> tuple[Look, ...]:
        """The looks of some methods, each once."""
        return tuple(dict.fromkeys(self[name].look for name in self.in_order(names)))


def _recorded(records: Iterable[RunRecord]) -> dict[str, Mapping[str, Any]]:
    """What the records say, of several the run that finished last; nothing where they are silent and a card is not."""
    found: dict[str, Mapping[str, Any]] = {}
    silent: dict[str, Mapping[str, Any]] = {}
    for record in sorted(records, key=lambda record: (str(record.provenance.get("finished") or ""), record.run_id)):
        name = str(record.spec.get("method"))
        if record.method:
            found[name] = record.method
        elif name not in METHODS:
            silent[name] = {}
    return silent | found


def _completed(given: Mapping[str, Any], card: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record's facts with those that records did not always carry."""
    later = {name: card[name] for name in ("lower_bound", "measures", "caveat") if name in card and name not in given}
    return {**given, **later}


def _checked(name: str, given: Mapping[str, Any]) -> MethodFacts:
    """Facts as they may be shown; ``given`` is a record's ``method``, empty where nothing is known."""
    title, published, order = given.get("title"), given.get("published"), given.get("order")
    reference = given.get("reference")
    return MethodFacts(
        name=name,
        title=title.strip() if isinstance(title, str) and _printable(title) else name,
        look=_look(name, given.get("look")),
        published=published if isinstance(published, str) and (not published or _DATE.fullmatch(published)) else None,
        order=order if isinstance(order, int) and not isinstance(order, bool) else 0,
        reference=reference if isinstance(reference, str) and reference in REFERENCES else "",
        lower_bound=given.get("lower_bound") is True,
        measures=_measures(given.get("measures")),
        caveat=_text(given.get("caveat"), LONGEST_SENTENCE),
    )


def _measures(given: Any) -> dict[str, MeasureFacts]:
    found = {}
    for name, facts in given.items() if isinstance(given, Mapping) else ():
        if isinstance(facts, Mapping):
            title, unit = _text(facts.get("title"), LONGEST), _text(facts.get("unit"), LONGEST)
            found[name] = MeasureFacts(title or str(name), unit, _text(facts.get("meaning"), LONGEST_SENTENCE))
    return found


def _printable(title: str, most: int = LONGEST) -> bool:
    return len(title) <= most and title.isprintable() and bool(title.strip())


def _text(given: Any, most: int) -> str:
    return given.strip() if isinstance(given, str) and _printable(given, most) else ""


def _look(name: str, given: Any) -> Look:
    if not (isinstance(given, list | tuple) and len(given) == 3 and all(isinstance(part, str) for part in given)):
        return spare_look(name)
    light, dark, marker = given[0].lower(), given[1].lower(), given[2]  # as matplotlib writes colours into an SVG
    if not (_COLOUR.fullmatch(light) and _COLOUR.fullmatch(dark) and marker in MARKERS):
        return spare_look(name)
    return Look(f"m-{slug(name)}", light, dark, marker)


def _unused(text: str, more: str, taken: set[str]) -> str:
    """``text``, with ``more`` as often as it takes to be none of ``taken``."""
    while text in taken:
        text += more
    return text
