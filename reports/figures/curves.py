"""Learning curves: accuracy over the training epochs of a task, one small axis per method."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reports.configuration import Configuration
from reports.figures.canvas import Drawing, blank
from reports.grouping import Panel
from reports.naming import short
from reports.style import MUTED, look
from results.schema import TRAINING_PHASES, CurvePoint

ACROSS = 4
POINTS = 100  #: longer curves are thinned to this many points


def learning_curves(panel: Panel) -> list[Drawing]:
    """One drawing; none where no run recorded a curve of at least two epochs."""
    found = [(item, *curves) for item in panel.configurations if (curves := _curves(item)) is not None]
    if not found:
        return []
    down = math.ceil(len(found) / ACROSS)
    across = math.ceil(len(found) / down)
    figure, axes = blank(down, across, height=0.4 + 2.1 * down, width=2.5 * across if across > 1 else 4.5, sharey=True)
    for axis, (item, held_out, train) in zip(axes, found, strict=False):
        colour = look(item.method).light
        epochs = np.arange(1, held_out.shape[1] + 1)
        keep = np.unique(np.linspace(0, len(epochs) - 1, min(POINTS, len(epochs))).astype(int))
        low, high, middle = np.nanmin(held_out, 0), np.nanmax(held_out, 0), np.nanmean(held_out, 0)
        axis.fill_between(epochs[keep], 100 * low[keep], 100 * high[keep], color=colour, alpha=0.16, linewidth=0)
        axis.plot(epochs[keep], 100 * middle[keep], color=colour)
        axis.plot(epochs[keep], 100 * np.nanmean(train, 0)[keep], color=MUTED.light, linestyle=":", linewidth=1.1)
        axis.set_title(short(item.label, 28), fontsize=8.5)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(max(low, 0), min(high, 101))
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for row in range(down):
        axes[row * across].set_ylabel("Accuracy in percent")
    for axis in axes[max(0, len(found) - across) : len(found)]:
        axis.set_xlabel("Epoch of the task")
    words = "; ".join(
        f"{item.label} reaches {100 * float(np.nanmean(held_out[:, -1])):.1f} percent after {held_out.shape[1]} epochs"
        for item, held_out, _ in found
    )
    return [
        Drawing(
            key=f"{panel.slug}-learning-curves",
            title="Learning curves",
            caption="Accuracy on held-out images (validation where the run has it, else test), mean over tasks and "
            "seeds; the band spans the tasks. Dotted: accuracy on the training images. Phases follow one another.",
            alt=f"Accuracy over epochs. {words}.",
            figure=figure,
        )
    ]


def _curves(item: Configuration) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Held-out and training accuracy, float64 (tasks, epochs), mean over seeds; short curves keep their last value."""
    held_out: dict[int, list[NDArray[np.float64]]] = {}
    train: dict[int, list[NDArray[np.float64]]] = {}
    for run in item.runs:
        for row in run.tasks:
            points = [point for point in row.curve if point.phase in TRAINING_PHASES]
            if len(points) > 1:
                held_out.setdefault(row.index, []).append(np.array([_held_out(point) for point in points]))
                train.setdefault(row.index, []).append(np.array([point.train for point in points], dtype=np.float64))
    if not held_out:
        return None
    longest = max(len(curve) for curves in held_out.values() for curve in curves)
    stacked = tuple(np.stack([_mean(curves, longest) for curves in side.values()]) for side in (held_out, train))
    if np.isnan(stacked[0]).all(axis=0).any() or np.isnan(stacked[1]).all(axis=0).any():
        return None
    return stacked[0], stacked[1]


def _held_out(point: CurvePoint) -> float:
    for value in (point.validation, point.test, point.train):
        if value is not None:
            return float(value)
    return float("nan")


def _mean(curves: Sequence[NDArray[np.float64]], longest: int) -> NDArray[np.float64]:
    padded = [np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves]
    mean: NDArray[np.float64] = np.mean(padded, axis=0)
    return mean
