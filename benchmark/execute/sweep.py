"""Carrying out a plan: faults come out before the first run, finished runs are not repeated, a report ends it."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import RequestError
from benchmark.plan.slurm_option import slurm_options

if TYPE_CHECKING:
    from benchmark.execute.estimate import Estimates
    from benchmark.execute.executors import Executor, Job
    from benchmark.plan.execution import RunOptions
    from benchmark.plan.request import Request
    from benchmark.plan.spec import RunSpec
    from benchmark.scenarios.contract import Scenario, ScenarioData
    from results.schema import RunRecord


#: exit code of a sweep that the user stopped
STOPPED = 130


@dataclass(frozen=True)
class Sweep:
    """Runs to carry out together, all of one scenario."""

    scenario: Scenario
    specs: Sequence[RunSpec]
    options: RunOptions
    weights: Path | None = None  #: given by the user, in place of the scenario's own
    devices: tuple[str, ...] = ("cpu",)  #: that runs are spread over; the options' device is the first

    @property
    def at_once(self) -> int:
        """How many runs are under way at a time, at most."""
        if self.options.executor == "slurm":
            return self.options.workers * slurm_options(self.options.slurm).parallel
        return self.options.workers * len(self.devices)


def sweep_of(request: Request, scenario: Scenario, specs: Sequence[RunSpec], command: str | None = None) -> Sweep:
    """A plan, and how it is to be carried out.

    Args:
        command: what to type to go on; None: the command line as it was.

    Raises:
        RequestError: no such data root or device.
    """
    from benchmark.logs.writing import require_loggers
    from benchmark.plan.device import devices_of, kind_of
    from benchmark.plan.execution import Execution, RunOptions
    from benchmark.scenarios.sources import root_of

    how = {item.name: getattr(request, item.name) for item in dataclasses.fields(Execution)}
    devices = devices_of(request.device)
    if request.executor == "slurm":  # which cards they are is known where the job runs
        devices = (kind_of(devices[0]),)
        if devices[0] != "cpu" and not slurm_options(request.slurm).gpus:
            raise RequestError(f"--device {request.device} in SLURM needs cards; add --slurm gpus=1.")
    elif request.slurm is not None:
        raise RequestError(f"--slurm is for --executor slurm, not {request.executor}; add that, or give --slurm none.")
    how["device"] = devices[0]
    if request.executor == "local" and len(devices) > 1:
        raise RequestError(
            f"--executor local is one process on one device; leave it out, or name one of {', '.join(devices)}."
        )
    if request.require_idle_gpu and kind_of(devices[0]) == "cpu":
        raise RequestError("--require-idle-gpu needs a GPU, and the runs are on the CPU; leave it out or add --device.")
    if request.download:
        how["data_root"] = request.data_root or Path("data")
        try:
            how["data_root"].mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"--data-root {how['data_root']} cannot be made a folder ({error.strerror}).") from error
    require_loggers(request.log)
    options = RunOptions(
        **{
            **how,
            "data_root": root_of(scenario, how["data_root"]),
            "threads": request.threads or scenario.threads,
            "workers": 1 if request.executor == "local" else min(request.workers, len(specs)),
        },
        scenario_source=request.scenario,
        weights=request.weights or scenario.weights,
        command=command if command is not None else "python -m benchmark " + shlex.join(sys.argv[1:]),
        **{key.removeprefix("run."): item for key, item in request.overrides.items() if key.startswith("run.")},
    )
    return Sweep(scenario, specs, options, request.weights, devices)


def carry_out(sweep: Sweep, report: bool = True) -> int:
    """Check data, results folder, weights and device; run what is not finished; report.

    Args:
        report: print the table and write the report at the end.

    Returns:
        0, 1 when a run failed, 130 when the user stopped it.

    Raises:
        RequestError: something is wrong with the request or the data; no run was started.
    """
    from benchmark.console import decoding_progress
    from benchmark.execute.estimate import different_cards
    from benchmark.execute.executors import Job, executor_for
    from benchmark.execute.store import require_writable
    from benchmark.execute.waves import keep_needed_networks, run_all
    from benchmark.scenarios.sources import tables_of_missing
    from benchmark.scenarios.start_weights import weights_faults

    scenario, specs, options = sweep.scenario, sweep.specs, sweep.options
    results = options.results
    count = len(specs)
    where = ", ".join(sweep.devices) + (" in SLURM" if options.executor == "slurm" else "")
    print(f"{scenario.name}: {count} run{'s' if count != 1 else ''} on {where}, results in {results}", flush=True)
    if faults := weights_faults(scenario, sweep.weights):
        raise RequestError("\n\n".join([faults[0], *tables_of_missing(scenario, options.data_root)]))
    if scenario.weights is not None and sweep.weights is None:
        print(f"weights: {scenario.weights}", flush=True)
    _require_class_folders(scenario, options.data_root)
    require_writable(results)
    executor = executor_for(options, sweep.devices)
    jobs = [Job(spec, options) for spec in specs]
    if options.force or not all(map(_finished_record, jobs)):
        executor.start()  # imports go on while images are decoded
    try:
        if options.download and not scenario.generated:
            from benchmark.data.cifar import download_cifar100

            download_cifar100(options.data_root or Path("data"))
        indices = sorted({index for spec in specs for index in spec.task_indices})
        data = scenario.read(options.data_root, indices, decoding_progress())
        _require_validation_images(specs[0], data)
        options = dataclasses.replace(options, data_sha256=data.sha256)
        jobs = [Job(spec, options) for spec in specs]
        todo = [job for job in jobs if options.force or not finished(job, data)]
        _forget_finished(todo, options.force)
        done = [job for job in jobs if job not in todo]
        _tidy(done)
        _make_up_logs(done)
        for line in [*_warnings(todo, data), *different_cards(sweep.devices)]:
            print(f"warning: {line}", flush=True)
        found = None
        if todo:
            _preflight(executor, todo, sweep.devices)
            keep_needed_networks(todo)
            found = _estimated(executor, todo, scenario, data)
        failed = run_all(executor, todo, len(jobs) - len(todo), found)
    except KeyboardInterrupt:
        executor.stop()
        told = executor.parting or "finished runs are kept and unfinished ones go on from their checkpoint"
        print(f"\nstopped; {told}: {_command_to_go_on(options.command)}", file=sys.stderr)
        return STOPPED
    finally:
        executor.stop()
    if report:
        from benchmark.execute.conclusion import conclude

        conclude(results, specs)
    return 1 if failed else 0


def _require_class_folders(scenario: Scenario, root: Path | None) -> None:
    """Raises RequestError: there are images for the row of the data set that the weights are from, laid out wrongly."""
    from benchmark.data import class_folders

    on, folder = scenario.pretrained_on, class_folders.folder_of(scenario, root)
    if on is not None and folder is not None and (fault := class_folders.fault(folder, on)):
        raise RequestError(fault)


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


def _finished_record(job: Job) -> RunRecord | None:
    """The record of the finished run; None without one, or when the run was asked for again."""
    from benchmark.execute.store import run_folder

    return run_folder(job.options.results, *job.spec.ids).read_finished()


def finished(job: Job, data: ScenarioData) -> bool:
    """The run has a finished record on the same data, and nobody asked for it again."""
    record = _finished_record(job)
    return record is not None and record.provenance.get("data_fingerprint") == data.sha256


def _forget_finished(jobs: Sequence[Job], force: bool) -> None:
    """Runs to be repeated (--force, or finished on other data) start afresh, not from an old checkpoint.

    Not a run that another process is at: its checkpoint is its own.
    """
    from benchmark.execute.shared_lock import locked
    from benchmark.execute.store import run_folder

    for job in jobs:
        folder = run_folder(job.options.results, *job.spec.ids)
        with suppress(BlockingIOError), locked(folder.path / ".lock"):
            if force:
                folder.repeat()
            elif _finished_record(job) is not None:
                folder.forget_checkpoints()


def _tidy(jobs: Sequence[Job]) -> None:
    """Finished runs need no checkpoint; one may be left where the process was killed right after the record."""
    from benchmark.execute.shared_lock import locked
    from benchmark.execute.store import run_folder

    for job in jobs:
        folder = run_folder(job.options.results, *job.spec.ids)
        with suppress(BlockingIOError), locked(folder.path / ".lock"):
            folder.forget_checkpoints()
            folder.sweep()


def _make_up_logs(jobs: Sequence[Job]) -> None:
    """Finished runs may have ended while no command followed them."""
    from benchmark.logs.writing import Logs

    for job in jobs if jobs and jobs[0].options.log else ():
        if (record := _finished_record(job)) is not None:
            Logs(job.options.log, job.options.results).make_up(job.spec, record)


def _warnings(jobs: Sequence[Job], data: ScenarioData) -> list[str]:
    from benchmark.plan.planning import warnings_of
    from benchmark.scenarios.contract import notes_of

    found: dict[str, None] = dict.fromkeys(notes_of(data.tasks))
    for job in jobs:
        spec = job.spec
        images = min(len(task.train) for task in data.tasks)
        images = min(images, spec.train_limit or images)
        if spec.selection == "validation":
            images -= images // 10
        found |= dict.fromkeys(warnings_of(spec, images))
    return list(found)


def _preflight(executor: Executor, jobs: Sequence[Job], devices: Sequence[str]) -> None:
    """Every distinct network once, and every device, before the first run starts. Raises RequestError."""
    import time

    from benchmark.console import waiting
    from benchmark.execute.executors import Job
    from benchmark.execute.preflight import networks

    with waiting("importing torch and avalanche"):
        started = time.perf_counter()
        first = [Job(spec, jobs[0].options) for spec in networks(job.spec for job in jobs)]
        others = [Job(jobs[0].spec, dataclasses.replace(jobs[0].options, device=device)) for device in devices[1:]]
        for job in first + others:
            if fault := executor.check(job):
                raise RequestError(fault)
    print(f"ready after {time.perf_counter() - started:.0f} s", flush=True)


def _estimated(executor: Executor, jobs: Sequence[Job], scenario: Scenario, data: ScenarioData) -> Estimates:
    """How long the runs will take, and a line that says so."""
    from benchmark.execute.estimate import estimates, in_words, time_steps

    options, specs = jobs[0].options, [job.spec for job in jobs]
    images = {task.index: len(task.train) for task in data.tasks}
    found = estimates(options.results, options.device, options.threads, scenario, images)
    time_steps(found, executor, jobs)
    known = [seconds for spec in specs if (seconds := found.seconds(spec)) is not None]
    executor.expect(max(known, default=None))
    if (total := found.total(specs, executor.at_once)) is not None:
        print(f"about {in_words(total)}, by {found.basis(specs)}", flush=True)
    return found
