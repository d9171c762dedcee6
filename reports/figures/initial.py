"""The spread over initial tasks: mean accuracy by the task that was learned first."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from reports.configuration import Configuration
from reports.families import initial_task_families
from reports.figures.canvas import Drawing, blank, drawn_as, legend
from reports.grouping import Panel
from reports.naming import short, task_title
from reports.statistics import mean_interval
from reports.tables.grid import per_seed_mean


def initial_tasks(panel: Panel) -> list[Drawing]:
    """One drawing of every method that was run from at least two initial tasks."""
    families = [family for family in initial_task_families(panel) if len(family) > 1]
    if not families:
        return []
    table = panel.paper.initial_tasks.printed
    starts = sorted(
        {start for family in families for start in family} | {int(row) for row in (table.values if table else ())}
    )
    figure, (axis,) = blank(height=3.6, width=8.0)
    names = {task.index: task_title(task.name) for task in panel.tasks}
    words = []
    for number, family in enumerate(families):
        shift = 0.16 * (number - (len(families) - 1) / 2)
        words += _draw(axis, family, starts, panel, shift)
    if table:
        columns = [panel.paper.column(task.index, task.name) for task in panel.tasks]
        means = [table.mean(str(start), columns) for start in starts]
        printed = {place: mean for place, mean in enumerate(means) if mean is not None}
        bar: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 22, "markeredgewidth": 1.6}
        facts = panel.methods[panel.paper.own_method]
        bar |= {"color": facts.look.light, "label": f"{facts.title}, published"}
        axis.plot(list(printed), list(printed.values()), **bar)
    shown = [short(f"{start} {names.get(start, '')}") for start in starts]
    axis.set_xticks(range(len(starts)), shown, rotation=12, ha="right", rotation_mode="anchor")
    axis.margins(x=0.1)
    axis.set_xlabel("Initial task")
    axis.set_ylabel("Mean accuracy in percent")
    axis.grid(axis="x", visible=False)
    legend(figure, axis)
    return [
        Drawing(
            key=f"{panel.slug}-initial-tasks-spread",
            title="Spread over initial tasks",
            caption="Mean accuracy over all tasks: small dots are seeds, whiskers 95 % t-intervals, bars the paper's "
            "single runs.",
            alt=f"Mean accuracy by initial task: {'; '.join(words)}.",
            figure=figure,
        )
    ]


def _draw(axis: Axes, family: dict[int, Configuration], starts: list[int], panel: Panel, shift: float) -> list[str]:
    words = []
    tasks = [task.index for task in panel.tasks]
    first = True
    for place, start in enumerate(starts):
        if start not in family:
            continue
        item = family[start]
        means = [100 * value for value in per_seed_mean(item.accuracy, tasks).values()]
        interval = mean_interval(means)
        if interval is None:
            continue
        shown = drawn_as(item) | {"linestyle": "none", "markersize": 7}
        if not first:
            shown["label"] = "_"
        first = False
        axis.errorbar([place + shift], [interval.mean], yerr=interval.half_width or 0, elinewidth=1, **shown)
        dots: dict[str, Any] = {"linestyle": "none", "marker": ".", "markersize": 5, "alpha": 0.6, "label": "_"}
        axis.plot([place + shift + 0.09] * len(means), means, color=item.facts.look.light, **dots)
        words.append(f"{item.label} from task {start} {interval.mean:.1f} percent")
    return words
