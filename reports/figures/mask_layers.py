"""Figure 6: per layer the ratio of ones and of soft values, for every task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from reports.configuration import Configuration
from reports.figures.canvas import Drawing, blank
from reports.grouping import Panel
from reports.naming import in_lines, short, task_title
from reports.setting import drawn, titled
from results.schema import RunRecord

#: Layers that can be named below an axis without overlapping; beyond it every k-th is.
NAMED_LAYERS = 18

#: tasks, layers, and the shares of ones and of soft values, float64 (tasks, layers)
Ratios = tuple[list[str], list[str], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Cell:
    """One picture of the grid: a configuration's ones or its soft values, float64 (tasks, layers)."""

    title: str
    tasks: list[str]
    layers: list[str]
    ratio: NDArray[np.float64]
    soft: bool = False


def mask_ratios(panel: Panel) -> list[Drawing]:
    """One drawing of all configurations that learned masks; those with soft values have theirs beside their ones."""
    found = [(item, *ratios) for item in drawn(panel) if (ratios := _ratios(item)) is not None]
    if not found:
        return []
    rows = _rows(panel, found)
    tall = max(len(tasks) for _, tasks, *_ in found)
    each = 0.75 + min(0.22 * tall, 0.6 + 0.06 * tall)
    columns = max(len(cells) for cells in rows)
    figure, axes = blank(len(rows), columns, height=1.2 + each * len(rows))
    shown: list[AxesImage] = []
    for row, cells in enumerate(rows):
        for side, axis in enumerate(axes[columns * row : columns * (row + 1)]):
            if side >= len(cells):
                axis.set_axis_off()
                continue
            cell = cells[side]
            scale: dict[str, Any] = {"cmap": "cividis", "vmin": 0.0, "vmax": 100.0}
            shown.append(axis.imshow(100 * cell.ratio, aspect="auto", interpolation="nearest", **scale))
            axis.set_title(cell.title, fontsize=8.5)
            lowest = all(side >= len(below) for below in rows[row + 1 :])
            _ticks(axis, cell.layers, cell.tasks, name_tasks=not cell.soft, name_layers=lowest)
    bar = figure.colorbar(shown[0], ax=axes, location="bottom", pad=0.02, aspect=60, fraction=0.05)
    bar.set_label("percent of the layer's mask units", fontsize=8)
    words = [
        "{}: {:.1f} percent ones, {:.1f} percent soft values".format(item.label, *_overall(item)) for item, *_ in found
    ]
    return [
        Drawing(
            key=f"{panel.slug}-mask-ratios",
            title=titled(panel, panel.paper.masks),
            caption="Percent of a layer's mask units, mean over seeds; layers from input (left) to output (right). The "
            "rest is zero.",
            alt=f"Of all mask units: {'; '.join(words)}.",
            figure=figure,
            folded=True,
        )
    ]


def _rows(panel: Panel, found: Sequence[tuple[Configuration, *Ratios]]) -> list[list[Cell]]:
    """The grid: ones without soft values two abreast, then a row of ones and soft values per other configuration."""
    names = {task.name: f"{task.index} {task_title(task.name)}" for task in panel.tasks}
    alone: list[Cell] = []
    pairs: list[list[Cell]] = []
    for item, tasks, layers, ones, soft in found:
        named = [short(names.get(task, task)) for task in tasks]
        cells = [Cell(f"{in_lines(item.label, 50)}: ones", named, layers, ones)]
        if np.nanmax(soft):
            pairs.append([*cells, Cell(f"{in_lines(item.label, 50)}: soft values", named, layers, soft, soft=True)])
        else:
            alone += cells
    return [alone[i : i + 2] for i in range(0, len(alone), 2)] + pairs


def _overall(item: Configuration) -> tuple[float, float]:
    """Ones and soft values in percent of all mask units, over layers, tasks and runs."""
    units, ones, soft = (sum(map(sum, column)) for column in zip(*map(_counts, item.runs), strict=True))
    return 100 * ones / max(units, 1), 100 * soft / max(units, 1)


def _counts(run: RunRecord) -> tuple[list[int], list[int], list[int]]:
    """Units, ones and soft values of every row."""
    rows = run.mask_statistics
    return [row.units for row in rows], [row.ones for row in rows], [row.soft for row in rows]


def _ratios(item: Configuration) -> Ratios | None:
    """Tasks, layers, and the shares of ones and soft values, float64 (tasks, layers), mean over runs."""
    sums: dict[tuple[str, str], NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    for places, runs in _alike(item).items():
        of_places = np.zeros((3, len(places)))
        for run in runs:
            units, ones, soft = np.array(_counts(run), dtype=np.float64)
            of_places += np.divide((ones, soft, units), units, out=np.zeros_like(of_places), where=units > 0)
        for place, total in zip(places, of_places.T, strict=True):
            sums[place] += total
    tasks, layers = ({place[side]: None for place in sums} for side in (0, 1))
    if not any(total[2] for total in sums.values()):
        return None
    order = {row.name: row.index for run in item.runs for row in run.tasks}
    named = sorted(tasks, key=lambda task: order.get(task, len(order)))
    shares = np.full((2, len(named), len(layers)), np.nan)
    for i, task in enumerate(named):
        for j, layer in enumerate(layers):
            ones, soft, count = sums[task, layer]
            if count:
                shares[:, i, j] = ones / count, soft / count
    return named, list(layers), shares[0], shares[1]


def _alike(item: Configuration) -> dict[tuple[tuple[str, str], ...], list[RunRecord]]:
    """The runs by the (task, layer) of their rows, which all seeds have in common."""
    found: dict[tuple[tuple[str, str], ...], list[RunRecord]] = defaultdict(list)
    for run in item.runs:
        found[tuple((row.task, row.layer) for row in run.mask_statistics)].append(run)
    return found


def _ticks(axis: Axes, layers: list[str], tasks: list[str], *, name_tasks: bool, name_layers: bool) -> None:
    step = max(1, -(-len(layers) // NAMED_LAYERS))
    places = list(range(0, len(layers), step))
    if name_layers:
        named = [short(layers[i], 24) for i in places]
        axis.set_xticks(places, named, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    else:
        axis.set_xticks([])
    if not name_tasks:
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
