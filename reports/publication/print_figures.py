"""The figures of a two-column paper, each drawn for one column (3.3 inches) and for both (7 inches)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from reports.configuration import Configuration
from reports.figures.matrix import mean_matrix
from reports.grouping import Panel
from reports.naming import short, task_title
from reports.publication.print_style import LETTERS, PAGE, Print, prints
from reports.setting import drawn
from reports.soundness import signs
from reports.statistics import Interval, mean_interval
from reports.tables.grid import by_task
from reports.tables.model_size import MIB
from reports.tables.ranking import Ranked, main_hardware, ranking

#: inches per letter and per legend handle, to tell how many legend entries fit side by side
_LETTER, _HANDLE = 0.051, 0.46
#: letters of a name in a legend
_LABEL = 44
#: task names where so many have room; more are numbered
_NAMED_COLUMN, _NAMED_PAGE = 5, 10
#: accuracy lost, a fraction, from which on a method forgets
_FORGETS = 0.001


@dataclass(frozen=True)
class Printed:
    """A figure in one width."""

    kind: str  #: "tradeoff": the end of its file name
    caption: str  #: one line
    figure: Figure


def tradeoff(panel: Panel, whole: Panel, width: float) -> Printed | None:
    """Accuracy against training seconds and stored bytes; None where fewer than two methods have both numbers."""
    shown = {item.label for item in drawn(panel)}
    ranked = [one for one in ranking(panel) if one.configuration.label in shown]
    costs: list[tuple[str, Callable[[Ranked], Interval | None], float]] = [
        ("Training (s)", lambda one: one.in_all, 1.0),
        ("Model size (MiB)", lambda one: one.size, 1 / MIB),
    ]
    kinds = []
    for label, cost, scale in costs:
        rows = [(one, found) for one in ranked if (found := cost(one)) is not None and found.mean > 0]
        if len(rows) > 1:
            kinds.append((label, rows, scale))
    if not kinds:
        return None
    looks = prints(drawn(panel))
    figure, axes = _blank(width, 1 if width == PAGE else len(kinds), len(kinds) if width == PAGE else 1, 1.9)
    for axis, (label, rows, scale) in zip(axes, kinds, strict=True):
        for one, found in rows:
            name = one.configuration.label
            sign = signs(whole, one.configuration)
            options = looks[name].line | {"linestyle": "none", "label": _label(f"{name} {sign}".rstrip())}
            options |= {"xerr": (found.half_width or 0) * scale, "yerr": 100 * (one.accuracy.half_width or 0)}
            options |= {"elinewidth": 0.6, "markersize": 5}
            axis.errorbar([found.mean * scale], [100 * one.accuracy.mean], **options)
        values = [found.mean * scale for _, found in rows]
        if max(values) > 4 * min(values):
            _logarithmic(axis, "x", max(values) / min(values) < 100)
        axis.margins(0.1)
        axis.set_xlabel(label)
    for axis in axes if width != PAGE else axes[:1]:
        axis.set_ylabel("Mean accuracy (%)")
    _legend(figure, axes[0], width)
    return Printed("tradeoff", "Mean accuracy against training time and model size", figure)


def accuracy(panel: Panel, whole: Panel, width: float) -> Printed | None:
    """Test accuracy by task."""
    figure, axes = _blank(width, 1, 1, 1.9)
    looks = prints(drawn(panel))
    places = np.arange(len(panel.tasks), dtype=float)
    for shift, item in _beside(drawn(panel)):
        percent = by_task(item.accuracy, 100)
        intervals = [mean_interval(percent[task.index].values()) for task in panel.tasks]
        _line(axes[0], places + shift, intervals, looks[item.label], f"{item.label} {signs(whole, item)}".rstrip())
    axes[0].set_ylabel("Accuracy (%)")
    _name_tasks(axes[0], panel, width)
    _legend(figure, axes[0], width)
    return Printed("accuracy", "Test accuracy after the last task, by task", figure)


def training(panel: Panel, whole: Panel, width: float) -> Printed | None:
    """Training seconds by task, logarithmic, on the hardware that most was timed on; None where nothing was."""
    hardware = main_hardware(panel)
    items = [item for item in drawn(panel) if hardware and item.training_seconds(hardware)]
    if hardware is None or not items:
        return None
    figure, axes = _blank(width, 1, 1, 1.9)
    looks = prints(drawn(panel))
    places = np.arange(len(panel.tasks), dtype=float)
    for shift, item in _beside(items):
        seconds = by_task(item.training_seconds(hardware))
        intervals = [mean_interval(seconds[task.index].values()) for task in panel.tasks]
        _line(axes[0], places + shift, intervals, looks[item.label], item.label)
    _logarithmic(axes[0], "y", True)
    axes[0].set_ylabel("Training (s per task)")
    _name_tasks(axes[0], panel, width)
    _legend(figure, axes[0], width)
    return Printed("training", f"Training seconds by task on {hardware.device}", figure)


def forgetting(panel: Panel, whole: Panel, width: float) -> Printed | None:
    """Mean accuracy over the tasks learned so far; None where no method forgets."""
    found = [(item, matrix) for item in drawn(panel) if (matrix := mean_matrix(item)) is not None]
    if len(panel.tasks) < 2 or not any(
        run.forgetting is not None and run.forgetting > _FORGETS for item, _ in found for run in item.runs
    ):
        return None
    figure, axes = _blank(width, 1, 1, 1.9)
    looks = prints(drawn(panel))
    for item, matrix in found:
        so_far = [100 * float(np.nanmean(matrix[row, : row + 1])) for row in range(len(matrix))]
        label = _label(f"{item.label} {signs(whole, item)}".rstrip())
        axes[0].plot(range(1, len(matrix) + 1), so_far, label=label, **looks[item.label].line)
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_xlabel("Tasks learned")
    axes[0].set_ylabel("Mean accuracy (%)")
    _legend(figure, axes[0], width)
    return Printed("forgetting", "Mean accuracy over the tasks learned so far", figure)


def sizes(panel: Panel, whole: Panel, width: float) -> Printed | None:
    """What restores every task, as bars; None where fewer than two methods recorded it."""
    rows = [one for one in reversed(ranking(panel)) if one.size is not None and one.size.mean > 0]
    shown = {item.label for item in drawn(panel)}
    rows = [one for one in rows if one.configuration.label in shown]
    if len(rows) < 2:
        return None
    looks = prints(drawn(panel))
    figure, axes = _blank(width, 1, 1, 0.35 + 0.19 * len(rows))
    for place, one in enumerate(rows):
        look, size = looks[one.configuration.label], one.size.mean / MIB if one.size else 0.0
        axes[0].barh(place, size, height=0.7, facecolor=look.colour + "40", edgecolor=look.colour, hatch=look.hatch)
        offset: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
        axes[0].annotate(f"{size:.3g}", (size, place), **offset)
    axes[0].set_yticks(
        range(len(rows)), [short(one.configuration.label, 26 if width != PAGE else _LABEL) for one in rows]
    )
    axes[0].grid(axis="y", visible=False)
    axes[0].margins(x=0.12)
    axes[0].set_xlabel("Model size (MiB)")
    return Printed("size", "What must be stored to restore every task", figure)


#: in the order in which they are written
FIGURES: tuple[Callable[[Panel, Panel, float], Printed | None], ...] = (
    tradeoff,
    accuracy,
    training,
    forgetting,
    sizes,
)


def _beside(items: Sequence[Configuration]) -> list[tuple[float, Configuration]]:
    """Each with a small shift along the tasks, so that whiskers do not hide one another."""
    step = min(0.07, 0.5 / max(len(items), 1))
    return [((place - (len(items) - 1) / 2) * step, item) for place, item in enumerate(items)]


def _blank(width: float, rows: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row")
    return figure, [axis for row in grid for axis in row]


def _line(axis: Axes, places: np.ndarray, intervals: Sequence[Interval | None], look: Print, label: str) -> None:
    heights = np.array([interval.mean if interval else np.nan for interval in intervals])
    reach = np.array([(interval.half_width or 0.0) if interval else 0.0 for interval in intervals])
    low = np.minimum(reach, heights * 0.9)  # an interval that reaches zero has no place on a logarithmic axis
    axis.errorbar(places, heights, yerr=[low, reach], elinewidth=0.6, label=_label(label), **look.line)


def _legend(figure: Figure, axis: Axes, width: float) -> None:
    """Below the axes, which keep their height: the figure grows by the rows of the legend."""
    handles, labels = axis.get_legend_handles_labels()
    if len(labels) < 2:
        return
    entry = _HANDLE + _LETTER * max(map(len, labels))
    columns = max(1, min(len(labels), int(width / entry)))
    rows = math.ceil(len(labels) / columns)
    figure.set_figheight(float(figure.get_figheight()) + (rows * LETTERS * 1.45 + 4) / 72)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _label(text: str) -> str:
    return short(text, _LABEL)


def _name_tasks(axis: Axes, panel: Panel, width: float) -> None:
    places = list(range(len(panel.tasks)))
    if len(places) <= (_NAMED_PAGE if width == PAGE else _NAMED_COLUMN):
        names = [short(task_title(task.name), 14) for task in panel.tasks]
        axis.set_xticks(places, names, rotation=25, ha="right", rotation_mode="anchor")
    else:
        step = 1 if width == PAGE or len(places) <= 10 else 2
        axis.set_xticks(places[::step], [str(task.index) for task in panel.tasks][::step])
        axis.set_xlabel("Task")
    axis.grid(axis="x", visible=False)


def _logarithmic(axis: Axes, which: str, fine: bool) -> None:
    (axis.set_xscale if which == "x" else axis.set_yscale)("log")
    chosen = axis.xaxis if which == "x" else axis.yaxis
    chosen.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if fine else (1.0,)))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    chosen.set_minor_formatter(NullFormatter())
