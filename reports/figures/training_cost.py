"""Figures 4 and 5: training cost per task and method, ours and the published, on one logarithmic axis."""

from __future__ import annotations

import numpy as np

from reports.figures.canvas import Drawing, blank, drawn_as, legend, logarithmic, name_tasks
from reports.grouping import Panel
from reports.hardware import Hardware
from reports.naming import short, slug, task_title
from reports.setting import drawn
from reports.statistics import mean_interval
from reports.tables.grid import of_task
from reports.tables.training_time import ON_TOP
from reports.timing_caveats import caveats_in_brief


def training_cost(panel: Panel) -> list[Drawing]:
    """One drawing per hardware."""
    timed = [h for h in panel.hardware if any(item.training_seconds(h) for item in panel.configurations)]
    return [_drawing(panel, hardware, alone=len(timed) == 1) for hardware in timed]


def _drawing(panel: Panel, hardware: Hardware, alone: bool) -> Drawing:
    table = panel.paper.training_time.printed
    figure, axes = blank(1, 2 if table else 1, height=4.6, sharey=True)
    names = [f"{task.index} {task_title(task.name)}" for task in panel.tasks]
    places = np.arange(len(names), dtype=float)
    means = []
    for item in drawn(panel):
        seconds = item.training_seconds(hardware)
        if not seconds:
            continue
        intervals = [mean_interval(of_task(seconds, task.index).values()) for task in panel.tasks]
        heights = np.array([interval.mean if interval else np.nan for interval in intervals])
        reach = np.array([(interval.half_width or 0.0) if interval else 0.0 for interval in intervals])
        low = np.minimum(reach, heights * 0.9)  # an interval that reaches zero has no place on a logarithmic axis
        axes[0].errorbar(places, heights, yerr=[low, reach], elinewidth=0.8, **drawn_as(item))
        means.append(f"{item.label} {np.nanmean(heights):.3g} s")
    axes[0].set_title(short(f"Measured: {hardware.label}", 60))
    axes[0].set_ylabel("Training seconds per task")
    if table:
        for method in panel.methods.in_order(table.values):
            heights = np.array([table.get(method, str(task.index)) or np.nan for task in panel.tasks])
            title, chosen = panel.methods.title(method), panel.methods[method].look
            label = "" if any(item.method == method for item in panel.configurations) else f"{title} (paper)"
            axes[1].plot(places, heights, color=chosen.light, marker=chosen.marker, label=label or "_")
        axes[1].set_title(f"Published: {panel.paper.times_device}")
    for axis in axes:
        logarithmic(axis, "y")
        axis.grid(axis="x", visible=False)
        name_tasks(axis, names, places.tolist())
    legend(figure, axes[0])
    number = f" ({panel.paper.cost_figure})" if panel.paper.cost_figure else ""
    return Drawing(
        key=f"{panel.slug}-training-cost" + ("" if alone else f"-{slug(hardware.label)}"),
        title=f"Training cost per task{number}" + ("" if alone else f", {hardware.label}"),
        caption="Seconds in training phases, logarithmic; whiskers are 95 % t-intervals over seeds"
        + caveats_in_brief(panel.configurations, hardware)
        + ". A gap: the task's "
        "network is the shared task-1 network, which the method did not train itself."
        + ("" if all(item.trains for item in panel.configurations) else f" {ON_TOP}")
        + (f" {panel.paper.cost_remark}" if panel.paper.cost_remark else ""),
        alt=f"Training seconds per task on {hardware.label}; mean over tasks: {'; '.join(means)}.",
        figure=figure,
    )
