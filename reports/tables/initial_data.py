"""The row of the data set that all tasks' network comes from: task 1 of the published table, which nobody trains."""

from __future__ import annotations

import dataclasses

from reports.grouping import Panel
from reports.tables.grid import NOT_RUN, Axis, Cell, Grid

PERCENT = 100.0


def with_pretrained_row(panel: Panel, grid: Grid) -> Grid:
    """The accuracy table with that row on top, where any record has it. It is in no mean."""
    rows = [row for item in panel.configurations for row in item.pretrained_rows.values()]
    if not rows:
        return grid
    name, title = rows[0].name, rows[0].title
    axis = Axis(name, title, hint="the network that all tasks start from; in no mean", unless_measured=NOT_RUN)
    table = panel.paper.accuracy.printed
    column = panel.paper.column(0, name)
    cells = {}
    by_label = {item.label: item for item in panel.configurations}
    for place in grid.columns:
        item = by_label.get(place.key)
        methods = [item.method] if item else [key for key in panel.paper.methods if _titled(panel, key, place)]
        printed = table.get(methods[0], column) if table and methods else None
        found = item.pretrained_rows if item else {}
        samples = {seed: PERCENT * row.accuracy for seed, row in found.items() if row.accuracy is not None}
        why = next((row.note for row in found.values() if row.accuracy is None), "")
        cells[axis.key, place.key] = Cell(samples, printed, "" if samples else why)
    return dataclasses.replace(
        grid,
        rows=(axis, *grid.rows),
        cells={**grid.cells, **cells},
        remarks=(*grid.remarks, *_remarks(panel, title)),
    )


def _titled(panel: Panel, method: str, column: Axis) -> bool:
    return panel.methods.title(method) == column.key


def _remarks(panel: Panel, title: str) -> tuple[str, ...]:
    """What to know of the row, each once, with the configurations that it is about."""
    labels: dict[str, list[str]] = {}
    for item in panel.configurations:
        for note in dict.fromkeys(row.note for row in item.pretrained_rows.values() if row.note):
            labels.setdefault(note, []).append(item.label)
    return tuple(f"{title}, {', '.join(whose)}: {note}." for note, whose in labels.items())
