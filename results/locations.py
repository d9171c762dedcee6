"""Where things lie beside the runs of a results folder."""

from __future__ import annotations

import os
from pathlib import Path

from results.schema import RECORD_NAME


def trials_folder(results: Path) -> Path:
    """Of the trials of ``tune``: ``results/tune`` for ``results/runs``, else ``RESULTS/tune``."""
    return _beside(results, "tune")


def report_folder(results: Path) -> Path:
    """Of the report that ``run`` writes: ``results/report`` for ``results/runs``, else ``RESULTS/report``."""
    return _beside(results, "report")


def logs_folder(results: Path) -> Path:
    """Of what ``--log`` writes: ``results/logs`` for ``results/runs``, else ``RESULTS/logs``."""
    return _beside(results, "logs")


def results_folders(folder: Path) -> tuple[Path, ...]:
    """The results folders that ``folder`` holds, one or two levels down, by name; ``folder`` itself where it is one, or
    holds none."""
    if _holds_runs(folder):
        return (folder,)
    found = []
    for below in _folders(folder):
        found += [below] if _holds_runs(below) else [place for place in _folders(below) if _holds_runs(place)]
    return tuple(found) or (folder,)


def _holds_runs(folder: Path) -> bool:
    return any(os.path.lexists(run / name) for run in _folders(folder) for name in (RECORD_NAME, "events.jsonl"))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:  # it is no folder, or may not be looked into
        return []


def _beside(results: Path, name: str) -> Path:
    return (results.parent if results.name == "runs" else results) / name
