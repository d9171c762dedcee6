"""The logs of a sweep. A log that cannot be written is given up with one warning; no run fails for it."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmark.errors import RequestError
from benchmark.execute.executors.event_tail import EventTail
from benchmark.execute.store import run_folder
from benchmark.logs.run_log import Point, RunLog
from benchmark.logs.series import Series
from benchmark.plan.spec import RunSpec
from results.atomic import write_text
from results.locations import logs_folder
from results.schema import RunRecord


def require_loggers(kinds: Sequence[str]) -> None:
    """Raises RequestError: the package of a log is not installed."""
    for kind in kinds:
        found = None if kind == "csv" else importlib.util.find_spec(kind)
        if kind != "csv" and (found is None or found.origin is None):  # a mere folder of that name has no origin
            raise RequestError(f"--log {kind} needs the package {kind}: pip install 'maskbench[{kind}]'.")


class Logs:
    """Hears of runs under way, as a display does, and writes their logs."""

    def __init__(self, kinds: Sequence[str], results: Path, make: Callable[..., RunLog] | None = None) -> None:
        self._kinds, self._results, self._make = list(kinds), results, make or _made
        self._runs: dict[str, _Run] = {}

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._runs.values():
            run.close()

    def hear(self, spec: RunSpec, event: dict[str, Any]) -> None:
        """One event of one run: it, and what came before it, lies in the run's folder."""
        if not self._kinds:
            return
        if spec.run_id not in self._runs:
            self._runs[spec.run_id] = _Run(spec, self._results, self._kinds, self._make)
        self._runs[spec.run_id].catch_up()

    def ended(self, spec: RunSpec, record: RunRecord | None) -> None:
        """A run is over."""
        run = self._runs.pop(spec.run_id, None)
        if run is None:
            if record is not None and record.finished:
                self.make_up(spec, record)
            return
        run.catch_up()
        if record is None:
            run.close()
        else:
            run.finish(record)

    def wait(self, spec: RunSpec) -> None:
        """A run is another process's."""

    def make_up(self, spec: RunSpec, record: RunRecord) -> None:
        """Write what is missing of a run that finished while no command followed it; a whole log stays as it is."""
        folder, end = logs_folder(self._results), _end(record)
        kinds = [kind for kind in self._kinds if _CountFile(folder, kind, spec).read()[1] != end]
        if kinds:
            run = _Run(spec, self._results, kinds, self._make)
            run.catch_up()
            run.finish(record)


class _Run:
    """The logs of one run. A small file beside them counts the points that they hold: a further command goes on."""

    def __init__(self, spec: RunSpec, results: Path, kinds: Sequence[str], make: Callable[..., RunLog]) -> None:
        self._spec, self._folder, self._make = spec, logs_folder(results), make
        self._tail = EventTail(run_folder(results, *spec.ids).events, from_start=True)
        self._series = Series()
        self._points: list[Point] = []
        self._logs: dict[str, RunLog] = {}
        self._written = {kind: _CountFile(self._folder, kind, spec).read()[0] for kind in kinds}

    def catch_up(self) -> None:
        """Write what the run has told since."""
        for event in self._tail.read():
            if self._series.begins_again(event):
                self._series = Series()
                self._points.clear()
                self.close()
                self._written = dict.fromkeys(self._written, 0)
            self._points += self._series.points(event)
        for kind in list(self._written):
            self._guarded(kind, functools.partial(self._write, kind))

    def _write(self, kind: str) -> None:
        for point in self._points[self._written[kind] :]:
            self._log(kind).add(point)
            self._written[kind] += 1

    def finish(self, record: RunRecord) -> None:
        """Write what the run came to."""
        size = record.size.rules.get("itemised") if record.size else None
        values = {"mean_accuracy": record.mean_accuracy, "forgetting": record.forgetting,
                  "training_seconds": record.training_seconds_total, "bytes": size}  # fmt: skip
        known = {f"final/{name}": float(value) for name, value in values.items() if value is not None}
        for kind in list(self._written):
            self._guarded(kind, functools.partial(self._finish, kind, known, record.status))
            self._logs.pop(kind, None)
        self._write_counts(_end(record))

    def _finish(self, kind: str, values: Mapping[str, float], status: str) -> None:
        self._log(kind).finish(values, status, self._series.step)

    def close(self) -> None:
        """Leave the logs; the run goes on another time."""
        for kind, log in self._logs.items():
            self._guarded(kind, log.close)
        self._logs.clear()
        self._write_counts()

    def _log(self, kind: str) -> RunLog:
        if kind not in self._logs:
            fresh = self._written[kind] == 0
            self._logs[kind] = self._make(kind, self._folder / kind, self._spec, fresh)
        return self._logs[kind]

    def _guarded(self, kind: str, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # whatever another tool has against it: the runs matter more
            print(
                f"warning: --log {kind} is given up for {self._spec.run_id} ({type(error).__name__}: {error})",
                file=sys.stderr,
                flush=True,
            )
            self._written.pop(kind, None)

    def _write_counts(self, end: str = "") -> None:
        for kind, count in self._written.items():
            _CountFile(self._folder, kind, self._spec).write(count, end)


class _CountFile:
    """How many points of a run a log holds, and, where it is whole, when the run ended."""

    def __init__(self, folder: Path, kind: str, spec: RunSpec) -> None:
        self._path = folder / kind / ".points" / spec.run_id

    def read(self) -> tuple[int, str]:
        """Nought and nothing where there is no such file."""
        try:
            count, _, end = self._path.read_text().partition(" ")
            return max(0, int(count)), end
        except (OSError, ValueError):
            return 0, ""

    def write(self, count: int, end: str) -> None:
        """A full disk costs the file: the log is written again another time."""
        with suppress(OSError):
            write_text(self._path, f"{count} {end}".strip())


def _end(record: RunRecord) -> str:
    return str(record.provenance.get("finished") or record.status)


def _made(kind: str, folder: Path, spec: RunSpec, fresh: bool) -> RunLog:
    if kind == "csv":
        from benchmark.logs.csv_log import CsvLog

        return CsvLog(folder, spec.run_id, fresh)
    if kind == "tensorboard":
        from benchmark.logs.tensorboard_log import TensorBoardLog

        return TensorBoardLog(folder, spec.run_id, fresh)
    from benchmark.logs.wandb_log import WandbLog

    about: Mapping[str, Any] = spec.to_json()
    return WandbLog(folder, spec.run_id, fresh, about)
