"""What a run costs beside its training: its files, the lock, events, its record, and its part of the report."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmark.data.locate import data_root
from benchmark.execute.runner import run
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import RunFolder, run_folder
from benchmark.measure.caveats import other_devices
from benchmark.perf.surroundings import made_ready, surroundings
from benchmark.plan.execution import RunOptions
from benchmark.plan.spec import RunSpec
from results.atomic import write_json, write_text
from results.reader import read_record, read_value
from results.schema import RECORD_NAME, RunRecord
from results.seal import sealed
from results.temporary import scratch_folder, temporary_folder

#: how often a short thing is timed
TIMES = 200
#: runs of the folders that reports are made on
REPORTED = (50, 200, 1000)


@dataclass(frozen=True)
class Part:
    """One figure: what, how much, in which unit."""

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name:<52} {self.value:12,.3f} {self.unit}"


def run_events(specs: Sequence[RunSpec], args: argparse.Namespace) -> int:
    """Measure, print, write ``events.csv`` and ``events.txt``; exit code 0, 1 if the run fails.

    What is written lies beside ``--out``, on whose file system it is measured.
    """
    device = made_ready(args)
    lines = [f"{args.scenario}: what a run costs beside its training", *surroundings(device)]
    print("\n".join(lines), flush=True)
    with _place(args.out) as folder:
        options = RunOptions(
            folder / "runs", data_root=data_root(args.data_root), scenario_source=args.scenario, device=args.device,
            threads=args.threads,
        )  # fmt: skip
        record = run(specs[0], options, lambda event: None)
        if record is None or not record.finished:
            print(f"the run failed: {(record.error or '').partition(chr(10))[0] if record else 'it is at work'}")
            return 1
        parts = [*_of_the_folder(options.results, specs[0], record), *_of_single_steps(folder, options, specs[0])]
        print("\n".join(map(str, parts)), flush=True)
        for part in _of_the_report(folder, options, specs[0]):
            print(part, flush=True)
            parts.append(part)
    if args.out is not None:
        write_text(args.out / "events.txt", "\n".join([*lines, "", *map(str, parts)]) + "\n")
        write_text(args.out / "events.csv", as_csv(parts))
        print(f"written: {args.out}/events.csv, events.txt")
    return 0


@contextmanager
def _place(out: Path | None) -> Iterator[Path]:
    with scratch_folder() if out is None else temporary_folder(out / "measured") as folder:
        yield folder


def _of_the_folder(results: Path, spec: RunSpec, record: RunRecord) -> Iterator[Part]:
    folder = run_folder(results, *spec.ids)
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    events = folder.events.read_bytes().splitlines()
    epochs = sum(len(task.curve) for task in record.tasks)
    yield Part("tasks of the run", len(record.tasks), "tasks")
    yield Part("files of a finished run", len(files), "files")
    yield Part(
        "of them outside tasks/ (record, events, lock, claim)", sum(path.parent == folder.path for path in files), ""
    )
    yield Part(
        "bytes of its learned weights, as kept",
        sum(path.stat().st_size for path in files if "tasks" in path.parts),
        "B",
    )
    yield Part("bytes of its record", folder.record.stat().st_size, "B")
    yield Part("bytes of its events", folder.events.stat().st_size, "B")
    yield Part("events", len(events), "lines")
    yield Part("epochs of its tasks", epochs, "epochs")


def _of_single_steps(folder: Path, options: RunOptions, spec: RunSpec) -> Iterator[Part]:
    kept = run_folder(options.results, *spec.ids)
    event = {"type": "epoch", "task": "a task", "phase": "train", "key": "train", "epoch": 1, "epochs": 2, "loss": 0.5}
    value = read_value(kept.record)
    other = RunFolder(folder)

    def lock() -> None:
        with locked(folder / ".lock"):
            pass

    steps: dict[str, Callable[[], object]] = {
        "taking and giving back a run's lock": lock,
        "adding an event": lambda: other.append_event(event),
        "writing a record": lambda: write_json(folder / "record.json", value),
        "reading a record, with all checks": lambda: read_record(kept.record),
    }
    for name, step in steps.items():
        yield Part(name, 1000 * _median(step), "ms")


def _median(step: Callable[[], object]) -> float:
    """Seconds of a step that is done again and again."""
    found = []
    for _ in range(TIMES):
        started = time.perf_counter()
        step()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def _of_the_report(folder: Path, options: RunOptions, spec: RunSpec) -> Iterator[Part]:
    """Reading and reporting on so many copies of the record, as runs of other seeds, in processor time."""
    from reports.build import build
    from reports.records import load

    value = read_value(run_folder(options.results, *spec.ids).record)
    for count in REPORTED:
        results = folder / f"of{count}" / "runs"
        for seed in range(count):
            again = dataclasses.replace(spec, seed=seed)
            copy = {**value, "run_id": again.run_id, "spec": {**value["spec"], "seed": seed}}
            copy.pop("sha256", None)
            write_json(results / again.run_id / RECORD_NAME, sealed(copy))
        device, there = value["provenance"]["device"], dataclasses.replace(options, results=results)
        steps: dict[str, Callable[[], object]] = {
            f"reading {count} records": partial(load, results),
            f"reporting on {count} runs": partial(build, results, results.parent / "report"),
            f"looking at {count} records as a run begins": partial(other_devices, device, there, spec),
        }
        for name, step in steps.items():
            started = _processor_seconds()
            step()
            yield Part(name, _processor_seconds() - started, "s of the processor")


def _processor_seconds() -> float:
    """Of this process and those that helped it, which a busy machine does not lengthen."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def as_csv(parts: Sequence[Part]) -> str:
    """One line a figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Part)])
    writer.writerows(dataclasses.astuple(part) for part in parts)
    return text.getvalue()
