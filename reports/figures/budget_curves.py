"""Accuracy at equal epochs and at equal training seconds: what each method would have with the same budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports.equal_budget import Budget, Budgets, equal_budgets
from reports.figures.canvas import Drawing, blank, drawn_as, from_where, legend, logarithmic
from reports.formats import number, written
from reports.grouping import Panel
from reports.naming import short
from reports.tables.ranking import main_hardware
from reports.timing_caveats import caveats_in_brief


def budget_curves(panel: Panel) -> list[Drawing]:
    """One drawing; none where fewer than two methods have learning curves."""
    found = equal_budgets(panel)
    if found is None:
        return []
    timed = len(found.seconds) > 1
    figure, axes = blank(1, 2 if timed else 1, height=4.2, width=10.0 if timed else 6.5, sharey=True)
    for budget in found.epochs:
        _draw(axes[0], budget, "default")
    axes[0].set_xlabel("Epochs of a task")
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    hardware = main_hardware(panel)
    if timed:
        for budget in found.seconds:
            _draw(axes[1], budget, "steps-post")
        logarithmic(axes[1], "x", fine=_span(found.seconds) < 100)
        axes[1].set_xlabel(f"Training seconds of a task\n({short(hardware.label if hardware else '', 60)})")
    axes[0].set_ylabel(f"{' or '.join(found.on).capitalize()} accuracy in percent{from_where(axes[0])}")
    legend(figure, axes[0])
    return [
        Drawing(
            key=f"{panel.slug}-equal-budgets",
            title="Accuracy at equal budgets",
            caption=_caption(found)
            + (caveats_in_brief(panel.configurations, hardware) if hardware and timed else "")
            + ".",
            alt=_in_words(found),
            figure=figure,
            csv=_csv(found),
            folded=True,
        )
    ]


def _draw(axis: Axes, budget: Budget, steps: str) -> None:
    own = budget.at <= budget.end * (1 + 1e-6)
    look = drawn_as(budget.item)
    axis.plot(budget.at[own], 100 * budget.accuracy[own], drawstyle=steps, markevery=[int(own.sum()) - 1], **look)
    after = budget.at >= budget.at[own][-1]
    axis.plot(
        budget.at[after], 100 * budget.accuracy[after], color=look["color"], linestyle=":", linewidth=0.9, label="_"
    )  # fmt: skip


def _span(budgets: Sequence[Budget]) -> float:
    return float(max(one.at[-1] for one in budgets) / min(one.at[0] for one in budgets))


def _caption(found: Budgets) -> str:
    tasks = len(found.tasks)
    test = ", on which epochs were chosen," if found.on == ("test",) else " (on which epochs were chosen)"
    images = " or ".join(f"{name} images{test if name == 'test' else ''}" for name in reversed(found.on))
    return (
        f"Accuracy on {images} that a task has reached after so many epochs, and after so many training seconds: the "
        "best so far of the phase under way (for a method that prunes and goes back: of all), mean over the "
        f"{tasks} task{'' if tasks == 1 else 's'} that every method trained, and over seeds. A mark ends the training "
        "of a method's longest task; dotted is what it stopped with. A task's epochs count as equally long"
    )


def _in_words(found: Budgets) -> str:
    """At the budget at which the first method ends: all that is needed to compare."""
    parts = []
    for name, budgets in (("epochs", found.epochs), ("seconds", found.seconds)):
        if budgets:
            end = min(one.end for one in budgets)
            known = [one for one in budgets if one.at[0] <= end]
            values = [
                f"{one.item.label} {100 * one.accuracy[np.flatnonzero(one.at <= end * (1 + 1e-6))[-1]]:.1f}"
                for one in known
            ]
            parts.append(f"After {end:.3g} {name} of a task, in percent: {', '.join(values)}.")
    return " ".join(parts)


def _csv(found: Budgets) -> str:
    return written(
        ("configuration", "budget", "at", "accuracy", "ended"),
        [
            (one.item.label, name, number(float(at)), number(float(value)), "yes" if at > one.end * (1 + 1e-6) else "")
            for name, budgets in (("epochs", found.epochs), ("seconds", found.seconds))
            for one in budgets
            for at, value in zip(one.at, one.accuracy, strict=True)
        ],
    )
