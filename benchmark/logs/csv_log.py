"""``--log csv``: one table a run, a line a moment."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from benchmark.logs.run_log import Point, RunLog

COLUMNS = ("step", "time", "task", "phase", "name", "value")


class CsvLog(RunLog):
    """``RUN.csv`` with the columns ``COLUMNS``; one line for every number."""

    def __init__(self, folder: Path, run_id: str, fresh: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{run_id}.csv"
        self._file = path.open("w" if fresh else "a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        if path.stat().st_size == 0:
            self._writer.writerow(COLUMNS)

    def add(self, point: Point) -> None:
        """See ``RunLog.add``."""
        for name, value in point.values.items():
            self._writer.writerow([point.step, point.time, point.task, point.phase, name, value])
        self._file.flush()

    def finish(self, values: Mapping[str, float], status: str, step: int) -> None:
        """See ``RunLog.finish``."""
        self.add(dataclasses.replace(Point(step, 0.0, values, ""), phase=status))
        self.close()

    def close(self) -> None:
        """See ``RunLog.close``."""
        self._file.close()
