"""Accuracy against training time and against model size, with the Pareto front marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from reports.figures.canvas import Drawing, blank, drawn_as, from_where, legend, logarithmic, within_percent
from reports.grouping import Panel
from reports.naming import short
from reports.setting import drawn
from reports.soundness import signs, signs_in_words
from reports.statistics import Interval
from reports.style import MUTED
from reports.tables.model_size import MIB
from reports.tables.ranking import Ranked, main_hardware, ranking
from reports.timing_caveats import caveats_in_brief

Point = tuple[float, float]
#: Points below the best method down to which the second row reaches.
ZOOM = 8.0


@dataclass(frozen=True)
class Placed:
    """A method and one of its costs; ``scale`` turns the cost into the axis's unit."""

    ranked: Ranked
    cost: Interval
    scale: float

    @property
    def point(self) -> Point:
        """(cost, accuracy in percent)."""
        return self.cost.mean * self.scale, 100 * self.ranked.accuracy.mean


def tradeoff(panel: Panel) -> list[Drawing]:
    """One drawing with an axis per cost that was recorded; none where fewer than two methods can be placed.

    Methods far below the best (twice ``ZOOM`` points) squeeze all others together; a second row then shows the upper
    end alone.
    """
    shown = {item.label for item in drawn(panel)}
    ranked = [item for item in ranking(panel) if item.configuration.label in shown]
    hardware = main_hardware(panel)
    times = [Placed(item, item.in_all, 1.0) for item in ranked if item.in_all and item.in_all.mean > 0]
    sizes = [Placed(item, item.size, 1 / MIB) for item in ranked if item.size and item.size.mean > 0]
    kinds = [
        (f"Training seconds, all tasks\n({short(hardware.label if hardware else '', 60)})", times),
        ("Model size in MiB", sizes),
    ]
    kinds = [(label, rows) for label, rows in kinds if len(rows) > 1]
    if not kinds:
        return []
    floor = ranked[0].accuracy.mean - ZOOM / 100
    squeezed = ranked[0].accuracy.mean - ranked[-1].accuracy.mean >= 2 * ZOOM / 100
    zoomed = squeezed and sum(item.accuracy.mean >= floor for item in ranked) >= 3
    rows, columns = (2 if zoomed else 1), len(kinds)
    figure, axes = blank(rows, columns, height=3.9 * rows, width=10.0 if columns > 1 else 7.0, sharey="row")
    words = []
    for place, (label, placed) in enumerate(kinds):
        front = _draw(panel, axes[place], placed)
        words.append(f"{label.splitlines()[0]}: on the Pareto front are {', '.join(front)}.")
        if zoomed:
            _draw(panel, axes[columns + place], [item for item in placed if item.ranked.accuracy.mean >= floor])
            axes[columns].set_title(f"The same, within {ZOOM:g} points of the best")
            axes[columns].set_ylim(100 * floor - 0.6, 100 * ranked[0].accuracy.mean + 0.6)  # whiskers may leave it
        axes[columns * (rows - 1) + place].set_xlabel(label)
    within_percent(axes[0])
    for row in range(rows):
        axes[row * columns].set_ylabel(f"Mean accuracy in percent{from_where(axes[row * columns])}")
    legend(figure, axes[0])
    marked = signs_in_words(panel, [item.configuration for item in ranked])
    return [
        Drawing(
            key=f"{panel.slug}-tradeoff",
            title="Accuracy against cost",
            caption="Up and to the left is better. Dashed: the Pareto front; methods on it (ringed) are beaten "
            "by no other in accuracy and cost at once. Whiskers are 95 % t-intervals over seeds; sizes are itemised"
            + (caveats_in_brief(panel.configurations, hardware) if hardware else "")
            + "."
            + (f" {marked}: see the remarks under the ranking." if marked else "")
            + (
                ""
                if all(item.configuration.trains for item in ranked)
                else " Methods that start from another run's networks stand at the seconds of both."
            ),
            alt=" ".join(words),
            figure=figure,
        )
    ]


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Positions of the points (cost, gain) that no other point beats, by rising cost.

    A point is beaten by one that costs no more and gains no less, and is better in one of the two.
    """
    front: list[int] = []
    best = float("-inf")
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[place][1] > best:
            front.append(place)
            best = points[place][1]
    return front


def _draw(panel: Panel, axis: Axes, placed: Sequence[Placed]) -> list[str]:
    """Draw the methods and their front; the labels of those on it."""
    for item in placed:
        shown: dict[str, Any] = drawn_as(item.ranked.configuration)
        shown["label"] = f"{shown['label']} {signs(panel, item.ranked.configuration)}".rstrip()
        shown |= {"linestyle": "none", "markersize": 7, "alpha": 0.9, "elinewidth": 0.8}
        shown |= {
            "xerr": (item.cost.half_width or 0) * item.scale,
            "yerr": 100 * (item.ranked.accuracy.half_width or 0),
        }
        axis.errorbar([item.point[0]], [item.point[1]], **shown)
    points = [item.point for item in placed]
    front = pareto_front(points)
    xs, ys = [points[i][0] for i in front], [points[i][1] for i in front]
    axis.step(xs, ys, where="post", color=MUTED.light, linestyle="--", linewidth=1, zorder=0, label="_")
    axis.plot(xs, ys, zorder=0, label="_", linestyle="none", marker="o", markersize=14, mfc="none", color=MUTED.light)
    spread = max(x for x, _ in points) / min(x for x, _ in points)
    if spread > 4:
        logarithmic(axis, "x", fine=spread < 300)
    axis.margins(0.12)
    return [placed[i].ranked.configuration.label for i in front]
