"""Jobs in their order: runs that train by themselves first, then those that start from a finished run's networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmark.plan.needed import how_to_repeat, needed_run

if TYPE_CHECKING:
    from benchmark.execute.estimate import Estimates
    from benchmark.execute.executors import Executor, Job
    from benchmark.plan.execution import RunOptions
    from benchmark.plan.spec import RunSpec
    from results.schema import RunRecord


def waves(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs in groups, each of which needs nothing but what groups before it leave."""
    for needs in (False, True):
        if group := [job for job in jobs if (needed_run(job.spec) is not None) == needs]:
            yield group


def networks_not_kept(spec: RunSpec, results: Path) -> str | None:
    """In a sentence: the finished run that ``spec`` starts from has not got its networks; None: it has, there is no
    such run, or none is needed."""
    from benchmark.execute.store import run_folder

    needed = needed_run(spec)
    folder = run_folder(results, *needed.ids) if needed is not None else None
    if needed is None or folder is None or folder.read_finished() is None:
        return None
    if (absent := folder.absent(needed.task_indices)) is None:
        return None
    why = (
        f"{spec.method} starts from the networks of {needed.method}, and {folder.run_id} in {results} did not keep them"
    )
    return f"{why} ({absent.name} is not there); {how_to_repeat(spec, needed)}."


def keep_needed_networks(jobs: Sequence[Job]) -> None:
    """Have the runs that others start from keep their networks."""
    from benchmark.execute.store import run_folder

    for job in jobs:
        if (needed := needed_run(job.spec)) is not None:
            run_folder(job.options.results, *needed.ids).want_networks()


def run_needed(spec: RunSpec, options: RunOptions) -> None:
    """Carry out, in this process on one thread, the run that ``spec`` needs, where there is no finished one.

    Raises:
        RuntimeError: it does not finish.
    """
    import torch

    from benchmark.execute.runner import run
    from benchmark.execute.store import run_folder

    needed = needed_run(spec)
    if needed is None or run_folder(options.results, *needed.ids).read_finished() is not None:
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        record = run(needed, options, lambda event: None)
    finally:
        torch.set_num_threads(threads)
    if record is None or not record.finished:
        raise RuntimeError(f"the run of {needed.method} that {spec.method} starts from did not finish")


def run_all(executor: Executor, jobs: Sequence[Job], done: int, found: Estimates | None) -> int:
    """Carry out jobs under a progress display, and write their logs; returns how many failed."""
    from benchmark.console import Console
    from benchmark.logs.writing import Logs

    if not jobs:
        with Console([], done, found):
            return 0
    options = jobs[0].options
    with (
        Console([job.spec for job in jobs], done, found, executor.at_once) as console,
        Logs(options.log, options.results) as logs,
    ):
        return sum(run_wave(executor, wave, Both(console, logs)) for wave in waves(jobs))


class Display(Protocol):
    """What is told of runs under way."""

    def hear(self, spec: RunSpec, event: dict[str, Any]) -> None:
        """One event of one run."""

    def ended(self, spec: RunSpec, record: RunRecord | None) -> None:
        """A run is over; None: another process is at it."""

    def wait(self, spec: RunSpec) -> None:
        """A run is another process's, which is waited for."""


class Both:
    """Two displays that are told the same."""

    def __init__(self, first: Display, second: Display) -> None:
        self._displays = (first, second)

    def hear(self, spec: RunSpec, event: dict[str, Any]) -> None:
        """See ``Display.hear``."""
        for display in self._displays:
            display.hear(spec, event)

    def ended(self, spec: RunSpec, record: RunRecord | None) -> None:
        """See ``Display.ended``."""
        for display in self._displays:
            display.ended(spec, record)

    def wait(self, spec: RunSpec) -> None:
        """See ``Display.wait``."""
        for display in self._displays:
            display.wait(spec)


def run_wave(executor: Executor, jobs: Sequence[Job], console: Display) -> int:
    """Carry out jobs, and those that others are at once these are done with them; returns how many failed."""
    failed = 0
    left: list[Job] = []
    for job, record in executor.run(jobs, console.hear):
        console.ended(job.spec, record)
        failed += record is not None and not record.finished
        left += [job] if record is None else []
    while left:  # what others were at: theirs when they finish it, ours when they do not
        job = left.pop(0)
        console.wait(job.spec)
        wait_for(job)
        for again, record in executor.run([job], console.hear):
            console.ended(again.spec, record)
            failed += record is not None and not record.finished
            left += [again] if record is None else []
    return failed


def wait_for(job: Job) -> None:
    """Until no other process is at the run."""
    from benchmark.execute.shared_lock import locked
    from benchmark.execute.store import run_folder

    with locked(run_folder(job.options.results, *job.spec.ids).path / ".lock", lambda: None):
        pass
