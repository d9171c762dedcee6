"""Runs a minute: many short runs with one worker and with several, and as jobs of SLURM with one run or many each."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.locate import data_root
from benchmark.errors import RequestError
from benchmark.execute.executors import Executor, Job, ProcessExecutor
from benchmark.execute.executors.process import unnamed_main
from benchmark.execute.executors.slurm import SlurmExecutor
from benchmark.execute.waves import run_wave
from benchmark.perf.surroundings import surroundings
from benchmark.plan.execution import RunOptions
from benchmark.plan.slurm_option import slurm_options
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import silent
from benchmark.scenarios.loader import load_scenario
from results.atomic import write_text
from results.schema import RunRecord
from results.temporary import scratch_folder, temporary_folder

#: runs of a job of SLURM, beside one
TOGETHER = 10


@dataclass(frozen=True)
class Throughput:
    """So many runs one way."""

    way: str
    runs: int
    at_once: int
    seconds: float  #: from the first to the last of them, imports of the command apart
    inside_seconds: float  #: that the runs say they took themselves, added up

    def of(self, other: Throughput) -> float:
        """How much faster than ``other``, over as often as much at once: 1 is perfect."""
        return other.seconds / self.seconds * other.at_once / self.at_once

    def __str__(self) -> str:
        return f"{self.way:<44} {self.runs} runs in {self.seconds:8.1f} s, {self.seconds / self.runs:6.2f} s a run"


class _Kept:
    """A display that keeps the records."""

    def __init__(self) -> None:
        self.records: list[RunRecord] = []

    def hear(self, spec: RunSpec, event: dict[str, Any]) -> None:
        """See ``benchmark.execute.waves.Display``."""

    def ended(self, spec: RunSpec, record: RunRecord | None) -> None:
        """See ``benchmark.execute.waves.Display``."""
        if record is not None:
            self.records.append(record)

    def wait(self, spec: RunSpec) -> None:
        """See ``benchmark.execute.waves.Display``."""


def run_throughput(specs: Sequence[RunSpec], args: argparse.Namespace) -> int:
    """Measure, print, write ``throughput.csv`` and ``throughput.txt``; exit code 0.

    Raises:
        RequestError: SLURM takes no jobs, the data are not there, or a run failed.
    """
    import torch

    root = data_root(args.data_root)
    load_scenario(args.scenario).read(root, specs[0].task_indices, silent)
    threads = args.threads or 1
    about = f"{args.scenario}: {args.runs} runs, {threads} thread{'s' if threads > 1 else ''} each"
    lines = [about, *surroundings(torch.device(args.device))]
    print("\n".join(lines), flush=True)
    options = RunOptions(
        Path(), data_root=root, scenario_source=args.scenario, device=args.device, threads=threads, keep_weights="none",
        executor=args.executor, slurm=args.slurm,
    )  # fmt: skip
    todo = [dataclasses.replace(specs[at % len(specs)], seed=at // len(specs)) for at in range(args.runs)]
    found: list[Throughput] = []
    for one in _measured(todo, options, max(2, args.workers), args.out):
        found.append(one)
        lines.append(str(one) + (f", {one.of(found[0]):.2f} of the best that can be" if len(found) > 1 else ""))
        print(lines[-1], flush=True)
    if args.out is not None:
        write_text(args.out / "throughput.txt", "\n".join(lines) + "\n")
        write_text(args.out / "throughput.csv", as_csv(found))
        print(f"written: {args.out}/throughput.csv, throughput.txt")
    return 0


def _measured(specs: Sequence[RunSpec], options: RunOptions, workers: int, out: Path | None) -> Iterator[Throughput]:
    for at_once in (1, workers):
        yield _one_way(f"processes, {at_once} at a time", ProcessExecutor(at_once), at_once, specs, options, out)
    if options.executor != "slurm":
        return
    asked = slurm_options({"parallel": workers, **(options.slurm or {})})
    for chunk in dict.fromkeys((1, asked.chunk or TOGETHER)):
        executor = SlurmExecutor(dataclasses.replace(asked, chunk=chunk))
        each = "a run each" if chunk == 1 else f"{chunk} runs each"
        yield _one_way(f"SLURM, {asked.parallel} jobs at a time, {each}", executor, asked.parallel, specs, options, out)


def _one_way(
    way: str, executor: Executor, at_once: int, specs: Sequence[RunSpec], options: RunOptions, out: Path | None
) -> Throughput:
    """Carry the runs out in a folder of their own; of SLURM's nodes it must be seen, too, so it lies beside ``out``."""
    with scratch_folder() if out is None else temporary_folder(out / "runs") as folder:
        jobs = [Job(spec, dataclasses.replace(options, results=folder / "runs")) for spec in specs]
        kept = _Kept()
        with unnamed_main():
            executor.start()
        try:
            if fault := executor.check(jobs[0]):  # the server has imported torch by then
                raise RequestError(fault)
            started = time.monotonic()
            failed = run_wave(executor, jobs, kept)
            seconds = time.monotonic() - started
        finally:
            executor.stop()
            if isinstance(executor, SlurmExecutor):
                executor.cancel()  # their folder goes
    if failed:
        first = next(record for record in kept.records if not record.finished)
        raise RequestError(f"{failed} runs failed: {(first.error or '').partition(chr(10))[0]}")
    inside = sum(record.wall_seconds or 0.0 for record in kept.records)
    return Throughput(way, len(specs), at_once, seconds, inside)


def as_csv(found: Sequence[Throughput]) -> str:
    """One line a way."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Throughput)] + ["of_the_best"])
    writer.writerows([*dataclasses.astuple(one), one.of(found[0])] for one in found)
    return text.getvalue()
