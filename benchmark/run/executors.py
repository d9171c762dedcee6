"""Carrying out runs apart from the command line: a clean child process per run, from one server that has torch and
Avalanche imported. Children end when their parent does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from benchmark.plan.spec import RunOptions, RunSpec
from benchmark.run.store import locked, run_folder
from methods.registry import METHODS, PluginWarning, use_plugins
from results.schema import FAILED, RunRecord

#: ``hear(spec, event)``: progress of a run
Hear = Callable[[RunSpec, dict[str, Any]], None]

PRELOAD = ["benchmark.run.preload"]


@dataclass(frozen=True)
class Job:
    """A run to do and how."""

    spec: RunSpec
    options: RunOptions


@dataclass(frozen=True)
class _Running:
    """A run's process, and when it was started (seconds since 1970)."""

    process: Any
    job: Job
    connection: Connection
    since: float


class LocalExecutor:
    """Runs in this very process, one after another: for debugging."""

    def start(self) -> None:
        """Nothing to start."""

    def check(self, job: Job) -> str | None:
        """See ``ProcessExecutor.check``."""
        from benchmark.run.preflight import fault

        return fault(job.spec, job.options)

    def run(self, jobs: Iterable[Job], hear: Hear) -> Iterator[tuple[Job, RunRecord | None]]:
        """Carry out jobs; yields each with its record (None: another process is at it)."""
        import torch

        from benchmark.run.runner import run

        threads = torch.get_num_threads()
        for job in jobs:

            def emit(event: dict[str, Any], spec: RunSpec = job.spec) -> None:
                hear(spec, event)

            _prepare_torch(job.options)
            record = run(job.spec, job.options, emit)
            torch.set_num_threads(threads)
            yield job, record

    def stop(self) -> None:
        """Nothing to stop."""


class ProcessExecutor:
    """A process per run, ``workers`` at a time, forked from a server that imported torch and Avalanche once."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._context = multiprocessing.get_context("forkserver")
        self._running: dict[Any, _Running] = {}

    def start(self) -> None:
        """Begin importing in the server; returns at once."""
        self._context.set_forkserver_preload(PRELOAD)
        from multiprocessing import forkserver

        forkserver.ensure_running()

    def check(self, job: Job) -> str | None:
        """What is wrong with the job's backbone and weights, in one sentence; None: nothing."""
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_check_in_child, args=(job, sender), daemon=True)
        process.start()
        sender.close()
        try:
            answer: str | None = receiver.recv()
            return answer
        except EOFError:
            process.join()
            return f"The worker process ended with code {process.exitcode} before it could load the backbone."
        finally:
            process.join()

    def run(self, jobs: Iterable[Job], hear: Hear) -> Iterator[tuple[Job, RunRecord | None]]:
        """Carry out jobs; yields each as it ends, with its record (None: another process is at it)."""
        waiting = list(jobs)
        while waiting or self._running:
            while waiting and len(self._running) < self.workers:
                self._launch(waiting.pop(0))
            for receiver in wait(list(self._running), timeout=0.5):
                running = self._running[receiver]
                try:
                    kind, value = running.connection.recv()
                except (EOFError, OSError):
                    running.process.join()
                    kind, value = "done", _record_of_the_dead(running)
                if kind == "event":
                    hear(running.job.spec, value)
                else:
                    del self._running[receiver]
                    running.process.join()
                    yield running.job, value

    def _launch(self, job: Job) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_run_in_child, args=(job, sender), daemon=True)
        process.start()
        sender.close()
        self._running[receiver] = _Running(process, job, receiver, time.time())

    def kill(self) -> None:
        """End running children at once (SIGKILL), as a failing machine would."""
        for running in self._running.values():
            running.process.kill()

    def stop(self, patience: float = 3.0) -> None:
        """End running children: ask first, then kill. What they finished and checkpointed stays."""
        processes = [running.process for running in self._running.values()]
        for process in processes:
            if process.is_alive():
                process.terminate()
        end = time.monotonic() + patience
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._running.clear()


def _record_of_the_dead(running: _Running) -> RunRecord | None:
    """The record of a run whose process ended before it could say so: what it wrote, else a failed one.

    None: another process has taken the run over.
    """
    from datetime import UTC, datetime

    from results.atomic import write_json

    job, code = running.job, running.process.exitcode
    folder = run_folder(Path(job.options.results), *job.spec.ids)
    try:
        with locked(folder.path / ".lock"):
            found = folder.read()
            finished = found is not None and found.finished
            if finished and folder.record.stat().st_mtime >= running.since:
                folder.forget_checkpoints()
                return found
            now = datetime.now(UTC).isoformat(timespec="seconds")
            name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
            error = (
                f"The run's process ended with {name} before the run did; its checkpoint is kept, run again to go on."
            )
            provenance = {"started": now, "finished": now}
            facts = METHODS[job.spec.method].facts()
            record = RunRecord(folder.run_id, FAILED, job.spec.to_json(), provenance, error=error, method=facts)
            if not finished:  # a record that --force was to replace stays
                with suppress(OSError):
                    write_json(folder.record, record.to_json())
    except BlockingIOError:
        return None
    return record


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
    use_plugins(options.plugins)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with_parent()


def _prepare_torch(options: RunOptions) -> None:
    """Memory and threads of this process as a run wants them."""
    import torch

    from benchmark.run.allocator import keep_freed_blocks

    if options.device == "cpu":
        keep_freed_blocks()
    if options.threads:
        torch.set_num_threads(options.threads)


def _run_in_child(job: Job, connection: Connection) -> None:
    _prepare_child(job.options)
    from benchmark.run.runner import run

    _prepare_torch(job.options)

    def emit(event: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            connection.send(("event", event))

    record = run(job.spec, job.options, emit)
    with suppress(BrokenPipeError):
        connection.send(("done", record))


def _check_in_child(job: Job, connection: Connection) -> None:
    _prepare_child(job.options)
    from benchmark.run.preflight import fault

    connection.send(fault(job.spec, job.options))
