"""Carrying out a plan: faults come out before the first run, finished runs are not repeated, a report ends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.plan.spec import RunOptions, RunSpec
    from benchmark.run.executors import Job
    from benchmark.scenarios.contract import Scenario, ScenarioData
    from results.schema import RunRecord


@dataclass(frozen=True)
class Campaign:
    """Runs to carry out together, all of one scenario."""

    scenario: Scenario
    specs: Sequence[RunSpec]
    options: RunOptions
    weights: Path | None = None  #: given by the user, in place of the scenario's own
    workers: int = 1
    in_process: bool = False  #: run here, for debugging
    force: bool = False
    download: bool = False


def carry_out(campaign: Campaign) -> int:
    """Check data, results folder, weights and device; run what is not finished; report.

    Returns:
        0, 1 when a run failed, 130 when the user stopped it.

    Raises:
        RequestError: something is wrong with the request or the data; no run was started.
    """
    from benchmark.console import decoding_progress
    from benchmark.run.executors import Job, LocalExecutor, ProcessExecutor
    from benchmark.run.store import require_writable
    from benchmark.scenarios.weights import weights_faults

    scenario, specs, options = campaign.scenario, campaign.specs, campaign.options
    results = Path(options.results)
    count = len(specs)
    print(
        f"{scenario.name}: {count} run{'s' if count != 1 else ''} on {options.device}, results in {results}", flush=True
    )
    if faults := weights_faults(scenario, campaign.weights):
        raise RequestError(faults[0])
    require_writable(results)
    executor = LocalExecutor() if campaign.in_process else ProcessExecutor(campaign.workers)
    jobs = [Job(spec, options) for spec in specs]
    if campaign.force or not all(_finished_record(job) for job in jobs):
        executor.start()  # imports go on while images are decoded
    try:
        if campaign.download:
            _download(options.data_root or "data")
        indices = sorted({index for spec in specs for index in spec.task_indices})
        data = scenario.read(Path(options.data_root) if options.data_root else None, indices, decoding_progress())
        _require_validation_images(specs[0], data)
        todo = [job for job in jobs if campaign.force or not finished(job, data)]
        _forget_finished(todo, campaign.force)
        _tidy([job for job in jobs if job not in todo])
        for line in _warnings(todo, data):
            print(f"warning: {line}", flush=True)
        if todo:
            _preflight(executor, todo)
        failed = _run_all(executor, todo, len(jobs) - len(todo))
    except KeyboardInterrupt:
        executor.stop()
        print(
            "\nstopped; finished runs are kept and unfinished ones go on from their checkpoint: "
            + _command_to_go_on(options.command),
            file=sys.stderr,
        )
        return 130
    finally:
        executor.stop()
    _conclude(results, specs)
    return 1 if failed else 0


def _command_to_go_on(command: str) -> str:
    """The same command without what would start its runs afresh."""
    return " ".join(word for word in command.split(" ") if word not in ("--force", "--no-resume"))


def _require_validation_images(spec: RunSpec, data: ScenarioData) -> None:
    """Under selection "validation" every task needs a class with two training images. Raises RequestError."""
    if spec.selection != "validation":
        return
    for task in data.tasks:
        if (spec.train_limit or len(task.train)) <= len(task.class_names):
            raise RequestError(
                f"Task {task.name} has {spec.train_limit or len(task.train)} training images for "
                f"{len(task.class_names)} classes, too few to hold some out; raise --train-limit or take "
                "--selection last."
            )


def _download(root: str) -> None:
    from benchmark.data.cifar import download_cifar100

    download_cifar100(Path(root))


def _finished_record(job: Job) -> RunRecord | None:
    """The record of the finished run; None without one, or when the run was asked for again."""
    from benchmark.run.store import run_folder

    folder = run_folder(Path(job.options.results), *job.spec.ids)
    record = folder.read()
    return record if record is not None and record.finished and not folder.to_be_repeated else None


def finished(job: Job, data: ScenarioData) -> bool:
    """The run has a finished record on the same data, and nobody asked for it again."""
    record = _finished_record(job)
    return record is not None and record.provenance.get("data_fingerprint") == data.mark


def _forget_finished(jobs: Sequence[Job], force: bool) -> None:
    """Runs to be repeated (--force, or finished on other data) start afresh, not from an old checkpoint.

    Not a run that another process is at: its checkpoint is its own.
    """
    from contextlib import suppress

    from benchmark.run.store import locked, run_folder

    for job in jobs:
        folder = run_folder(Path(job.options.results), *job.spec.ids)
        with suppress(BlockingIOError), locked(folder.path / ".lock"):
            if force:
                folder.repeat()
            elif _finished_record(job) is not None:
                folder.forget_checkpoints()


def _tidy(jobs: Sequence[Job]) -> None:
    """Finished runs need no checkpoint; one may be left where the process was killed right after the record."""
    from contextlib import suppress

    from benchmark.run.store import locked, run_folder

    for job in jobs:
        folder = run_folder(Path(job.options.results), *job.spec.ids)
        with suppress(BlockingIOError), locked(folder.path / ".lock"):
            folder.forget_checkpoints()
            folder.sweep()


def _warnings(jobs: Sequence[Job], data: ScenarioData) -> list[str]:
    from benchmark.plan.request import warnings_of

    found = {f"{task.name}: {note}": None for task in data.tasks for note in task.notes}
    for job in jobs:
        spec = job.spec
        images = min(len(task.train) for task in data.tasks)
        images = min(images, spec.train_limit or images)
        if spec.selection == "validation":
            images -= images // 10
        found |= dict.fromkeys(warnings_of(spec, images))
    return list(found)


def _preflight(executor: Any, jobs: Sequence[Job]) -> None:
    """Every distinct network once, before the first run starts. Raises RequestError."""
    import time

    from benchmark.console import waiting
    from benchmark.run.executors import Job
    from benchmark.run.preflight import networks

    with waiting("importing torch and avalanche"):
        started = time.perf_counter()
        for spec in networks(job.spec for job in jobs):
            if fault := executor.check(Job(spec, jobs[0].options)):
                raise RequestError(fault)
    print(f"ready after {time.perf_counter() - started:.0f} s", flush=True)


def _run_all(executor: Any, jobs: Sequence[Job], done: int) -> int:
    """Carry out jobs under a progress display; returns how many failed."""
    from benchmark.console import Console

    failed = 0
    with Console([job.spec for job in jobs], done) as console:
        for job, record in executor.run(jobs, console.hear):
            console.ended(job.spec, record)
            failed += record is not None and not record.finished
    return failed


def _conclude(results: Path, specs: Sequence[RunSpec]) -> None:
    """The table on the terminal, and the report."""
    from benchmark.console import print_table, waiting
    from benchmark.run.store import run_folder

    records = [record for spec in specs if (record := run_folder(results, *spec.ids).read()) is not None]
    print_table(records)
    from reports.errors import ReportError

    with waiting("writing the report"):
        try:
            from reports.build import build

            built = build(results, results.parent / "report" if results.name == "runs" else results / "report")
        except ReportError as error:
            print(f"no report: {error}", file=sys.stderr)
            return
        except OSError as error:
            print(f"no report: {error.filename or results} cannot be written ({error.strerror})", file=sys.stderr)
            return
        except Exception as error:  # a fault of the report must not make finished runs look failed
            print(f"no report: {type(error).__name__}: {error}; the runs are kept", file=sys.stderr)
            return
    print(f"report: {built.index}")
