"""Table 2's model sizes: what must be stored to restore every task, under each accounting rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.numbers import decimals_for
from reports.setting import departure_remark, titled, why_not_run
from reports.soundness import names, signs, signs_in_brief, unjudged
from reports.statistics import mean_interval
from reports.tables.grid import Axis, Cell, Grid
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry
from results.schema import RunRecord

MIB = 2**20
#: what records call the parts of a model, in the words of the field
PARTS = {
    "owner index": "which task owns each weight",
    "position": "number of the task",
    "own tensors": "the task's own batch norm, biases and weights",
    "mask bits": "mask, one bit a unit",
    "mask values": "soft values of the mask",
}
RULES = {
    "itemised": Axis("itemised", "Itemised", hint="all that restores every task, nothing else"),
    "cpg_table": Axis("cpg_table", "As the papers count", hint="the closed formula behind the published sizes"),
    "written": Axis("written", "Really written", hint="bytes on disk, bit-packed, reloaded to the same predictions"),
}


def sizes(panel: Panel, failed: Sequence[RunRecord] = ()) -> Grid | None:
    """Model size in MiB under each rule, by method; None where no run recorded one."""
    table = panel.paper.model_size.printed
    cells: dict[tuple[str, str], Cell] = {}
    columns = []
    for item in panel.configurations:
        measured = size_by_rule(item)
        if measured:
            columns.append(
                Axis(
                    item.label,
                    item.label,
                    method=item.facts.title,
                    incomparable=unjudged(panel, item),
                    sign=signs(panel, item),
                    mark=names(panel, item),
                )
            )
            for rule in RULES:
                printed = table.get(item.method, rule) if table else None
                cells[rule, item.label] = Cell(measured.get(rule, {}), printed)
    if not columns:
        return None
    present = {item.method for item in panel.configurations}
    expected = panel.paper.methods if table else ()
    for method in expected:
        if method not in present and table:
            title = panel.methods.title(method)
            columns.append(Axis(title, title, method=title))
            cells["cpg_table", title] = Cell({}, table.get(method, "cpg_table"))
    smallest = min(cell.interval.mean for cell in cells.values() if cell.interval)
    return Grid(
        key=f"{panel.slug}-size",
        title=titled(panel, panel.paper.model_size),
        caption="MiB (2²⁰ bytes) that restore every task of the scenario.",
        row_title="Rule",
        unit="MiB",
        decimals=max(1, decimals_for(smallest)),
        rows=tuple(RULES.values()),
        columns=tuple(columns),
        cells=cells,
        higher_is_better=None,
        rounding=1.0,
        counted=True,
        remarks=(departure_remark(panel) + tuple(note.text for note in table.notes)) if table else (),
        signs=signs_in_brief(panel, [item for item in panel.configurations if size_by_rule(item)]),
        missing=why_not_run(panel, expected, failed),
        published_name=table.name if table else "",
    )


def size_by_rule(item: Configuration) -> dict[str, dict[int, float]]:
    """MiB by rule and seed."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for run in item.runs:
        if run.size is None:
            continue
        numbers = {**run.size.rules, "written": run.size.written_bytes}
        for rule, size in numbers.items():
            if rule in RULES and size is not None:
                found[rule][int(run.spec["seed"])] = size / MIB
    return dict(found)


def components(panel: Panel) -> Sheet | None:
    """What the itemised size is made of: MiB by component and method, mean over seeds, all tasks together."""
    columns = []
    parts: dict[str, dict[str, list[float]]] = {}
    for item in panel.configurations:
        runs = [run for run in item.runs if run.size is not None and run.size.components]
        if runs:
            columns.append(item.label)
        for run in runs:
            totals: dict[str, float] = defaultdict(float)
            for component in run.size.components if run.size else ():
                totals[component.name] += component.bytes / MIB
            for name, size in totals.items():
                parts.setdefault(name, {}).setdefault(item.label, []).append(size)
    if not parts:
        return None
    lines = []
    for name, by_label in parts.items():
        lines.append(
            Line(
                Entry(PARTS.get(name, name)),
                tuple(interval_entry(mean_interval(by_label.get(label, []))) for label in columns),
            )
        )
    return Sheet(
        key=f"{panel.slug}-size-components",
        title="What the size is made of",
        caption="MiB by component, all tasks together, mean over seeds; itemised rule.",
        headings=(Heading("Component", numeric=False), *(Heading(label) for label in columns)),
        lines=tuple(lines),
    )
