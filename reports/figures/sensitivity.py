"""Accuracy against rate: what every trial of ``tune`` reached, one small axis per method."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports.figures.canvas import Drawing, blank, logarithmic
from reports.formats import number, written
from reports.grouping import Panel
from reports.naming import in_lines, key_title, short, value_title
from reports.setting import MOST_DRAWN
from reports.style import INK, MUTED
from reports.trials import FAILED, FINISHED, PRUNED, Search, Trial, searches

ACROSS = 4
#: how schedules are told apart: filled first
FILLS = ("full", "none", "left", "top")
SCHEDULE = "settings.schedule"
#: sizes of a trial, of the chosen one, and of the ring around the protocol's own
SMALL, LARGE, RING = 5.5, 8.5, 14


def sensitivity(panel: Panel) -> list[Drawing]:
    """One drawing; none where no trial of the panel's setting is known."""
    found = searches(panel)[:MOST_DRAWN]
    if not found:
        return []
    words = (trial.settings.get(SCHEDULE) for search in found for trial in search.trials)
    schedules = sorted({str(word) for word in words if word is not None}, reverse=True)  # step before cosine
    fills = {word: FILLS[place % len(FILLS)] for place, word in enumerate(schedules)}
    down = math.ceil(len(found) / ACROSS)
    across = math.ceil(len(found) / down)
    figure, axes = blank(
        down, across, height=0.9 + 2.2 * down, width=max(2.5 * across, 5.5) if across > 1 else 5.0, sharey=True
    )
    for axis, search in zip(axes, found, strict=False):
        _draw(axis, search, fills)
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for row in range(down):
        axes[row * across].set_ylabel("Validation accuracy\nin percent")
    handles = _handles(found, fills)
    figure.legend(handles=handles, loc="outside lower left", ncols=4 if across > 2 else 2)
    return [
        Drawing(
            key=f"{panel.slug}-rates",
            title="Accuracy against rate",
            caption=_caption(found),
            alt="Validation accuracy of the trials. " + "; ".join(_in_words(search) for search in found) + ".",
            figure=figure,
            csv=_csv(found),
        )
    ]


def _draw(axis: Axes, search: Search, fills: dict[str, str]) -> None:
    colour = search.facts.look.light
    if search.own_rate is not None:
        axis.axvline(search.own_rate, color=MUTED.light, linestyle=":", linewidth=1.1, zorder=1)
    for trial in search.trials:
        if trial.score is None:
            axis.plot(
                [trial.rate], [0.03], marker="x", color=MUTED.light, markersize=SMALL, linestyle="none",
                transform=axis.get_xaxis_transform(),
            )  # fmt: skip
            continue
        place = [trial.rate], [100 * trial.score]
        axis.plot(
            *place, marker="o", linestyle="none", color=colour, fillstyle=_fill(trial, fills),
            markersize=LARGE if trial.chosen else SMALL, zorder=3,
        )  # fmt: skip
        if trial.own:
            axis.plot(
                *place, marker="o", linestyle="none", fillstyle="none", color=INK.light, markersize=RING, zorder=2
            )
    axis.margins(x=0.12, y=0.12)
    logarithmic(axis, "x", coarse=True)
    axis.set_xlabel(short(key_title(search.axis)))
    axis.set_title(in_lines(search.facts.title), fontsize=8.5)


def _fill(trial: Trial, fills: dict[str, str]) -> str:
    return fills.get(str(trial.settings.get(SCHEDULE)), FILLS[0])


def _handles(found: tuple[Search, ...], fills: dict[str, str]) -> list[Line2D]:
    """What signs mean; colours are told by the titles."""
    rings = any(trial.own for search in found for trial in search.trials)
    chosen = any(trial.chosen for search in found for trial in search.trials)
    lost = any(trial.score is None for search in found for trial in search.trials)
    signs: list[tuple[str, dict[str, object]]] = []
    if len(fills) > 1:
        signs += [
            (f"schedule {value_title(word)}", {"fillstyle": fill, "markersize": SMALL}) for word, fill in fills.items()
        ]
    signs += [("the protocol's own rate", {"fillstyle": "none", "markersize": 11, "color": INK.light})] if rings else []
    signs += [("the settings chosen", {"markersize": LARGE})] if chosen else []
    signs += [("given up early, or failed", {"marker": "x", "markersize": SMALL})] if lost else []
    usual = {"marker": "o", "linestyle": "none", "color": MUTED.light}
    return [Line2D([], [], label=label, **(usual | sign)) for label, sign in signs]  # type: ignore[arg-type]


def _caption(found: tuple[Search, ...]) -> str:
    tasks = sorted({search.tasks for search in found})
    counts = sorted({len(search.trials) for search in found})
    pruned, failed = (sum(search.count(status) for search in found) for status in (PRUNED, FAILED))
    lost = [f"{pruned} given up after fewer tasks"] if pruned else []
    lost += [f"{failed} failed"] if failed else []
    return (
        f"Every point is a trial of tune: {_range(counts)} a method, mean accuracy on validation images of "
        f"{_range(tasks)} task{'' if tasks == [1] else 's'}; no test image was seen. Trials vary other settings "
        "too, so points at one rate may differ."
        + (f" Crosses at the lower edge: {' and '.join(lost)}." if lost else "")
        + (
            ""
            if all(search.own_rate for search in found)
            else " Where nothing is ringed the protocol's rate is unknown."
        )
    )


def _range(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _in_words(search: Search) -> str:
    best = max((trial for trial in search.trials if trial.score is not None), key=lambda trial: trial.score or 0.0)
    own = next((trial for trial in search.trials if trial.own and trial.score is not None), None)
    name = key_title(search.axis)
    text = f"{search.facts.title}: best {100 * (best.score or 0.0):.1f} percent at {name} {best.rate:g}"
    return text + (f", {100 * (own.score or 0.0):.1f} at the protocol's own {own.rate:g}" if own else "")


def _csv(found: tuple[Search, ...]) -> str:
    header = ("method", "run_id", "setting", "value", "schedule", "settings", "tasks", "status", "validation_accuracy",
              "protocol", "chosen")  # fmt: skip
    return written(
        header,
        [
            (
                search.facts.name, trial.run.run_id, search.axis, number(trial.rate), trial.settings.get(SCHEDULE, ""),
                "; ".join(f"{key}={trial.settings.get(key)}" for key in search.varied),
                search.tasks if trial.status == FINISHED else "", trial.status, number(trial.score),
                "yes" if trial.own else "", "yes" if trial.chosen else "",
            )
            for search in found
            for trial in search.trials
        ],
    )  # fmt: skip
