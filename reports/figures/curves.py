"""Learning curves: accuracy over the training epochs of a task, one small axis per method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reports.configuration import Configuration
from reports.figures.canvas import Drawing, blank, from_where, within_percent
from reports.grouping import Panel
from reports.naming import in_lines
from reports.setting import drawn
from reports.style import MUTED
from results.schema import TRAINING_PHASES, CurvePoint

ACROSS = 4
POINTS = 100  #: longer curves are thinned to this many points


@dataclass(frozen=True)
class Curves:
    """A configuration's curves: one row per task, phases one after another, NaN where a task has no such epoch."""

    held_out: NDArray[np.float64]  #: accuracy, float64 (tasks, epochs), mean over seeds
    train: NDArray[np.float64]  #: the same on the training images
    ends: tuple[tuple[str, int], ...]  #: phases with the epoch at which each ends
    kept: float  #: accuracy when learned, mean over tasks and seeds


def learning_curves(panel: Panel) -> list[Drawing]:
    """One drawing; none where no run recorded a curve of at least two epochs."""
    found = [(item, curves) for item in drawn(panel) if (curves := _curves(item)) is not None]
    if not found:
        return []
    down = math.ceil(len(found) / ACROSS)
    across = math.ceil(len(found) / down)
    figure, axes = blank(down, across, height=0.4 + 2.1 * down, width=2.5 * across if across > 1 else 4.5, sharey=True)
    for axis, (item, curves) in zip(axes, found, strict=False):
        _draw(axis, item, curves)
    within_percent(axes[0])
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for row in range(down):
        axes[row * across].set_ylabel(f"Accuracy in percent{from_where(axes[0])}")
    for axis in axes[max(0, len(found) - across) : len(found)]:
        axis.set_xlabel("Epoch of the task")
    words = "; ".join(
        f"{item.label} trains up to {curves.held_out.shape[1]} epochs and keeps {100 * curves.kept:.1f} percent"
        for item, curves in found
    )
    return [
        Drawing(
            key=f"{panel.slug}-learning-curves",
            title="Learning curves",
            caption="Accuracy on held-out images (validation where the run has it, else test), mean over the tasks "
            "that trained so long, and over seeds; the band spans the tasks. Dotted: accuracy on the training images. "
            "Dashed: test accuracy of what was kept, mean over tasks; a method may drop its last phases. Vertical "
            "lines part the phases.",
            alt=f"Accuracy over epochs. {words}.",
            figure=figure,
            folded=True,
        )
    ]


def _draw(axis: Axes, item: Configuration, curves: Curves) -> None:
    colour = item.facts.look.light
    epochs = np.arange(1, curves.held_out.shape[1] + 1)
    keep = np.unique(np.linspace(0, len(epochs) - 1, min(POINTS, len(epochs))).astype(int))
    low, high = np.nanmin(curves.held_out, 0), np.nanmax(curves.held_out, 0)
    axis.fill_between(epochs[keep], 100 * low[keep], 100 * high[keep], color=colour, alpha=0.16, linewidth=0)
    axis.plot(epochs[keep], 100 * np.nanmean(curves.held_out, 0)[keep], color=colour)
    axis.plot(epochs[keep], 100 * np.nanmean(curves.train, 0)[keep], color=MUTED.light, linestyle=":", linewidth=1.1)
    axis.axhline(100 * curves.kept, color=colour, linestyle="--", linewidth=0.9)
    for (_, end), (phase, _) in pairwise(curves.ends):
        axis.axvline(end + 0.5, color=MUTED.light, linewidth=0.7)
        place = axis.get_xaxis_transform()
        late = end > 0.7 * len(epochs)  # its name would leave the axis
        where, side = (end + 0.3, "right") if late else (end + 0.7, "left")
        axis.text(where, 0.02, phase, transform=place, fontsize=7, color=MUTED.light, va="bottom", ha=side)
    axis.set_title(in_lines(item.label), fontsize=8.5)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _curves(item: Configuration) -> Curves | None:
    """Every epoch of the training phases; None without a curve of two epochs or without any accuracy in it."""
    points: dict[int, dict[str, list[Sequence[CurvePoint]]]] = {}
    for run in item.runs:
        for row in run.tasks:
            if sum(point.phase in TRAINING_PHASES for point in row.curve) > 1:
                for phase in TRAINING_PHASES:
                    of_phase = [point for point in row.curve if point.phase == phase]
                    points.setdefault(row.index, {}).setdefault(phase, []).append(of_phase)
    longest = {
        phase: max((len(curve) for phases in points.values() for curve in phases[phase]), default=0)
        for phase in TRAINING_PHASES
    }
    phases = [phase for phase in TRAINING_PHASES if longest[phase]]
    if not phases:
        return None
    held_out, train = (
        np.stack(
            [
                np.concatenate([_mean(of_task[phase], longest[phase], value) for phase in phases])
                for of_task in points.values()
            ]
        )
        for value in (_held_out, _train)
    )
    if np.isnan(held_out).all(axis=0).any() or np.isnan(train).all(axis=0).any():
        return None
    kept = [value for (task, _), value in item.accuracy_when_learned.items() if task in points]
    ends = np.cumsum([longest[phase] for phase in phases]).tolist()
    return Curves(held_out, train, tuple(zip(phases, ends, strict=True)), sum(kept) / len(kept))


def _held_out(point: CurvePoint) -> float:
    for value in (point.validation, point.test, point.train):
        if value is not None:
            return float(value)
    return float("nan")


def _train(point: CurvePoint) -> float:
    return float(point.train) if point.train is not None else float("nan")


def _mean(
    curves: Sequence[Sequence[CurvePoint]], longest: int, value: Callable[[CurvePoint], float]
) -> NDArray[np.float64]:
    """Mean over seeds, float64 (longest,); NaN where no seed has the epoch."""
    padded = np.full((len(curves), longest), np.nan)
    for row, curve in zip(padded, curves, strict=True):
        row[: len(curve)] = [value(point) for point in curve]
    known = ~np.isnan(padded)
    sums = np.where(known, padded, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.divide(
        sums, known.sum(axis=0), out=np.full(longest, np.nan), where=known.any(axis=0)
    )
    return mean
