"""What a job of SLURM does: carry out its runs one after another, each in a process of its own.

SLURM warns with SIGUSR2 before a job's time is over, and submitit then queues the job again: the runs go on from their
checkpoints. SIGTERM, which comes before a job is ended by force, is left to the main process: a run that it ended would
look as if it had failed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.execute.executors.ended_badly import record_of_the_dead
from benchmark.execute.executors.interface import Job
from benchmark.execute.executors.process import ProcessExecutor
from benchmark.execute.store import CACHE, run_folder
from benchmark.plan.device import devices_of, kind_of
from benchmark.plan.spec import RunSpec
from methods.registry import use_plugins

#: signals that a run's process does not heed
_OF_THE_JOB = (signal.SIGUSR2, signal.SIGTERM)


class Chunk:
    """Runs of one job. SLURM's node gets it pickled."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = tuple(jobs)
        self._progress: tuple[float, int] | None = None

    def __call__(self) -> None:
        """Carry out what is not finished."""
        from benchmark.execute.waves import run_wave

        self._progress = progress_of(self.jobs)
        options = self.jobs[0].options
        use_plugins(options.plugins)
        executor = ProcessExecutor(options.workers, devices_of(kind_of(options.device)))
        executor.patience = 5.0  # SLURM ends all processes of a job, not quite at once
        _start(executor)
        try:
            run_wave(executor, [job for job in self.jobs if not _refused(executor, job)], Log())
        finally:
            executor.stop(patience=0.0)

    def checkpoint(self) -> Any:
        """submitit asks for it when the job's time is over: what to queue again; None: nothing, it got no further."""
        if progress_of(self.jobs) == self._progress:
            print("no run got as far as a checkpoint in this job's time; it is not queued again", flush=True)
            return None
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Chunk(self.jobs))


class Log:
    """A job's output: a line for every task and run."""

    def hear(self, spec: Any, event: dict[str, Any]) -> None:
        """One event of one run."""
        if event["type"] in ("run-start", "task-end", "message"):
            said = {key: value for key, value in event.items() if key != "type"}
            print(f"{time.strftime('%H:%M:%S')} {spec.run_id}: {event['type']} {said}", flush=True)

    def ended(self, spec: Any, record: Any) -> None:
        """A run is over."""
        told = "another process is at it" if record is None else record.status
        print(f"{time.strftime('%H:%M:%S')} {spec.run_id}: {told}", flush=True)

    def wait(self, spec: Any) -> None:
        """A run is another process's."""
        print(f"{spec.run_id}: waiting for the other process", flush=True)


def progress_of(jobs: Sequence[Job]) -> tuple[float, int]:
    """How far runs are, for telling whether they got further: the time of the newest checkpoint, and finished runs.

    What they share with others counts, the task-1 network say, but not what other runs alone wait for.
    """
    folders = [run_folder(job.options.results, *job.spec.ids) for job in jobs]
    paths = [path for folder in folders for path in (folder.checkpoint, folder.inner_checkpoint)]
    if shared := list((jobs[0].options.results / CACHE).glob("*/*.unfinished")):
        keys = {key for job in jobs for key in _shared_keys(job.spec)}
        paths += [path for path in shared if path.stem in keys]
    return max(map(_time, paths), default=0.0), sum(folder.record.exists() for folder in folders)


def _shared_keys(spec: RunSpec) -> set[str | None]:
    """Names of what the run may train for several."""
    goals = {key(index) for key in (spec.goal_key, spec.first_goal_key) for index in spec.task_indices}
    return {spec.initial_key, spec.first_initial_key, *goals}


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _refused(executor: ProcessExecutor, job: Job) -> bool:
    """The run cannot be carried out on this node; its record says why."""
    if kind_of(job.options.device) == "cpu":
        return False  # the command looked before it submitted
    fault = executor.check(job)
    if fault is not None:
        record_of_the_dead(job, fault, time.time())
    return fault is not None


def _start(executor: ProcessExecutor) -> None:
    """Start the server; it and its children ignore the signals that are for this process alone."""
    from multiprocessing import resource_tracker

    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _OF_THE_JOB}
    resource_tracker.ensure_running()
    executor.start()
    for number, handler in handlers.items():
        signal.signal(number, handler)
