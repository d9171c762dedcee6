"""Which tables a paper gets of one panel, with titles that name no table of another paper, and the notes below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reports.grouping import Panel
from reports.numbers import signed
from reports.publication.chosen import Choice
from reports.publication.latex_tables import Captioned
from reports.setting import as_printed, departure_remark
from reports.tables import accuracy, cost, model_size, training_time
from reports.tables.grid import Grid
from reports.tables.model_size import MIB
from reports.tables.ranking import Ranked, main_hardware, ranking
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry
from reports.tables.views import difference, measured, published
from reports.timing_caveats import timing_caveats

#: of a table's unit in a caption
_UNITS = {"percent": "%", "seconds": "s"}


def tables(choice: Choice) -> Iterator[Captioned]:
    """Summary, accuracy, training time, size, initial tasks and ablation: whatever the records allow."""
    panel = choice.panel
    yield summary(choice)
    grids: list[tuple[str, Grid | None]] = [(panel.paper.accuracy.title, accuracy.accuracy(panel))]
    grids += [(panel.paper.training_time.title, grid) for grid in training_time.training_times(panel)]
    grids += [(panel.paper.model_size.title, model_size.sizes(panel))]
    grids += [(panel.paper.initial_tasks.title, grid) for grid in accuracy.initial_tasks(panel)]
    grids += [(panel.paper.ablation.title, accuracy.ablation(panel))]
    for title, grid in grids:
        if grid is not None:
            yield from _views(choice, title, choice.of(grid))
    for sheet in cost.costs(panel):
        yield _captioned(panel, "Training cost", "", replace(sheet, title="Training cost"))


def summary(choice: Choice) -> Captioned:
    """One line a configuration, best mean accuracy first."""
    panel = choice.panel
    ranked, hardware = ranking(panel), main_hardware(panel)
    beyond_doubt = all(one.best or (one.behind_best and one.behind_best.below(0)) for one in ranked)
    seeds = sorted({len(one.configuration.seeds) for one in ranked})
    notes = [
        "Mean ± 95 % t-interval over seeds. "
        + ("All of one seed." if seeds == [1] else f"All of {seeds[0]} seeds." if len(seeds) == 1 else ""),
        "Bold: best beyond doubt (paired over seeds and tasks)."
        if beyond_doubt and len(ranked) > 1
        else "No method is best beyond doubt (paired over seeds and tasks)."
        if len(ranked) > 1
        else "",
        f"Training: all tasks that a method trained itself, on {hardware.label}." if hardware else "",
        *(timing_caveats(panel, hardware) if hardware else ()),
        *choice.remarks([one.configuration for one in ranked]),
        *(() if as_printed(panel) else departure_remark(panel)),
    ]
    sheet = Sheet(
        key=f"{panel.slug}-summary",
        title="Accuracy and cost",
        caption="",
        headings=(
            Heading("Method", numeric=False),
            Heading("Accuracy", "%"),
            Heading("Forgetting", "points"),
            Heading("Training", "s"),
            Heading("Size", "MiB"),
            *([Heading("Seeds")] if len(seeds) > 1 else []),
        ),
        lines=tuple(_line(choice, one, beyond_doubt and len(ranked) > 1, len(seeds) > 1) for one in ranked),
    )
    return replace(_captioned(panel, "Accuracy and cost", "", sheet), notes=(_setting(panel), *_whole(notes)))


def _line(choice: Choice, one: Ranked, beyond_doubt: bool, with_seeds: bool) -> Line:
    item = one.configuration
    sign = choice.signs(item)
    mean = interval_entry(one.accuracy, 100, 1)
    mean = replace(mean, text=f"{mean.text} {sign}".rstrip(), bold=one.best and beyond_doubt)
    forgotten = interval_entry(one.forgetting, 100, 1)
    if one.forgetting is not None and one.forgetting.mean < 0:
        forgotten = replace(forgotten, text=signed(100 * one.forgetting.mean, 1))
    entries = (mean, forgotten, interval_entry(one.in_all), interval_entry(one.size, 1 / MIB))
    return Line(Entry(item.label), (*entries, *([Entry(str(len(item.seeds)))] if with_seeds else [])))


def _views(choice: Choice, title: str, grid: Grid) -> Iterator[Captioned]:
    """Measured; where papers print numbers, these and the difference as tables of their own."""
    unit = _UNITS.get(grid.unit, grid.unit)
    printed = tuple(text for text in grid.remarks if text.startswith(accuracy.PRINTED))
    grid = replace(grid, remarks=tuple(text for text in grid.remarks if text not in printed))
    yield _captioned(choice.panel, title, unit, measured(grid))
    if grid.has_published:
        sheet = published(grid)
        about = tuple(text for text in printed if not choice.of_others(text))
        yield _captioned(choice.panel, f"{title} as published", unit, replace(sheet, remarks=(*sheet.remarks, *about)))
        what = "ratio" if grid.unit == "seconds" else "points" if grid.unit == "percent" else unit
        yield _captioned(choice.panel, f"{title}, measured against published", what, difference(grid))


def _captioned(panel: Panel, title: str, unit: str, sheet: Sheet) -> Captioned:
    notes = (_setting(panel), sheet.caption, *sheet.remarks)
    return Captioned(sheet.key, title, unit, panel.title, sheet, tuple(_whole(notes)))


def _setting(panel: Panel) -> str:
    return f"{panel.title}: {panel.describe()}."


def _whole(notes: Iterator[str] | tuple[str, ...] | list[str]) -> list[str]:
    return [text.strip() for text in notes if text.strip()]
