"""Figure 6: per layer the ratio of ones and of soft values, for every task."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from reports.configuration import Configuration
from reports.figures.canvas import Drawing, blank
from reports.grouping import Panel
from reports.naming import short, task_title
from reports.style import MUTED

#: Layers that can be named below an axis without overlapping; beyond it every k-th is.
NAMED_LAYERS = 18


def mask_ratios(panel: Panel) -> list[Drawing]:
    """One drawing with a row per configuration that learned masks: ones on the left, soft values on the right."""
    found = [(item, *ratios) for item in panel.configurations if (ratios := _ratios(item)) is not None]
    if not found:
        return []
    tall = max(len(tasks) for _, tasks, *_ in found)
    each = 0.75 + min(0.22 * tall, 0.6 + 0.06 * tall)
    figure, axes = blank(len(found), 2, height=0.7 + each * len(found))
    names = {task.name: f"{task.index} {task_title(task.name)}" for task in panel.tasks}
    low = 100 * min(float(np.nanmin(ones)) for *_, ones, _ in found)
    top = 100 * max(0.05, *(float(np.nanmax(soft)) for *_, soft in found))
    words = []
    images: dict[int, AxesImage] = {}
    for row, (item, tasks, layers, ones, soft) in enumerate(found):
        named = [short(names.get(task, task)) for task in tasks]
        for side, (ratio, what, limits) in enumerate(((ones, "ones", (low, 100.0)), (soft, "soft values", (0.0, top)))):
            axis = axes[2 * row + side]
            axis.set_title(f"{short(item.label)}: {what}", fontsize=8.5)
            if side and not np.nanmax(soft):
                axis.set_axis_off()
                axis.set_title(
                    f"{short(item.label)}: no soft values", fontsize=8.5, fontweight="normal", color=MUTED.light
                )
                continue
            scale: dict[str, Any] = {"cmap": "cividis", "vmin": limits[0], "vmax": limits[1]}
            images[side] = axis.imshow(100 * ratio, aspect="auto", interpolation="nearest", **scale)
            _ticks(axis, layers, named, first=side == 0, last=row == len(found) - 1)
        words.append("{}: {:.1f} percent ones, {:.1f} percent soft values".format(item.label, *_overall(item)))
    for side, shown in images.items():  # one bar per column: all rows share its scale
        bar = figure.colorbar(
            shown, ax=axes[side::2], pad=0.01, aspect=40, shrink=min(1.0, 2 / len(found)), anchor=(0.0, 1.0)
        )
        bar.set_label(f"percent {'soft values' if side else 'ones'}", fontsize=8)
    return [
        Drawing(
            key=f"{panel.slug}-mask-ratios",
            title="Figure 6: ones and soft values"
            if panel.scenario == "imagenet2sketch"
            else "Ones and soft values (as in figure 6)",
            caption="Percent of a layer's mask units, mean over seeds; layers from input (left) to output (right). The "
            "rest is zero; one colour scale for all methods.",
            alt=f"Of all mask units: {'; '.join(words)}.",
            figure=figure,
        )
    ]


def _overall(item: Configuration) -> tuple[float, float]:
    """Ones and soft values in percent of all mask units, over layers, tasks and runs."""
    rows = [row for run in item.runs for row in run.mask_statistics]
    units = max(sum(row.units for row in rows), 1)
    return 100 * sum(row.ones for row in rows) / units, 100 * sum(row.soft for row in rows) / units


def _ratios(item: Configuration) -> tuple[list[str], list[str], NDArray[np.float64], NDArray[np.float64]] | None:
    """Tasks, layers, and the shares of ones and soft values, float64 (tasks, layers), mean over runs."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    tasks: dict[str, None] = {}
    layers: dict[str, None] = {}
    for run in item.runs:
        for row in run.mask_statistics:
            tasks[row.task] = layers[row.layer] = None
            if row.units:
                total = sums[row.task, row.layer]
                total[0] += row.ones / row.units
                total[1] += row.soft / row.units
                total[2] += 1
    if not sums:
        return None
    order = {row.name: row.index for run in item.runs for row in run.tasks}
    named = sorted(tasks, key=lambda task: order.get(task, len(order)))
    shares = np.full((2, len(named), len(layers)), np.nan)
    for i, task in enumerate(named):
        for j, layer in enumerate(layers):
            ones, soft, count = sums.get((task, layer), (0.0, 0.0, 0.0))
            if count:
                shares[:, i, j] = ones / count, soft / count
    return named, list(layers), shares[0], shares[1]


def _ticks(axis: Axes, layers: list[str], tasks: list[str], *, first: bool, last: bool) -> None:
    step = max(1, -(-len(layers) // NAMED_LAYERS))
    places = list(range(0, len(layers), step))
    if last:
        named = [short(layers[i], 24) for i in places]
        axis.set_xticks(places, named, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    else:
        axis.set_xticks([])
    if not first:
        axis.set_yticks([])
    elif len(tasks) <= 8:
        axis.set_yticks(range(len(tasks)), tasks)
    else:
        axis.set_yticks(range(0, len(tasks), 4), [name.split(" ")[0] for name in tasks[::4]])
        axis.set_ylabel("Task")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
