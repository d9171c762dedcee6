"""The figures: each module returns drawings, ``canvas`` saves them in every format."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

from reports.figures import (
    budget_curves,
    canvas,
    curves,
    forgetting,
    initial,
    mask_layers,
    matrix,
    profiles,
    sensitivity,
    tradeoff,
    training_cost,
)
from reports.grouping import Panel
from reports.page import FigureView

#: In the order in which the page shows them.
KINDS = (
    training_cost.training_cost,
    tradeoff.tradeoff,
    sensitivity.sensitivity,
    matrix.accuracy_matrices,
    forgetting.forgetting,
    curves.learning_curves,
    initial.initial_tasks,
    mask_layers.mask_ratios,
    budget_curves.budget_curves,
    profiles.profiles,
)

#: Those that say nothing of accuracies, for runs on generated images.
OF_COST = (training_cost.training_cost, mask_layers.mask_ratios)

#: From so many figures on, a second process draws half of them.
WORTH_A_SECOND_PROCESS = 6

#: Set before the second process is forked, so that it inherits the panels instead of receiving them.
_inherited: list[tuple[Panel, int, Path, str]] = []


def draw(panels: Sequence[Panel], folder: Path, prefix: str) -> list[tuple[FigureView, ...]]:
    """Draw every figure that the panels' records allow, into ``folder``; ``prefix`` leads there from the page.

    One tuple of figures per panel, in the order of ``KINDS``.
    """
    jobs = [(panel, kind, folder, prefix) for panel in panels for kind in range(len(KINDS))]  # some draw nothing
    drawn = (
        _with_second_process(jobs) if _may_fork() and len(jobs) >= WORTH_A_SECOND_PROCESS else list(map(_draw, jobs))
    )
    kinds = len(KINDS)
    return [
        tuple(view for views in drawn[number * kinds : (number + 1) * kinds] for view in views)
        for number in range(len(panels))
    ]


def _draw(job: tuple[Panel, int, Path, str]) -> tuple[FigureView, ...]:
    panel, kind, folder, prefix = job
    if panel.synthetic and KINDS[kind] not in OF_COST:
        return ()
    with canvas.style():
        views = tuple(canvas.save(drawing, folder, prefix, panel.looks) for drawing in KINDS[kind](panel))
    gc.collect()  # figures are cycles with megabytes of pixels behind them
    return views


def _may_fork() -> bool:
    """Forking is safe with one thread only, and worth it with a second core only."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return cores > 1 and threading.active_count() == 1 and "fork" in multiprocessing.get_all_start_methods()


def _with_second_process(jobs: list[tuple[Panel, int, Path, str]]) -> list[tuple[FigureView, ...]]:
    _inherited[:] = jobs
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _end_with_parent) as second:
            waiting = [second.submit(_draw_inherited, place) for place in range(len(jobs))]
            # The second process works from the front; this one takes from the back whatever has not begun.
            own = {place: _draw(jobs[place]) for place in reversed(range(len(jobs))) if waiting[place].cancel()}
            return [own[place] if place in own else _result(place, future) for place, future in enumerate(waiting)]
    except BrokenProcessPool:  # it ended before it had heard of all
        return list(map(_draw, jobs))
    finally:
        _inherited.clear()


def _result(place: int, future: Future[tuple[FigureView, ...]]) -> tuple[FigureView, ...]:
    """What the second process drew; drawn here where it was killed, for want of memory, say."""
    try:
        return future.result()
    except BrokenProcessPool:
        return _draw_inherited(place)


def _end_with_parent() -> None:
    """The second process ends when the first was killed; it would wait for more to draw for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _draw_inherited(place: int) -> tuple[FigureView, ...]:
    return _draw(_inherited[place])
