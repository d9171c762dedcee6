"""Runs as jobs of SLURM: submitted through submitit, followed through their events in the shared results folder.

The command may be left and given again: it takes up the jobs that are still there. A job that ended before its runs did
is submitted again as long as its runs get further.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from benchmark.errors import RequestError
from benchmark.execute.executors import slurm_jobs, slurm_queue
from benchmark.execute.executors.followed_run import Followed, followed
from benchmark.execute.executors.interface import Executor, Hear, Job
from benchmark.execute.executors.process import ProcessExecutor
from benchmark.execute.executors.slurm_task import progress_of
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import RunFolder
from benchmark.plan.device import kind_of
from benchmark.plan.slurm_option import SlurmOptions, chunk_size, chunked
from results.schema import RunRecord

#: seconds between two looks at the events, and at the queue
LOOK, ASK = 0.5, 5.0
#: jobs of an array where SLURM does not tell its limit
USUAL_ARRAY = 1000


class SlurmExecutor(Executor):
    """An array job of SLURM, a run or several short ones a job."""

    def __init__(self, options: SlurmOptions, workers: int = 1) -> None:
        self.options, self.workers = options, workers
        self._inner = ProcessExecutor()  # for looking at networks before anything is submitted
        self._open: dict[str, Followed] = {}
        self._seconds: float | None = None
        self._submitted = 0.0
        self._waiting: set[str] = set()  # jobs that have not begun, whose runs have nothing to tell

    @property
    def at_once(self) -> int:
        """See ``Executor.at_once``."""
        return self.options.parallel * self.workers

    def start(self) -> None:
        """See ``Executor.start``. Raises RequestError: SLURM takes no such jobs."""
        slurm_queue.require_slurm(self.options)
        slurm_queue.require_room(1)
        self._inner.start()

    def check(self, job: Job) -> str | None:
        """See ``Executor.check``; on the processor of this machine, which may have no card. The job looks again."""
        if kind_of(job.options.device) != "cpu":
            spec = dataclasses.replace(job.spec, device="cpu", precision="fp32", compile="off")
            job = Job(spec, dataclasses.replace(job.options, device="cpu"))
        return self._inner.check(job)

    def seconds_per_step(self, job: Job) -> float | str:
        """See ``Executor.seconds_per_step``."""
        if kind_of(job.options.device) != "cpu":
            return "the steps of a card are not timed here"
        return self._inner.seconds_per_step(job)

    def expect(self, seconds: float | None) -> None:
        """See ``Executor.expect``."""
        self._seconds = seconds

    @property
    def parting(self) -> str:
        """See ``Executor.parting``."""
        tasks = sorted({item.task for item in self._open.values() if item.task})
        if not tasks:
            return ""
        arrays = sorted({task.partition("_")[0] for task in tasks}, key=int)
        return (
            f"{len(tasks)} job{'s' if len(tasks) > 1 else ''} of SLURM go on; the same command follows them again, "
            f"'scancel {' '.join(arrays)}' ends them"
        )

    def run(self, jobs: Iterable[Job], hear: Hear) -> Iterator[tuple[Job, RunRecord | None]]:
        """See ``Executor.run``."""
        self._open = {job.spec.run_id: followed(job) for job in jobs}
        results = next(iter(self._open.values())).job.options.results
        with locked(_lock(results), lambda: None):  # two commands would submit the same
            self._take_up(results)
            todo = [item for item in self._open.values() if not item.task]
            for item in todo:
                item.begin_afresh()
            try:
                self._submit(results, todo)
            except RequestError as error:
                raise RequestError(f"{error} {self.parting[:1].upper()}{self.parting[1:]}".strip()) from None
        asked = time.monotonic()
        while self._open:
            for item in [item for item in self._open.values() if item.task not in self._waiting]:
                if (record := item.heard(hear)) is not None:
                    yield self._over(item, record)
            if self._open and time.monotonic() - asked >= ASK:
                asked = time.monotonic()
                for item, record in self._look(results, hear):
                    yield self._over(item, record)
            time.sleep(LOOK)
        self._clean(results)

    def _over(self, item: Followed, record: RunRecord | None) -> tuple[Job, RunRecord | None]:
        del self._open[item.job.spec.run_id]
        return item.job, record

    def _take_up(self, results: Path) -> None:
        """Find the runs that jobs of an earlier command have. Raises RequestError: SLURM does not say which live."""
        if not (known := slurm_jobs.known(results)):
            return
        if (standings := slurm_queue.standings()) is None:
            raise RequestError(
                f"squeue does not answer, so that jobs submitted earlier for {results} may still run; give the command "
                "again when it does."
            )
        for task, runs in known.items():
            standing = standings.get(task)
            for run in runs if standing is not None and standing.alive else ():
                if run in self._open and not self._open[run].task:
                    self._open[run].task = task
                    self._open[run].tail.rewind()
        if taken := sum(bool(item.task) for item in self._open.values()):
            print(f"{taken} run{'s are' if taken > 1 else ' is'} in SLURM's queue already", flush=True)

    def _submit(self, results: Path, items: Sequence[Followed]) -> None:
        """Submit runs. Raises RequestError: SLURM takes no more; those that it took go on."""
        if not items:
            return
        size = chunk_size(self.options, len(items), self._seconds)
        chunks = chunked([item.job for item in items], size)
        slurm_queue.require_room(len(chunks))
        most = max(1, slurm_queue.limits().get("MaxArraySize", USUAL_ARRAY + 1) - 1)
        for part in chunked(chunks, most):
            for task, jobs in slurm_jobs.submit(results, self.options, part).items():
                for job in jobs:
                    self._open[job.spec.run_id].task = task
        self._submitted = time.monotonic()

    def _look(self, results: Path, hear: Hear) -> Iterator[tuple[Followed, RunRecord | None]]:
        """Ask SLURM; what waits in vain has failed, what ended too early is submitted again."""
        standings = slurm_queue.standings()
        self._waiting = {task for task, one in (standings or {}).items() if one.state == "PENDING"}
        if standings is None or time.monotonic() - self._submitted < LOOK:
            return
        again = []
        for item in list(self._open.values()):
            standing = standings.get(item.task)
            if standing is not None and standing.hopeless:
                slurm_queue.cancel([item.task])
            elif standing is not None and standing.alive:
                continue
            if (record := item.heard(hear) or item.looked_anew()) is not None:
                yield item, record
                continue
            if not item.fault and item.may_show_late(standing is not None and standing.state == "COMPLETED"):
                continue
            if not item.fault:
                self._judge(item, standing)
            if not item.fault:
                again.append(item)
            elif (failed := item.failed()) is not None or item.is_anothers:
                yield item, failed
        for item in again:
            text = f"{item.last} before the run did; it is submitted again and goes on from its checkpoint"
            hear(item.job.spec, {"type": "message", "text": text})
            item.submit_again()
        try:
            if again:
                with locked(_lock(results), lambda: None):
                    self._submit(results, again)
        except RequestError as error:
            for item in again:
                if not item.task:
                    item.give_up(f"{item.last}, and SLURM takes no more: {error}")

    def _judge(self, item: Followed, standing: slurm_queue.Standing | None) -> None:
        """Give a run up whose job ended without it, or waits in vain, unless a further job may get it further."""
        if standing is not None and standing.hopeless:
            item.give_up(f"SLURM cannot place job {item.task}: {standing.reason}; change --slurm.")
            return
        item.last = f"job {item.task} of SLURM ended as {standing or 'one that it does not remember'}"
        progress = progress_of([item.job])
        item.tries = 0 if progress != item.progress else item.tries + 1
        item.progress = progress
        if item.tries >= self.options.tries:
            where = slurm_jobs.folder_of(item.job.options.results) / f"{item.task}_0_log.err"
            item.give_up(f"{item.last}, {item.tries} without getting further; see {where}.")

    def _clean(self, results: Path) -> None:
        """Remove what finished jobs left, unless another command is about to submit some: it will do so itself."""
        with suppress(BlockingIOError), locked(_lock(results)):
            standings = slurm_queue.standings()
            if standings is None:
                return
            known = slurm_jobs.known(results)
            ids = {run for runs in known.values() for run in runs}
            finished = [run for run in ids if RunFolder(results / run).read_finished() is not None]
            slurm_jobs.forget(results, [task for task, standing in standings.items() if standing.alive], finished)

    def cancel(self) -> None:
        """End the jobs that are still open."""
        slurm_queue.cancel(sorted({item.task for item in self._open.values() if item.task}))

    def stop(self, patience: float = 3.0) -> None:
        """Jobs of SLURM go on; see ``Executor.stop``."""
        self._inner.stop(patience)


def _lock(results: Path) -> Path:
    """Held by the command that submits jobs, or forgets them."""
    return slurm_jobs.folder_of(results) / ".lock"
