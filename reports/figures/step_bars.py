"""Where a training step's time goes: one bar a contender, its parts in colours, peers in one grey piece."""

from __future__ import annotations

from matplotlib.axes import Axes

from reports.figures.canvas import Drawing, blank
from reports.method_facts import Methods
from reports.naming import short
from reports.step_times import PARTS, StepRow, Steps
from reports.style import GRID, INK, PART_INKS
from reports.tables.step_sheet import contender

#: what the legend says besides the parts
NOT_APART, FLOOR = "not taken apart", "floor"


def step_times(steps: Steps, methods: Methods) -> Drawing:
    """One panel per batch size."""
    sizes = sorted({row.batch_size for row in steps.rows})
    most = max(sum(row.batch_size == size for row in steps.rows) for size in sizes)
    figure, axes = blank(1, len(sizes), height=1.6 + 0.3 * most)
    for axis, size in zip(axes, sizes, strict=True):
        _bars(axis, [row for row in steps.rows if row.batch_size == size], methods)
        axis.set_title(f"Batch size {size}")
    named = dict(zip(*axes[0].get_legend_handles_labels()[::-1], strict=True))
    order = [name for name in (*PARTS, NOT_APART, FLOOR) if name in named]
    figure.legend([named[name] for name in order], order, loc="outside lower left", ncols=4)
    medians = "; ".join(f"{_label(row, methods)} (batch {row.batch_size}) {row.ms:.3g} ms" for row in steps.rows)
    return Drawing(
        key=f"{steps.key}-figure",
        title=f"Where a training step's time goes: {steps.name}",
        caption=f"{steps.setting}, on {steps.device}. Bars: the median step; whiskers: the range over rounds; grey: "
        "contenders that are not taken apart; upright marks: the floor.",
        alt=f"Milliseconds per training step. {medians}.",
        figure=figure,
    )


def _bars(axis: Axes, rows: list[StepRow], methods: Methods) -> None:
    places = list(range(len(rows)))
    left = [0.0] * len(rows)
    for part in PARTS:
        widths = [row.parts.get(part, 0.0) for row in rows]
        axis.barh(places, widths, left=left, color=PART_INKS[part].light, label=part, height=0.7)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    whole = [row.ms - done for row, done in zip(rows, left, strict=True) if not row.parts]
    apart = [place for place, row in zip(places, rows, strict=True) if not row.parts]
    if apart:
        axis.barh(apart, whole, color=GRID.light, label=NOT_APART, height=0.7)
    reach = [[row.ms - row.lowest for row in rows], [row.highest - row.ms for row in rows]]
    axis.errorbar([row.ms for row in rows], places, xerr=reach, fmt="none", ecolor=INK.light, elinewidth=0.8)
    floors = [(row.floor_ms, place) for place, row in zip(places, rows, strict=True) if row.floor_ms is not None]
    if floors:
        x, y = zip(*floors, strict=True)
        axis.scatter(x, y, marker="|", s=110, color=INK.light, label=FLOOR, zorder=3)
    axis.set_yticks(places, [short(_label(row, methods)) for row in rows])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("Milliseconds per step")


def _label(row: StepRow, methods: Methods) -> str:
    return contender(row, methods) + (f", BN {row.bn_policy}" if row.label != row.method else "")
