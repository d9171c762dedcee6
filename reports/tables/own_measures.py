"""Numbers that single methods report beside the usual ones, in one table a panel."""

from __future__ import annotations

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.method_facts import MeasureFacts
from reports.statistics import mean_interval
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry


def own_measures(panel: Panel) -> Sheet | None:
    """A line per configuration and measure, mean over seeds; None where no run has any."""
    lines = tuple(_line(item, name) for item in panel.everything for name in _names(item))
    if not lines:
        return None
    return Sheet(
        key=f"{panel.slug}-measures",
        title="Measures of single methods",
        caption="What a method reports of itself, after the last task. Mean ± 95 % t-interval over seeds.",
        headings=(
            Heading("Method", numeric=False),
            Heading("Measure", numeric=False),
            Heading("Value"),
            Heading("Unit", numeric=False),
            Heading("Meaning", numeric=False),
        ),
        lines=lines,
    )


def _names(item: Configuration) -> list[str]:
    """In the card's order, then those of which it says nothing."""
    found = {name for run in item.runs for name in run.measures}
    return [*(name for name in item.facts.measures if name in found), *sorted(found - item.facts.measures.keys())]


def _line(item: Configuration, name: str) -> Line:
    facts = item.facts.measures.get(name, MeasureFacts(name))
    by_seed = {run.spec["seed"]: run.measures[name] for run in item.runs if name in run.measures}
    return Line(
        Entry(item.label),
        (
            Entry(facts.title, kind="words"),
            interval_entry(mean_interval(by_seed.values())),
            Entry(facts.unit, kind="words"),
            Entry(facts.meaning, kind="words"),
        ),
    )
