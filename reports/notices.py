"""What to know before a number is taken at its word: a few words on the first screen, a sentence behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.grouping import Panel
from reports.naming import listed, plural
from reports.records import Loaded
from reports.setting import departures, drawn
from reports.tables import cost
from reports.tables.synthetic_cost import NOTICE


@dataclass(frozen=True)
class Notice:
    """``brief`` stands in a list on one line, ``text`` is a whole sentence."""

    brief: str
    text: str


def of_report(loaded: Loaded, left_out: Sequence[str], caveats: Sequence[str]) -> tuple[Notice, ...]:
    """Of the records as a whole. ``caveats``: of methods, a sentence each."""
    found = []
    if loaded.failed:
        count = plural(len(loaded.failed), "run")
        found.append(Notice(f"{count} failed", f"{count} failed; nothing of them is in any number (see Failed runs)."))
    if left_out:
        count = plural(len(left_out), "record")
        text = f"{count} left out: {left_out[0]}{' …' if len(left_out) > 1 else ''}"
        found.append(Notice(f"{count} left out", text))
    if not loaded.finished:
        found.append(Notice("no run finished", "No run finished: there is nothing to tabulate."))
    found += [Notice("a note on " + text.partition(": ")[0], text) for text in caveats]
    return tuple(found)


def of_panel(panel: Panel) -> tuple[Notice, ...]:
    """Of one setting."""
    found = [Notice("synthetic data", NOTICE)] if panel.synthetic else []
    if panel.setting.get("selection") == "legacy-test" and not panel.synthetic:
        found.append(
            Notice(
                "epochs chosen on test images",
                "legacy-test: epochs were selected on the test set, as the official codes do; accuracies are "
                "optimistic.",
            )
        )
    if len(shown := drawn(panel)) < len(panel.configurations):
        found.append(
            Notice(
                f"figures show {len(shown)} of {len(panel.configurations)} configurations",
                f"Figures show {len(shown)} of {len(panel.configurations)} configurations, those with a method's own "
                "mask first; the tables have all.",
            )
        )
    found += _seeds(panel)
    for item in panel.configurations:
        met, goals = cost.goals_met(item.runs)
        if met < goals:
            text = (
                f"{item.label} met its accuracy goal on {met} of {goals} tasks: what it does when a goal is met "
                "(choosing how much to prune by it) happened there only."
            )
            found.append(Notice(f"{item.label} met {met} of {goals} goals", text))
    if away := departures(panel):
        text = f"Not the paper's setting ({', '.join(away)}): published numbers stand beside for orientation."
        found.append(Notice("not the paper's setting", text))
    if len(panel.hardware) > 1:
        count = plural(len(panel.hardware), "different device")
        text = f"Timed on {count}: times stand in one table per device, never averaged."
        found.append(Notice(f"timed on {count}", text))
    return tuple(found)


def _seeds(panel: Panel) -> list[Notice]:
    if panel.one_seed:
        return [
            Notice("one seed", "Everything here rests on one seed: no interval, and no verdict on accuracies or times.")
        ]
    one = [item.label for item in panel.configurations if len(item.seeds) == 1]
    if not one:
        return []
    text = f"{listed(one, 4)}: one seed, so no interval, and no verdict on accuracies or times."
    return [Notice(f"one seed for {plural(len(one), 'configuration')}", text)]
