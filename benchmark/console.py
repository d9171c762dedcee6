"""What a run says while it runs: bars on a terminal, plain lines elsewhere; and the table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from benchmark.execute.estimate import Estimates
from benchmark.measure.size import mib
from benchmark.notebook import Cell, cell
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Progress
from results.schema import SYNTHETIC, TASK_1_SETTINGS, RunRecord

BAR_WIDTH = 30
#: characters of a run's name beside its bar at most
NAME_WIDTH = 36
ALL_RUNS = "all runs"
CLEAR = "\r\033[K"  #: a terminal's code for an empty line

#: seconds between two plain lines about the same task
PLAIN_EVERY = 20.0


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner on a terminal, one line elsewhere, while something long happens."""
    if sys.stdout.isatty():
        from rich.console import Console as RichConsole

        with RichConsole().status(f"{what} …"):
            yield
    else:
        print(f"{what} …", flush=True)
        yield


class Console:
    """Hears events of runs and shows them."""

    def __init__(
        self, specs: Sequence[RunSpec], done: int, estimates: Estimates | None = None, workers: int = 1
    ) -> None:
        self.runs, self.done = len(specs) + done, done
        self._left = {spec.run_id: spec for spec in specs}
        self._estimates, self._workers = estimates, workers
        self._names = dict(
            zip((spec.run_id for spec in specs), labels([spec.to_json() for spec in specs]), strict=True)
        )
        self.terminal = sys.stdout.isatty()
        self._cell: Cell | None = None
        self._progress: Any = None
        self._overall: Any = None
        self._bars: dict[str, Any] = {}
        self._tasks: dict[str, tuple[int, int, str]] = {}
        self._last_line: dict[str, float] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> Console:
        if self.done:
            print(f"{self.done} of {self.runs} runs are finished already; --force repeats them", flush=True)
        if self.done < self.runs and not self.terminal:
            self._cell = cell()
        if self.terminal and self.done < self.runs:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
            from rich.table import Column

            widest = min(NAME_WIDTH, max([len(ALL_RUNS), *map(len, self._names.values())]))
            name, note = Column(width=widest, no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
            self._progress = Progress(
                TextColumn("{task.description}", table_column=name), BarColumn(bar_width=BAR_WIDTH),
                TextColumn("{task.completed}/{task.total} {task.fields[unit]}"), TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", table_column=note), transient=True, expand=True,
            )  # fmt: skip
            self._progress.start()
            self._overall = self._progress.add_task(
                ALL_RUNS, total=self.runs, completed=self.done, note="", unit="runs"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def hear(self, spec: RunSpec, event: dict[str, Any]) -> None:
        """One event of one run."""
        key, kind = spec.run_id, event["type"]
        name = self._names[key]
        if kind == "run-start":
            self._tasks[key] = (event["done"], event["tasks"], "")
            self._began[key] = time.monotonic()
            if self._progress is not None and key in self._bars:  # the run goes on in another process
                self._progress.update(self._bars[key], completed=event["done"])
            elif self._progress is not None:
                self._bars[key] = self._progress.add_task(
                    name, total=event["tasks"], completed=event["done"], note="", unit="tasks"
                )
            elif self._cell is None:
                self._say(f"{name}: {event['tasks']} tasks")
        elif kind == "task-start":
            self._tasks[key] = (event["position"] - 1, self._tasks.get(key, (0, 0, ""))[1], event["name"])
            self._note(key, event["name"])
        elif kind == "epoch":
            text = f"{event['task']}  {event['phase']} {event['epoch']}/{event['epochs']}"
            text += "" if spec.synthetic else f"  train {event['train']:.3f}"
            self._note(key, text)
            self._plain_epoch(key, text)
        elif kind == "task-end":
            _, total, _ = self._tasks.get(key, (0, 0, ""))
            told = SYNTHETIC if spec.synthetic else f"accuracy {event['accuracy']:.3f}"
            text = f"{event['name']}: {told}, trained {event['seconds']:.1f} s"
            if self._progress is not None and key in self._bars:
                self._progress.update(self._bars[key], completed=event["position"], note=text)
            elif self._cell is None:
                self._say(f"{name}: {event['position']}/{total} {text}")
        elif kind == "message":
            self._say(f"{name}: {event['text']}")

    def ended(self, spec: RunSpec, record: RunRecord | None) -> None:
        """A run is over."""
        key = spec.run_id
        name = self._names[key]
        self.done += record is not None
        self._left.pop(spec.run_id, None)
        if self._estimates is not None and record is not None and record.finished:
            self._estimates.learn(spec, record)
        began, left = self._began.get(spec.run_id), self._time_left()
        seconds = 0.0 if began is None else time.monotonic() - began
        if record is None:
            text = "another process is at it"
        elif record.finished and record.is_synthetic:
            text = f"{SYNTHETIC} ({seconds:.0f} s)"
        elif record.finished and record.mean_accuracy is not None:
            text = f"mean accuracy {record.mean_accuracy:.3f} ({seconds:.0f} s)"
        else:
            text = f"FAILED: {(record.error or 'no reason given').splitlines()[0]}"
        if self._progress is not None:
            if key in self._bars:
                self._progress.remove_task(self._bars.pop(key))
            self._progress.update(self._overall, completed=self.done, note=left)
        told = f"[{self.done}/{self.runs}] {name}: {text}{f', {left}' if left else ''}"
        if self._cell is not None:
            self._cell(told)
        if self._cell is None or record is None or not record.finished:
            self._say(told)

    def _time_left(self) -> str:
        """``about 12 min left``, once a run of every kind that is still to come was timed; else nothing."""
        found, specs = self._estimates, list(self._left.values())
        if found is None or not specs or not all(found.measured(spec) for spec in specs):
            return ""
        from benchmark.execute.estimate import in_words

        total = found.total(specs, self._workers)
        now = time.monotonic()
        gone = sum(now - self._began[spec.run_id] for spec in specs if spec.run_id in self._began)
        return "" if total is None else f"about {in_words(max(1.0, total - gone / self._workers))} left"

    def wait(self, spec: RunSpec) -> None:
        """A run is another process's; the command waits for it."""
        self._say(f"{self._names[spec.run_id]}: waiting for the other process")

    def _note(self, key: str, text: str) -> None:
        if self._cell is not None:
            self._cell(f"{self.done} of {self.runs} runs done; {self._names[key]}: {text}")
        if self._progress is not None and key in self._bars:
            self._progress.update(self._bars[key], note=text)

    def _plain_epoch(self, key: str, text: str) -> None:
        now = time.monotonic()
        if self._progress is None and self._cell is None and now - self._last_line.setdefault(key, now) >= PLAIN_EVERY:
            self._last_line[key] = now
            print(f"{self._names[key]}: {text}", flush=True)

    def _say(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)


#: how a table shows a number that is not known
NAN = float("nan")

#: how many differences a label names: where they tell it from all others, and where they do not
TOLD, MOST_TOLD = 3, 6


def labels(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short names of runs: method and seed, and where that names several of them also what they differ in."""
    names = [f"{spec['method']} s{spec['seed']}" for spec in specs]
    short, long = [], []
    for name, spec in zip(names, specs, strict=True):
        alike = [_facts(other) for other, its_name in zip(specs, names, strict=True) if its_name == name]
        own = _facts(spec)
        told = [f"{key} {value}" for key, value in own.items() if any(other.get(key) != value for other in alike)]
        short.append(f"{name} ({', '.join(told[:TOLD])})" if told else name)
        long.append(f"{name} ({', '.join(told[:MOST_TOLD])})" if told else name)
    found = [one if short.count(one) == 1 else other for one, other in zip(short, long, strict=True)]
    return [label if found.count(label) == 1 else f"{label} #{at}" for at, label in enumerate(found, start=1)]


def _facts(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs of one method and seed may differ in, by the name that a label gives it."""
    facts = {"BN": spec.get("bn_policy"), "from task": spec.get("initial_task"), "selection": spec.get("selection")}
    backbone, protocol = _part(spec, "backbone"), _part(spec, "protocol")
    facts |= {"backbone": backbone.get("name"), "width": backbone.get("width"), "batch": protocol.get("batch_size")}
    facts |= _part(protocol, "augmentation") | _part(spec, "settings") | _part(spec, "mask")
    return facts | {f"task 1's {key}": value for key, value in _part(spec, TASK_1_SETTINGS).items()}


def _part(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A mapping inside; empty where a damaged record has something else there."""
    found = value.get(key)
    return dict(found) if isinstance(found, Mapping) else {}


def print_table(records: Sequence[RunRecord]) -> None:
    """Method and seed, mean accuracy, training seconds, MiB; below it what is wrong with them, and failed runs."""
    from reports.records import usable

    left_out: list[str] = []
    finished, failed, _ = usable(records, left_out)
    if finished:
        names = labels([record.spec for record in finished])
        width = max(map(len, names))
        print(f"\n{'run':<{width}}  mean accuracy  training s      MiB")
        for name, record in zip(names, finished, strict=True):
            size = record.size.rules.get("itemised") if record.size else None
            accuracy = SYNTHETIC if record.is_synthetic else f"{_number(record.mean_accuracy):.4f}"
            print(
                f"{name:<{width}}  {accuracy:>13}  "
                f"{_number(record.training_seconds_total):>10.1f}  {mib(size) if size is not None else NAN:>7.2f}"
            )
        for line in faults(finished):
            print(line)
    for record in failed:
        name = f"{record.spec.get('method', 'a run')} seed {record.spec.get('seed', '?')}"
        print(f"{name} FAILED: {((record.error or '').strip() or 'no reason given').splitlines()[0]}")
        print(f"  the whole story is in its record, run id {record.run_id}")
    for line in left_out:
        print(f"left out: {line}")
    print()


def _number(value: float | None) -> float:
    return NAN if value is None else value


def faults(finished: Sequence[RunRecord]) -> list[str]:
    """``KSM: masks never moved at lr=0.0001; raise ksm.lr or train longer``: as the report marks the same runs."""
    from reports import soundness
    from reports.grouping import group

    return [
        f"{item.label}: {fault.brief}; {fault.advice}"
        for panel in group(finished)[0]
        for item in panel.everything
        for fault in soundness.faults(panel, item)
    ]


def decoding_progress() -> Progress:
    """A bar on stderr when it is a terminal, else one plain line at the start and end of each thing done."""
    terminal = sys.stderr.isatty()

    def progress(what: str, done: int, total: int) -> None:
        finished = done >= total
        if not total:
            print(f"{CLEAR if terminal else ''}{what}", file=sys.stderr, flush=True)
        elif terminal:
            filled = BAR_WIDTH * done // max(total, 1)
            bar = "█" * filled + "·" * (BAR_WIDTH - filled)
            line = f"{CLEAR}{what} {bar} {done:,}/{total:,}"
            print(CLEAR if finished else line, end="", file=sys.stderr, flush=True)
        elif finished or not done:
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    return progress
