"""What a run's own process does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmark.execute.executors.interface import Job
from benchmark.execute.store import leave_warnings_to_the_command
from benchmark.plan.device import kind_of
from benchmark.plan.execution import RunOptions
from methods.registry import PluginWarning, use_plugins


def _end_with_parent() -> None:
    """Watch the parent from a thread and end this process when it is gone."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _prepare_child(options: RunOptions) -> None:
    warnings.filterwarnings("ignore", message="No loggers specified")
    warnings.simplefilter("ignore", PluginWarning)  # said once, by the command
    leave_warnings_to_the_command()
    use_plugins(options.plugins)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with_parent()


def prepare_torch(options: RunOptions) -> None:
    """Memory and threads of this process as a run wants them."""
    import torch

    from benchmark.execute.allocator import keep_freed_blocks

    if kind_of(options.device) == "cpu":
        keep_freed_blocks()
    if options.threads:
        torch.set_num_threads(options.threads)


def run_in_child(job: Job, connection: Connection) -> None:
    """Carry the run out, sending its events and then its record."""
    _prepare_child(job.options)
    from benchmark.execute.runner import run

    prepare_torch(job.options)

    def emit(event: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            connection.send(("event", event))

    record = run(job.spec, job.options, emit)
    with suppress(BrokenPipeError):
        connection.send(("done", record))


def check_in_child(job: Job, connection: Connection) -> None:
    """Send what is wrong with the job, or None."""
    _prepare_child(job.options)
    connection.send(fault(job))


def time_in_child(job: Job, connection: Connection) -> None:
    """Send the seconds of one training step, or what is wrong with the job."""
    _prepare_child(job.options)
    from benchmark.execute.estimate import seconds_per_step

    prepare_torch(job.options)
    try:
        connection.send(fault(job) or seconds_per_step(job))
    except Exception as error:  # the run itself will say what is wrong, in its record
        connection.send(f"{job.spec.method} could not be timed: {type(error).__name__}: {error}.")


def fault(job: Job) -> str | None:
    """What is wrong with the job's device, backbone, weights or mask, in one sentence; None: nothing."""
    from benchmark.execute.preflight import fault as found

    return found(job.spec, job.options)
