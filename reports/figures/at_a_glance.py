"""Accuracy against training time in one small picture with the methods' names at their points: the first screen's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from reports.figures.canvas import Drawing, blank, drawn_as, from_where, logarithmic, within_percent
from reports.figures.tradeoff import pareto_front
from reports.grouping import Panel
from reports.naming import short
from reports.setting import MOST_DRAWN
from reports.style import INK, MUTED, PAPER
from reports.tables.ranking import Ranked, ranking
from results.schema import FROM_SCRATCH

#: where a name may stand beside its point, in points: the first place that is free is taken
_PLACES = ((7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 8, "center", "bottom"), (0, -8, "center", "top"),
           (6, 8, "left", "bottom"), (-6, 8, "right", "bottom"), (6, -8, "left", "top"), (-6, -8, "right", "top"),
           (10, 16, "left", "bottom"), (-10, 16, "right", "bottom"), (10, -16, "left", "top"),
           (-10, -16, "right", "top"))  # fmt: skip
_LETTERS = 30


def at_a_glance(panel: Panel) -> Drawing | None:
    """The picture beside the answers; None where fewer than two methods were timed."""
    ranked = ranking(panel)
    placed = [
        item
        for item in ranked
        if item.in_all and item.in_all.mean > 0 and item.configuration.facts.reference != FROM_SCRATCH
    ][:MOST_DRAWN]
    if len(placed) < 2:
        return None
    figure, (axis,) = blank(height=3.9, width=5.4)
    points = [(item.in_all.mean, 100 * item.accuracy.mean) for item in placed if item.in_all]
    for item, (seconds, accuracy) in zip(placed, points, strict=True):
        style = drawn_as(item.configuration) | {"linestyle": "none", "markersize": 8, "zorder": 3}
        axis.errorbar([seconds], [accuracy], yerr=100 * (item.accuracy.half_width or 0), elinewidth=0.8, **style)
    front = pareto_front(points)
    xs, ys = [points[i][0] for i in front], [points[i][1] for i in front]
    axis.step(xs, ys, where="post", color=MUTED.light, linestyle="--", linewidth=0.9, zorder=1)
    lines = _lines(panel, ranked)
    if max(xs[0] for xs in points) / min(xs[0] for xs in points) > 4:
        logarithmic(axis, "x", fine=True)
    axis.margins(0.16)
    for _, height, line in lines:
        axis.axhline(height, color=MUTED.light, linewidth=1, linestyle=line, zorder=1)
    within_percent(axis)
    axis.set_xlabel("Training seconds, all tasks")
    axis.set_ylabel(f"Mean accuracy in percent{from_where(axis)}")
    _name(axis, placed, points, lines, [points[i] for i in front])
    words = "; ".join(
        f"{item.configuration.label} {accuracy:.1f} percent after {seconds:,.3g} seconds"
        for item, (seconds, accuracy) in zip(placed, points, strict=True)
    )
    references = [name for name, _, _ in lines]
    return Drawing(
        key=f"{panel.slug}-at-a-glance",
        title="Accuracy against training time",
        caption=_better(placed, front)
        + (f" The {MOST_DRAWN} most accurate." if len(ranked) > MOST_DRAWN else "")
        + (f" {'Line' if len(references) == 1 else 'Lines'}: {' and '.join(references)}." if references else ""),
        alt=f"{words}." + "".join(f" {name}: {height:.1f} percent." for name, height, _ in lines),
        figure=figure,
    )


def _better(placed: Sequence[Ranked], front: Sequence[int]) -> str:
    if len(front) > 1:
        return "Up and to the left is better; nothing beats the methods on the dashed line in both."
    return f"Up and to the left is better; nothing beats {placed[front[0]].configuration.label} in either."


def _lines(panel: Panel, ranked: Sequence[Ranked]) -> list[tuple[str, float, str]]:
    """What accuracies are measured by, in percent: guessing, and training from scratch where it was run."""
    found = [("chance", chance, ":")] if (chance := _chance(panel)) is not None else []
    for item in ranked:
        if item.configuration.facts.reference == FROM_SCRATCH:
            found.append((item.configuration.label.lower(), 100 * item.accuracy.mean, (0, (6, 3))))  # type: ignore[arg-type]
            break
    return found


def _chance(panel: Panel) -> float | None:
    """What guessing gets right, in percent, mean over the tasks; None where a number of classes is not known."""
    rows = {row.index: row.classes for run in panel.runs for row in run.tasks}
    classes = [rows.get(task.index, 0) for task in panel.tasks]
    return 100 * sum(1 / count for count in classes) / len(classes) if classes and all(classes) else None


def _name(
    axis: Axes,
    placed: Sequence[Ranked],
    points: Sequence[tuple[float, float]],
    lines: Sequence[tuple[str, float, str]],
    front: Sequence[tuple[float, float]],
) -> None:
    """Write every name where it covers neither a point nor another name, and on no line if it can be; what finds no
    place goes without."""
    figure = axis.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    renderer = figure._get_renderer()  # type: ignore[union-attr]
    frame = axis.get_window_extent(renderer)
    at = [tuple(axis.transData.transform(point)) for point in points]
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in at]
    for name, height, _ in lines:
        text = axis.annotate(name, (1, height), xycoords=("axes fraction", "data"), xytext=(-3, 2),
                             textcoords="offset points", ha="right", va="bottom", fontsize=8,
                             color=MUTED.light)  # fmt: skip
        taken.append(text.get_window_extent(renderer))
    drawn = _lines_drawn(axis, frame, [height for _, height, _ in lines], front)
    for place, item in enumerate(placed):
        own = taken[place]
        for (dx, dy, across, up), avoided in [*((spot, drawn) for spot in _PLACES), *((spot, ()) for spot in _PLACES)]:
            text = axis.annotate(short(item.configuration.label, _LETTERS), points[place], xytext=(dx, dy),
                                 textcoords="offset points", ha=across, va=up, fontsize=8.5, color=INK.light,
                                 path_effects=[withStroke(linewidth=2.5, foreground=PAPER.light)])  # fmt: skip
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            others = [other for other in taken if other is not own]
            if inside and not any(box.overlaps(other) for other in (*others, *avoided)):
                taken.append(box)
                break
            text.remove()


def _lines_drawn(axis: Axes, frame: Bbox, heights: Sequence[float], front: Sequence[tuple[float, float]]) -> list[Bbox]:
    """Where the horizontal lines and the steps of the front run, in pixels."""
    across = [axis.transData.transform((front[0][0], height))[1] for height in heights]
    found = [Bbox.from_extents(frame.x0, y - 1, frame.x1, y + 1) for y in across]
    corners = [tuple(axis.transData.transform(point)) for point in front]
    for (x, y), (right, top) in pairwise(corners):
        found += [Bbox.from_extents(x, y - 1, right, y + 1), Bbox.from_extents(right - 1, y, right + 1, top)]
    return found
