"""How the settings of runs were found: by trials on validation images, or not at all; and which panels are twins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reports.configuration import Configuration
from reports.grouping import Panel, comparable
from reports.numbers import duration
from reports.specification import canonical
from results.schema import RunRecord

UNTUNED = "The protocol's own settings (or those of the command), untuned."


def tuning_of(item: Configuration) -> Mapping[str, Any]:
    """What the records say of a configuration's tuning; empty for an untuned one."""
    return item.spec.get("tuning") or {}


def tuning_seconds(run: RunRecord) -> float | None:
    """What the trials of a run's method took in all, None where that is not recorded."""
    seconds = run.spec.get("tuning_seconds")
    return None if seconds is None else float(seconds)


def searched(item: Configuration) -> tuple[str, ...]:
    """The settings that the trials varied, as keys of a flattened specification: ``settings.lr``, ``mask.slope``."""
    keys = [str(text).partition(" ")[0] for text in tuning_of(item).get("space", ())]
    return tuple(key if key.startswith("mask.") else f"settings.{key.partition('.')[2]}" for key in keys)


def in_words(panel: Panel) -> str:
    """The sentence beside a ranking: how the settings of its methods were found, and what that took."""
    items = [item for item in panel.configurations if tuning_of(item)]
    if not items:
        return UNTUNED
    trials = [tuning_of(item)["trials"] for item in items]
    tasks = sorted({tuning_of(item)["tasks"] for item in items})
    where = f"on validation images of {_either(tasks)} task{'' if tasks == [1] else 's'}"
    pruned = sum(tuning_of(item).get("pruned", 0) for item in items)
    early = f", {pruned} of them given up early" if pruned else ""
    if len(set(trials)) == 1:
        each = "each " if len(items) > 1 else ""
        count = f"Tuned with {trials[0]} trial{'' if trials[0] == 1 else 's'} {each}{where}{early}"
    else:
        counts = ", ".join(f"{item.label} {number}" for item, number in zip(items, trials, strict=True))
        count = f"Tuned with UNEQUAL numbers of trials ({counts}) {where}{early}"
    took = _took(items)
    return f"{count}{'' if took is None else f' ({duration(took)} in all)'}."


def twins(panels: Sequence[Panel]) -> list[tuple[Panel, Panel]]:
    """(untuned, tuned) panels that agree in everything else, in the order of the tuned ones."""
    untuned = {comparable(panel.runs[0]): panel for panel in panels if not panel.tuned}
    return [(untuned[key], panel) for panel in panels if panel.tuned and (key := comparable(panel.runs[0])) in untuned]


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, numbers))


def _took(items: Iterable[Configuration]) -> float | None:
    """Seconds of all trials, each search once; None where one is not recorded."""
    searches = {}
    for item in items:
        known = [seconds for run in item.runs if (seconds := tuning_seconds(run)) is not None]
        searches[item.method, canonical(tuning_of(item))] = known[0] if known else None
    took = list(searches.values())
    return None if None in took else sum(seconds for seconds in took if seconds is not None)
