"""A run that SLURM has, or will have, as the command that follows it sees it."""

from __future__ import annotations

import dataclasses
import os
import time
from contextlib import suppress
from dataclasses import dataclass

from benchmark.execute import shared_lock
from benchmark.execute.executors.ended_badly import record_of_the_dead
from benchmark.execute.executors.event_tail import EventTail
from benchmark.execute.executors.interface import Hear, Job
from benchmark.execute.executors.slurm_task import progress_of
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import RunFolder, run_folder
from results.schema import RunRecord

#: seconds for which a network file system may show a folder as it was before
GRACE = 60.0


@dataclass
class Followed:
    """What is known of the run, and of the jobs that it had."""

    job: Job
    tail: EventTail
    before: int | None  #: when its record was written that was there before, in nanoseconds
    progress: tuple[float, int]
    task: str = ""  #: id of the job of SLURM
    tries: int = 0  #: jobs that ended without getting it further
    last: str = ""  #: how the last of them ended
    ended: bool = False  #: the last that it told is that it is over
    quiet: float | None = None  #: since when its job is over and its record not seen, by ``time.monotonic``
    fault: str = ""  #: why the run is given up
    given_up: float = 0.0  #: when, by ``time.monotonic``

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return run_folder(self.job.options.results, *self.job.spec.ids)

    def begin_afresh(self) -> None:
        """Drop the checkpoints where ``--no-resume`` asks for it: now and not in the job, which may be queued again."""
        if self.job.options.resume:
            return
        with suppress(BlockingIOError), locked(self.folder.path / ".lock"):
            self.folder.begin_afresh()
        self.job = Job(self.job.spec, dataclasses.replace(self.job.options, resume=True))
        self.progress = progress_of([self.job])

    def heard(self, hear: Hear) -> RunRecord | None:
        """Pass on what the run has told since; its record where it is over."""
        for event in self.tail.read():
            self.ended = event["type"] == "run-end"
            if not self.ended:
                hear(self.job.spec, event)
        return self.record() if self.ended else None

    def record(self) -> RunRecord | None:
        """The run's record, if it was written since it is followed."""
        return self.folder.read() if written(self.folder) not in (None, self.before) else None

    def looked_anew(self) -> RunRecord | None:
        """The record of the run whose job is over, if there is one; the folder is listed first, past what is cached."""
        with suppress(OSError):
            os.listdir(self.folder.path)
        return self.record() or self.folder.read_finished()

    def may_show_late(self, completed: bool) -> bool:
        """The job is over as it should be, or the run said so, not long ago: its record may not be visible yet."""
        if self.quiet is None:
            self.quiet = time.monotonic()
        return (completed or self.ended) and time.monotonic() - self.quiet < GRACE

    def submit_again(self) -> None:
        """Have it waiting for another job."""
        self.task, self.ended, self.quiet = "", False, None

    def give_up(self, fault: str) -> None:
        """Call the run failed as soon as nobody is at it."""
        self.fault, self.given_up = fault, time.monotonic()

    def failed(self) -> RunRecord | None:
        """The record of a run given up. None: it is claimed, by another process or still by its dead job."""
        return record_of_the_dead(self.job, self.fault, time.time())

    @property
    def is_anothers(self) -> bool:
        """The claim on the run given up was watched for longer than one of a dead job lasts, whose end shows late."""
        return time.monotonic() - self.given_up >= shared_lock.STALE + GRACE


def followed(job: Job) -> Followed:
    """From now on."""
    folder = run_folder(job.options.results, *job.spec.ids)
    return Followed(job, EventTail(folder.events), written(folder), progress_of([job]))


def written(folder: RunFolder) -> int | None:
    """When the record was written, in nanoseconds; None: there is none."""
    try:
        return folder.record.stat().st_mtime_ns
    except OSError:
        return None
