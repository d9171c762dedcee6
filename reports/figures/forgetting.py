"""Forgetting: how the mean accuracy over the tasks learned so far develops, and what each method lost in the end."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from reports.figures.canvas import LABEL, Drawing, blank, drawn_as, from_where, legend
from reports.figures.matrix import mean_matrix
from reports.grouping import Panel
from reports.naming import short
from reports.setting import drawn
from reports.statistics import mean_interval


def forgetting(panel: Panel) -> list[Drawing]:
    """One drawing; none for a single task."""
    found = [(item, matrix) for item in drawn(panel) if (matrix := mean_matrix(item)) is not None]
    if not found or len(panel.tasks) < 2:
        return []
    figure, axes = blank(1, 2, height=max(3.4, 0.9 + 0.3 * len(found)), width_ratios=(1.5, 1))
    for item, matrix in found:
        so_far = [100 * float(np.nanmean(matrix[row, : row + 1])) for row in range(len(matrix))]
        axes[0].plot(range(1, len(matrix) + 1), so_far, **drawn_as(item) | {"markersize": 4})
    axes[0].set_title("Mean accuracy over the tasks learned so far")
    axes[0].set_xlabel("Tasks learned")
    axes[0].set_ylabel(f"Percent{from_where(axes[0])}")
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    words = []
    for place, (item, _) in enumerate(found):
        interval = mean_interval(run.forgetting for run in item.runs if run.forgetting is not None)
        if interval:
            colour = item.facts.look.light
            whiskers = {"elinewidth": 0.8, "ecolor": colour}
            width, reach = 100 * interval.mean, 100 * (interval.half_width or 0)
            axes[1].barh(place, width, xerr=reach, color=colour, height=0.62, error_kw=whiskers)
            beside = (max(width, 0) + reach, place)
            axes[1].annotate(f"{width:.1f}", beside, xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)
            words.append(f"{item.label} {100 * interval.mean:.1f} points")
    axes[1].set_yticks(range(len(found)), [short(item.label, LABEL) for item, _ in found])
    axes[1].invert_yaxis()
    axes[1].grid(axis="y", visible=False)
    axes[1].margins(x=0.18)
    axes[1].set_xlim(left=min(0.0, axes[1].get_xlim()[0]), right=max(1.0, axes[1].get_xlim()[1]))
    axes[1].set_title("Forgetting at the end")
    axes[1].set_xlabel("Points")
    if len(found) > 1:
        legend(figure, axes[0])
    return [
        Drawing(
            key=f"{panel.slug}-forgetting",
            title="Forgetting",
            caption="Left: mean accuracy over the tasks learned so far, mean over seeds (it moves with the tasks' "
            "difficulty, too). Right: mean loss between learning a task and the end, 95 % t-interval over seeds.",
            alt=f"Forgetting at the end: {'; '.join(words)}.",
            figure=figure,
            folded=True,
        )
    ]
