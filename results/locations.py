"""Where things lie beside the runs of a results folder."""

from __future__ import annotations

from pathlib import Path


def trials_folder(results: Path) -> Path:
    """Of the trials of ``tune``: ``results/tune`` for ``results/runs``, else ``RESULTS/tune``."""
    return _beside(results, "tune")


def report_folder(results: Path) -> Path:
    """Of the report that ``run`` writes: ``results/report`` for ``results/runs``, else ``RESULTS/report``."""
    return _beside(results, "report")


def _beside(results: Path, name: str) -> Path:
    return (results.parent if results.name == "runs" else results) / name
