"""Tables 1 and 2: accuracy per task and method. Table 4: the same for the ablation. Table 3: for the initial tasks."""

from __future__ import annotations

from collections.abc import Sequence

from reports.configuration import Configuration
from reports.families import initial_task_families
from reports.grouping import Panel
from reports.naming import task_title
from reports.papers.paper_card import PaperTable
from reports.published import Note, PublishedTable
from reports.setting import departure_remark, incomparable, titled, varied, why_not_run
from reports.soundness import names, signs, signs_in_brief, unjudged
from reports.tables.grid import Axis, Cell, Grid, by_task, per_seed_mean, scaled
from reports.tables.initial_data import with_pretrained_row
from results.schema import RunRecord

MEAN = Axis("mean", "Mean", summary=True)
PERCENT = 100.0
#: how remarks on printed numbers begin: slips, and where numbers come from
PRINTED = SLIP, SOURCE = "Error in the printed table: ", "Printed numbers: "


def accuracy(panel: Panel, failed: Sequence[RunRecord] = ()) -> Grid:
    """Tables 1 and 2: test accuracy after the last task, in percent."""
    paper = panel.paper
    key = f"{panel.slug}-accuracy"
    return with_pretrained_row(
        panel, _by_method(panel, key, paper.accuracy, panel.configurations, paper.methods, failed)
    )


def ablation(panel: Panel, failed: Sequence[RunRecord] = ()) -> Grid | None:
    """Table 4: the switches between two methods; None where none of the steps between them was run."""
    order = panel.paper.ablation_order
    chosen = [item for method in order for item in panel.of(method) if not varied(item)]
    if not {item.method for item in chosen} & set(order[1:-1]):
        return None
    return _by_method(panel, f"{panel.slug}-ablation", panel.paper.ablation, chosen, order, failed)


def initial_tasks(panel: Panel) -> tuple[Grid, ...]:
    """Table 3 for every method that was run from at least two initial tasks: one column per initial task."""
    return tuple(_initial_task_grid(panel, family) for family in initial_task_families(panel) if len(family) > 1)


def _initial_task_grid(panel: Panel, family: dict[int, Configuration]) -> Grid:
    method = next(iter(family.values())).method
    label = next(iter(family.values())).label
    proposed = method == panel.paper.own_method
    table = panel.paper.initial_tasks.printed if proposed else None
    starts = sorted(set(family) | ({int(row) for row in table.values} if table else set()))
    names = {task.index: task_title(task.name) for task in panel.tasks}
    columns = tuple(
        _column(panel, family[start], str(start), f"From task {start}")
        if start in family
        else Axis(str(start), f"From task {start}")
        for start in starts
    )
    cells: dict[tuple[str, str], Cell] = {}
    for start, column in zip(starts, columns, strict=True):
        _fill(cells, panel, column, family[start].accuracy if start in family else {}, table, str(start))
    title = titled(panel, panel.paper.initial_tasks, list(family.values())) if table else f"Initial tasks, {label}"
    absent = [start for start in starts if start not in family]
    return Grid(
        key=f"{panel.slug}-initial-tasks" + ("" if proposed else f"-{family[min(family)].slug}"),
        title=title,
        caption=f"Test accuracy of {label} in percent, by the task that was learned first: "
        + "; ".join(f"{start} is {names.get(start, 'not among the tasks')}" for start in starts)
        + ".",
        row_title="Task",
        unit="percent",
        decimals=panel.paper.decimals,
        rows=_task_rows(panel),
        columns=columns,
        cells=cells,
        higher_is_better=True,
        remarks=departure_remark(panel) + (_notes(table) if table else ()),
        signs=signs_in_brief(panel, list(family.values())),
        missing=tuple(f"initial task {start} (no run of it in this setting among the records)" for start in absent),
        published_name=table.name if table else "",
    )


def _by_method(
    panel: Panel,
    key: str,
    plan: PaperTable,
    chosen: Sequence[Configuration],
    expected: Sequence[str],
    failed: Sequence[RunRecord],
) -> Grid:
    table = plan.printed
    cells: dict[tuple[str, str], Cell] = {}
    columns = []
    for item in chosen:
        column = _column(panel, item, item.label, item.label, item.facts.title)
        columns.append(column)
        _fill(cells, panel, column, item.accuracy, table, item.method)
    present = {item.method for item in chosen}
    for method in expected:
        if table is not None and method not in present and method in table.values:
            title = panel.methods.title(method)
            columns.append(Axis(title, title, method=title))
            _fill(cells, panel, columns[-1], {}, table, method)
    compared = [method for method in expected if table is None or method in table.values]
    return Grid(
        key=key,
        title=titled(panel, plan, chosen),
        caption="Test accuracy in percent after the last task was learned: mean ± 95 % t-interval over seeds. "
        "Bold and underlined: best and second best mean of its row; shaded: best beyond doubt (paired over seeds).",
        row_title="Task",
        unit="percent",
        decimals=panel.paper.decimals,
        rows=_task_rows(panel),
        columns=tuple(columns),
        cells=cells,
        higher_is_better=True,
        remarks=(departure_remark(panel) + _notes(table)) if table else (),
        signs=signs_in_brief(panel, chosen),
        missing=why_not_run(panel, compared, failed),
        published_name=table.name if table else "",
    )


def _column(panel: Panel, item: Configuration, key: str, title: str, method: str = "") -> Axis:
    return Axis(
        key,
        title,
        method=method,
        incomparable=unjudged(panel, item) or incomparable(panel, item),
        sign=signs(panel, item),
        mark=names(panel, item),
    )


def _fill(
    cells: dict[tuple[str, str], Cell],
    panel: Panel,
    column: Axis,
    measured: dict[tuple[int, int], float],
    table: PublishedTable | None,
    row: str,
) -> None:
    names = []
    percent = by_task(measured, PERCENT)
    for task in panel.tasks:
        names.append(panel.paper.column(task.index, task.name))
        printed = table.get(row, names[-1]) if table else None
        cells[str(task.index), column.key] = Cell(percent[task.index], printed)
    mean = scaled(per_seed_mean(measured, [task.index for task in panel.tasks]), PERCENT)
    cells[MEAN.key, column.key] = Cell(mean, table.mean(row, names) if table else None)


def _task_rows(panel: Panel) -> tuple[Axis, ...]:
    tasks = tuple(Axis(str(task.index), f"{task.index} {task_title(task.name)}") for task in panel.tasks)
    return (*tasks, MEAN)


def _notes(table: PublishedTable) -> tuple[str, ...]:
    """Where printed numbers come from, and where they are wrong; what is only rounding stays in the CSV."""
    return tuple(_printed(note) for note in table.notes if note.kind in ("slip", "selection", "source"))


def _printed(note: Note) -> str:
    return (SLIP if note.kind == "slip" else SOURCE) + note.text
