"""Runs in this very process."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from typing import Any

from benchmark.execute.executors.children import fault, prepare_torch
from benchmark.execute.executors.interface import Executor, Hear, Job
from benchmark.plan.spec import RunSpec
from results.schema import RunRecord


class LocalExecutor(Executor):
    """Runs in this very process, one after another: for debugging."""

    def start(self) -> None:
        """Nothing to start."""

    def check(self, job: Job) -> str | None:
        """See ``Executor.check``."""
        return fault(job)

    def seconds_per_step(self, job: Job) -> float | str:
        """See ``Executor.seconds_per_step``."""
        from benchmark.execute.estimate import seconds_per_step

        prepare_torch(job.options)
        try:
            return fault(job) or seconds_per_step(job)
        except Exception as error:  # the run itself will say what is wrong, in its record
            return f"{job.spec.method} could not be timed: {type(error).__name__}: {error}."

    def run(self, jobs: Iterable[Job], hear: Hear) -> Iterator[tuple[Job, RunRecord | None]]:
        """See ``Executor.run``."""
        import torch

        from benchmark.execute.runner import run

        threads = torch.get_num_threads()
        for job in jobs:

            def emit(event: dict[str, Any], spec: RunSpec = job.spec) -> None:
                hear(spec, event)

            prepare_torch(job.options)
            gc.collect()  # networks of the run before, and of the steps that were timed, are circles
            record = run(job.spec, job.options, emit)
            torch.set_num_threads(threads)
            yield job, record

    def stop(self, patience: float = 3.0) -> None:
        """Nothing to stop."""
