"""What makes times doubtful, in the runs' own notes: shown under every table of times."""

from __future__ import annotations

import re

from reports.grouping import Panel
from reports.hardware import Hardware


def doubtful_times(panel: Panel, hardware: Hardware) -> tuple[str, ...]:
    """One remark per kind of note, the most frequent first: the note of one run, and how many runs have one like it."""
    runs = [run for item in panel.configurations for run in item.on(hardware)]
    kinds: dict[str, list[str]] = {}
    for run in runs:
        of_run = {re.sub(r"[\d.]+", "#", str(note)): str(note) for note in run.provenance.get("notes") or ()}
        for kind, note in of_run.items():
            kinds.setdefault(kind, []).append(note)
    ordered = sorted(kinds.values(), key=lambda notes: (-len(notes), notes[0]))
    return tuple(f"Doubtful times: {notes[0]} ({len(notes)} of {len(runs)} runs)." for notes in ordered)
