"""The figures: each module returns drawings, ``canvas`` saves them in every format."""

from __future__ import annotations

from pathlib import Path

from reports.figures import canvas, cost, curves, forgetting, initial, masks, matrix, tradeoff
from reports.grouping import Panel
from reports.page import FigureView

#: In the order in which the page shows them.
KINDS = (
    cost.training_cost,
    tradeoff.tradeoff,
    matrix.accuracy_matrices,
    forgetting.forgetting,
    curves.learning_curves,
    initial.initial_tasks,
    masks.mask_ratios,
)


def draw(panel: Panel, folder: Path, prefix: str) -> tuple[FigureView, ...]:
    """Draw every figure that the panel's records allow, into ``folder``; ``prefix`` leads there from the page."""
    with canvas.style():
        return tuple(canvas.save(drawing, folder, prefix) for kind in KINDS for drawing in kind(panel))
