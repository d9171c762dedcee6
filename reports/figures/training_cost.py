"""Figures 4 and 5: training cost per task and method, ours and the published, on one logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.configuration import Configuration
from reports.figures.canvas import Drawing, blank, drawn_as, legend, logarithmic, name_tasks
from reports.grouping import Panel
from reports.hardware import Hardware
from reports.naming import short, slug, task_title
from reports.published import PublishedTable
from reports.setting import as_printed, drawn
from reports.statistics import mean_interval
from reports.style import GRID
from reports.tables.grid import by_task
from reports.tables.training_time import ON_TOP
from reports.timing_caveats import caveats_in_brief

#: configurations whose lines can be told apart in one axis; more of them have an axis per method
TOGETHER = 5
#: axes side by side then
ACROSS = 4


def training_cost(panel: Panel) -> list[Drawing]:
    """One drawing per hardware."""
    timed = [h for h in panel.hardware if any(item.training_seconds(h) for item in panel.configurations)]
    return [_drawing(panel, hardware, alone=len(timed) == 1) for hardware in timed]


def _drawing(panel: Panel, hardware: Hardware, alone: bool) -> Drawing:
    table = panel.paper.training_time.printed
    items = [item for item in drawn(panel) if item.training_seconds(hardware)]
    apart = len(items) > TOGETHER
    figure = _apart(panel, hardware, items, table) if apart else _together(panel, hardware, items, table)
    means = [f"{item.label} {np.nanmean(_seconds(panel, item, hardware)[0]):.3g} s" for item in items]
    number = f" ({panel.paper.cost_figure})" if panel.paper.cost_figure and as_printed(panel) else ""
    small = "One axis a method, the others' in grey. " if apart else ""
    small += f"Dotted: as published, on a {panel.paper.times_device}. " if apart and table else ""
    return Drawing(
        key=f"{panel.slug}-training-cost" + ("" if alone else f"-{slug(hardware.label)}"),
        title=f"Training cost per task{number}" + ("" if alone else f", {hardware.label}"),
        caption=f"{small}Seconds in training phases, logarithmic; whiskers are 95 % t-intervals over seeds"
        + caveats_in_brief(panel.configurations, hardware)
        + ". A gap: the task's "
        "network is the shared task-1 network, which the method did not train itself."
        + ("" if all(item.trains for item in panel.configurations) else f" {ON_TOP}")
        + (f" {panel.paper.cost_remark}" if panel.paper.cost_remark else ""),
        alt=f"Training seconds per task on {hardware.label}; mean over tasks: {'; '.join(means)}.",
        figure=figure,
    )


def _together(panel: Panel, hardware: Hardware, items: Sequence[Configuration], table: PublishedTable | None) -> Figure:
    figure, axes = blank(1, 2 if table else 1, height=4.6, sharey=True)
    for item in items:
        _line(axes[0], panel, item, hardware)
    axes[0].set_title(short(f"Measured: {hardware.label}", 60))
    if table:
        for method in panel.methods.in_order(table.values):
            title, chosen = panel.methods.title(method), panel.methods[method].look
            label = "" if any(item.method == method for item in panel.configurations) else f"{title} (paper)"
            heights = _published(panel, table, method)
            axes[1].plot(range(len(heights)), heights, color=chosen.light, marker=chosen.marker, label=label or "_")
        axes[1].set_title(f"Published: {panel.paper.times_device}")
    _finish(panel, axes, across=len(axes))
    legend(figure, *axes)
    return figure


def _apart(panel: Panel, hardware: Hardware, items: Sequence[Configuration], table: PublishedTable | None) -> Figure:
    """An axis per method with its configurations, the other methods' lines in grey behind them."""
    methods = list(dict.fromkeys(item.method for item in items))
    down = math.ceil(len(methods) / ACROSS)
    across = math.ceil(len(methods) / down)
    figure, axes = blank(down, across, height=0.5 + 2.1 * down, width=2.5 * across, sharex=True, sharey=True)
    for axis, method in zip(axes, methods, strict=False):
        for item in items:
            if item.method != method:
                heights, _ = _seconds(panel, item, hardware)
                axis.plot(range(len(heights)), heights, color=GRID.light, linewidth=1, zorder=1)
        own = [item for item in items if item.method == method]
        for item in own:
            _line(axis, panel, item, hardware, markersize=3)
        if table and method in table.values:
            heights = _published(panel, table, method)
            axis.plot(
                range(len(heights)), heights, color=own[0].facts.look.light, linestyle=":", linewidth=1.1, label="_"
            )
        axis.set_title(panel.methods.title(method), fontsize=8.5)
        if len(own) > 1:
            names = [item.label.removeprefix(f"{panel.methods.title(method)} (").removesuffix(")") for item in own]
            axis.legend(
                axis.get_legend_handles_labels()[0], [short(name, 24) for name in names], fontsize=7, loc="best"
            )
    for axis in axes[len(methods) :]:
        axis.set_visible(False)
    _finish(panel, axes[: len(methods)], across)
    return figure


def _finish(panel: Panel, axes: Sequence[Axes], across: int) -> None:
    names = [f"{task.index} {task_title(task.name)}" for task in panel.tasks]
    for place, axis in enumerate(axes):
        logarithmic(axis, "y")
        axis.grid(axis="x", visible=False)
        if across > 2 and len(names) > 8:
            ticks = [0, *range(4, len(names), 5)]
            axis.set_xticks(ticks, [names[tick].split(" ")[0] for tick in ticks])
            lowest = place >= len(axes) - across
            axis.set_xlabel("Task" if lowest else "")
            axis.tick_params(labelbottom=lowest)
        else:
            name_tasks(axis, names, range(len(names)))
        if place % across == 0:
            axis.set_ylabel("Training seconds per task")


def _line(axis: Axes, panel: Panel, item: Configuration, hardware: Hardware, **more: float) -> None:
    heights, reach = _seconds(panel, item, hardware)
    low = np.minimum(reach, heights * 0.9)  # an interval that reaches zero has no place on a logarithmic axis
    places = np.arange(len(heights), dtype=float)
    axis.errorbar(places, heights, yerr=[low, reach], elinewidth=0.8, **drawn_as(item) | more)


def _seconds(panel: Panel, item: Configuration, hardware: Hardware) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean seconds of every task, float64 (tasks,), NaN where it was not trained, and their intervals' half-widths."""
    seconds = by_task(item.training_seconds(hardware))
    intervals = [mean_interval(seconds[task.index].values()) for task in panel.tasks]
    heights = np.array([interval.mean if interval else np.nan for interval in intervals])
    return heights, np.array([(interval.half_width or 0.0) if interval else 0.0 for interval in intervals])


def _published(panel: Panel, table: PublishedTable, method: str) -> NDArray[np.float64]:
    return np.array([table.get(method, str(task.index)) or np.nan for task in panel.tasks])
