"""The accuracy matrix of every method: accuracy on each task after learning each task."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports.configuration import Configuration
from reports.figures.canvas import Drawing, blank
from reports.grouping import Panel
from reports.naming import in_lines, listed
from reports.setting import drawn

ACROSS = 4


def accuracy_matrices(panel: Panel) -> list[Drawing]:
    """One drawing with a heat map per configuration; none for a single task."""
    found = [
        (item, matrix) for item in drawn(panel) if (matrix := mean_matrix(item)) is not None and not _stays(matrix)
    ]
    if not found or len(panel.tasks) < 2:
        return []
    down = math.ceil(len(found) / ACROSS)
    across = math.ceil(len(found) / down)
    figure, axes = blank(down, across, height=0.5 + 2.35 * down, width=2.5 * across + 0.6)
    lowest = float(np.floor(10 * min(np.nanmin(matrix) for _, matrix in found)) / 10)
    image = None
    for place, (axis, (item, matrix)) in enumerate(zip(axes, found, strict=False)):
        image = axis.imshow(100 * matrix, vmin=100 * lowest, vmax=100, cmap="cividis", interpolation="nearest")
        axis.set_title(in_lines(item.label), fontsize=8.5)
        _ticks(axis, len(matrix), left=place % across == 0, bottom=place + across >= len(found))
        if len(matrix) <= 6:
            _numbers(axis, matrix, lowest)
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for row in range(down):
        axes[row * across].set_ylabel("after learning")
    for axis in axes[max(0, len(found) - across) : len(found)]:
        axis.set_xlabel("accuracy on")
    if image is not None:
        figure.colorbar(image, ax=axes, label="Accuracy in percent", shrink=0.85 if down == 1 else 0.5, aspect=30)
    words = "; ".join(
        f"{item.label} ends at {100 * np.nanmean(matrix[-1]):.1f} percent on average" for item, matrix in found
    )
    return [
        Drawing(
            key=f"{panel.slug}-accuracy-matrix",
            title="Accuracy matrix",
            caption="Row: the task learned last; column: the task tested, both in learning order, mean over seeds. "
            "A column that stays as it is downwards: nothing was forgotten.",
            alt=f"One heat map per method. {words}.",
            figure=figure,
            folded=True,
        )
    ]


def sentences(panel: Panel) -> tuple[str, ...]:
    """Whose accuracy on a task never changed after it was learned, in words: their matrices would show columns of one
    colour."""
    if len(panel.tasks) < 2:
        return ()
    names = [item.label for item in drawn(panel) if (matrix := mean_matrix(item)) is not None and _stays(matrix)]
    if not names:
        return ()
    return (
        "Nothing was forgotten: after later tasks every task has the accuracy that it had when learned, for "
        f"{listed(names, 12)}.",
    )


def _stays(matrix: NDArray[np.float64]) -> bool:
    """No task's accuracy changes after it was learned."""
    return all(len(set(column[~np.isnan(column)])) <= 1 for column in matrix.T)


def mean_matrix(item: Configuration) -> NDArray[np.float64] | None:
    """Mean over runs of the accuracy matrix, float64 (tasks, tasks), NaN where a task was not learned yet."""
    matrices = [
        np.array(
            [[np.nan if value is None else value for value in row] for row in run.accuracy_matrix], dtype=np.float64
        )
        for run in item.runs
        if run.accuracy_matrix and len({len(row) for row in run.accuracy_matrix}) == 1
    ]
    if not matrices or len({matrix.shape for matrix in matrices}) > 1:
        return None
    mean: NDArray[np.float64] = np.mean(matrices, axis=0)
    return mean if mean.shape[0] == mean.shape[1] else None


def _ticks(axis: Axes, tasks: int, *, left: bool, bottom: bool) -> None:
    places = list(range(tasks)) if tasks <= 8 else [0, *range(4, tasks, 5)]
    names = [str(place + 1) for place in places]
    axis.set_xticks(places if bottom else [], names if bottom else [])
    axis.set_yticks(places if left else [], names if left else [])
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _numbers(axis: Axes, matrix: NDArray[np.float64], lowest: float) -> None:
    middle = (lowest + 1) / 2
    for row in range(len(matrix)):
        for column in range(len(matrix)):
            value = matrix[row, column]
            if not np.isnan(value):
                # Fixed colours: the cell's own background does not follow the page into dark mode.
                shade = "#fffffe" if value < middle else "#000000"
                axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=shade)
