"""Performance profiles: in which share of (task, seed) pairs a method is within so many points of the best one there.

Dolan and Moré, "Benchmarking optimization software with performance profiles" (Mathematical Programming 91, 2002), in
differences of accuracy instead of ratios of time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reports.configuration import Configuration
from reports.figures.canvas import Drawing, blank, drawn_as, legend
from reports.formats import number, written
from reports.grouping import Panel
from reports.setting import drawn

#: points beyond which the figure is cut
FARTHEST = 20.0


#: configurations with their points behind the best, float64 (pairs,), ascending
Gaps = list[tuple[Configuration, NDArray[np.float64]]]


def gaps_to_best(panel: Panel) -> Gaps:
    """Points behind the best of all at each (task, seed) that every configuration has.

    Empty where there are fewer than two configurations, or pairs.
    """
    items = drawn(panel)
    shared = sorted(set.intersection(*(set(item.accuracy) for item in items))) if items else []
    if len(items) < 2 or len(shared) < 2:
        return []
    accuracy = np.array([[item.accuracy[key] for key in shared] for item in items])
    gaps = np.sort(np.round(100 * (accuracy.max(axis=0) - accuracy), 9), axis=1)
    return list(zip(items, gaps, strict=True))


def share_within(gaps: NDArray[np.float64], points: float) -> float:
    """Share of the pairs whose gap is at most so many points."""
    return float((gaps <= points).mean())


def profiles(panel: Panel) -> list[Drawing]:
    """One drawing; none for a single method."""
    found = gaps_to_best(panel)
    if not found:
        return []
    figure, (axis,) = blank(height=4.2, width=7.0)
    largest = max(gaps[-1] for _, gaps in found)
    reach = min(FARTHEST, 1.05 * largest) or 1.0
    for item, gaps in found:
        points = np.unique(np.concatenate([[0.0], gaps[gaps <= reach], [reach]]))
        shares = [100 * share_within(gaps, point) for point in points]
        axis.plot(points, shares, drawstyle="steps-post", markevery=[0], clip_on=False, **drawn_as(item))
    axis.set_xlim(0, reach)
    axis.set_ylim(0, 101)
    axis.set_xlabel("Points behind the best method, at most")
    axis.set_ylabel("Percent of (task, seed) pairs")
    legend(figure, axis, columns=3)
    pairs = len(found[0][1])
    best = ", ".join(f"{item.label} {100 * share_within(gaps, 0):.0f}" for item, gaps in found)
    near = ", ".join(f"{item.label} {100 * share_within(gaps, 1):.0f}" for item, gaps in found)
    return [
        Drawing(
            key=f"{panel.slug}-profiles",
            title="Performance profiles",
            caption=f"Share of the {pairs} (task, seed) pairs in which a method is at most so many points below the "
            "best method of that pair, after the last task; the higher the better. At zero: where it is the best "
            "itself; equals all count."
            + (f" Cut at {FARTHEST:g} points." if largest > FARTHEST else "")
            + " After Dolan and Moré (2002), in points instead of ratios.",
            alt=f"Percent of pairs in which a method is the best: {best}. Within one point of it: {near}.",
            figure=figure,
            csv=_csv(found),
            folded=True,
        )
    ]


def _csv(found: Gaps) -> str:
    return written(
        ("configuration", "points", "share"),
        [
            (item.label, number(float(points)), number(share_within(gaps, points)))
            for item, gaps in found
            for points in np.unique(np.concatenate([[0.0], gaps]))
        ],
    )
