"""What carries out runs: one interface, in this process or in child processes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.execute.executors.interface import Executor, Hear, Job
from benchmark.execute.executors.local import LocalExecutor
from benchmark.execute.executors.process import ProcessExecutor
from benchmark.plan.execution import RunOptions
from benchmark.plan.slurm_option import slurm_options

__all__ = ["Executor", "Hear", "Job", "LocalExecutor", "ProcessExecutor", "executor_for"]


def executor_for(options: RunOptions, devices: Sequence[str] = ()) -> Executor:
    """The executor that ``--executor`` names; ``devices``: those that runs are spread over, none: the options' one."""
    if options.executor == "local":
        return LocalExecutor()
    if options.executor == "slurm":
        from benchmark.execute.executors.slurm import SlurmExecutor

        return SlurmExecutor(slurm_options(options.slurm), options.workers)
    return ProcessExecutor(options.workers, devices or (options.device,))
