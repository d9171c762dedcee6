"""Timing caveats, in the runs' own notes: shown wherever times are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.hardware import Hardware

#: a quantity in a note, told from the digits of a device's name by what stands beside it
_NUMBER = re.compile(r"(?<=load )\d+(?:\.\d+)?|\d+(?:\.\d+)?(?= (?:%|s|other|runs)(?!\w))")

#: as many configurations without a caveat are named; more are only counted
_NAMED = 4


def timing_caveats(panel: Panel, hardware: Hardware) -> tuple[str, ...]:
    """One remark per kind of note, the most frequent first: its numbers' range, and how many runs have it."""
    runs = [(item.label, run) for item in panel.configurations for run in item.on(hardware)]
    kinds: dict[str, list[tuple[str, str]]] = {}
    for label, run in runs:
        of_run = {_NUMBER.sub("#", str(note)): str(note) for note in run.provenance.get("notes") or ()}
        for kind, note in of_run.items():
            kinds.setdefault(kind, []).append((label, note))
    ordered = sorted(kinds.values(), key=lambda found: (-len(found), found[0][1]))
    remarks = []
    for found in ordered:
        having = {label for label, _ in found}
        free = list(dict.fromkeys(label for label, _ in runs if label not in having))
        without = f"; not {', '.join(free)}" if 0 < len(free) <= _NAMED else ""
        notes = _ranged([note for _, note in found])
        remarks.append(f"Timing caveat: {notes} ({len(found)} of {len(runs)} runs{without}).")
    return tuple(remarks)


def caveats_in_brief(items: Iterable[Configuration], hardware: Hardware) -> str:
    """``; timing caveats are listed under the tables of times``, or nothing: for a line that compares times."""
    noted = any(run.provenance.get("notes") for item in items for run in item.on(hardware))
    return "; timing caveats are listed under the tables of times" if noted else ""


def _ranged(notes: Sequence[str]) -> str:
    """Notes that differ in their numbers only, as one: every number that varies as ``lowest to highest``."""
    places = iter(zip(*(_NUMBER.findall(note) for note in notes), strict=True))

    def shown(match: re.Match[str]) -> str:
        texts = next(places)
        values, digits = [float(text) for text in texts], max(len(text.partition(".")[2]) for text in texts)
        least, most = min(values), max(values)
        return match.group() if least == most else f"{least:.{digits}f} to {most:.{digits}f}"

    return _NUMBER.sub(shown, notes[0])
