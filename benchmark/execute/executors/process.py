"""A clean child process per run, from one server that has torch and Avalanche imported. Children end when their parent
does."""

from __future__ import annotations

import dataclasses
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from benchmark.execute.allocator import without_thread_cache
from benchmark.execute.executors.children import check_in_child, run_in_child, time_in_child
from benchmark.execute.executors.ended_badly import record_of_the_dead
from benchmark.execute.executors.interface import Executor, Hear, Job
from results.schema import RunRecord
from results.temporary import scratch_folder

PRELOAD = ["benchmark.execute.preload"]

#: letters of a folder for temporary files that leave room for a socket's name
LONGEST_TEMPORARY = 60


@contextmanager
def unnamed_main() -> Iterator[None]:
    """Children do not import the caller's script: it may start runs as it is imported, without a main guard."""
    names: Any = vars(sys.modules["__main__"])
    hidden = {name: names.pop(name) for name in ("__file__", "__spec__") if name in names}
    names["__spec__"] = None
    try:
        yield
    finally:
        names.update(hidden)


@dataclass(frozen=True)
class _Running:
    """A run's process, when it was started (seconds since 1970), and its device."""

    process: Any
    job: Job
    connection: Connection
    since: float
    device: str = ""


def _place_of_sockets() -> None:
    """The server's sockets lie in a temporary folder, which the next command removes where this one is killed. The
    system allows their paths about 100 letters."""
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir"):
        return
    usual = tempfile.gettempdir()
    folder = scratch_folder(Path("/tmp" if len(usual) > LONGEST_TEMPORARY and os.access("/tmp", os.W_OK) else usual))
    config["tempdir"] = str(folder.__enter__())
    multiprocessing.util.Finalize(None, folder.__exit__, args=(None, None, None), exitpriority=-100)


class ProcessExecutor(Executor):
    """A process per run, ``workers`` at a time on every device, forked from a server that imported torch and Avalanche
    once. A run stays on the device on which it was started; without ``devices`` it is on that of its own options."""

    #: seconds before a run whose process died is called failed
    patience = 0.0

    def __init__(self, workers: int = 1, devices: Sequence[str] = ()) -> None:
        self.workers, self.devices = workers, tuple(devices) or ("",)
        self._context = multiprocessing.get_context("forkserver")
        self._running: dict[Any, _Running] = {}

    @property
    def at_once(self) -> int:
        """See ``Executor.at_once``."""
        return self.workers * len(self.devices)

    def start(self) -> None:
        """Begin importing in the server; returns at once."""
        _place_of_sockets()
        self._context.set_forkserver_preload(PRELOAD)
        from multiprocessing import forkserver

        with without_thread_cache():
            forkserver.ensure_running()

    def check(self, job: Job) -> str | None:
        """See ``Executor.check``."""
        answer: str | None = self._ask(check_in_child, job)
        return answer

    def seconds_per_step(self, job: Job) -> float | str:
        """See ``Executor.seconds_per_step``."""
        answer: float | str = self._ask(time_in_child, job)
        return answer

    def _ask(self, target: Callable[[Job, Connection], None], job: Job) -> Any:
        """What a child process sends; a sentence where it ends without a word."""
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=target, args=(job, sender), daemon=True)
        with unnamed_main():
            process.start()
        sender.close()
        try:
            return receiver.recv()
        except EOFError:
            process.join()
            return f"The worker process ended with code {process.exitcode} before it could load the backbone."
        finally:
            process.join()

    def run(self, jobs: Iterable[Job], hear: Hear) -> Iterator[tuple[Job, RunRecord | None]]:
        """See ``Executor.run``."""
        waiting = list(jobs)
        while waiting or self._running:
            while waiting and len(self._running) < self.at_once:
                self._launch(waiting.pop(0))
            for receiver in wait(list(self._running), timeout=0.5):
                running = self._running[receiver]
                try:
                    kind, value = running.connection.recv()
                except (EOFError, OSError):
                    running.process.join()
                    kind, value = "done", _record_of_the_dead(running, self.patience)
                if kind == "event":
                    hear(running.job.spec, value)
                else:
                    del self._running[receiver]
                    running.process.join()
                    yield running.job, value

    def _launch(self, job: Job) -> None:
        device = self._least_busy()
        options = dataclasses.replace(job.options, device=device or job.options.device)
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=run_in_child, args=(Job(job.spec, options), sender), daemon=True)
        with unnamed_main():
            process.start()
        sender.close()
        self._running[receiver] = _Running(process, job, receiver, time.time(), device)

    def _least_busy(self) -> str:
        """The device with the fewest runs; of several the first."""
        busy = Counter(running.device for running in self._running.values())
        return min(self.devices, key=lambda device: busy[device])

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


def _record_of_the_dead(running: _Running, patience: float = 0.0) -> RunRecord | None:
    """The record of a run whose process ended before it could say so: what it wrote, else a failed one.

    None: another process has taken the run over.
    """
    code = running.process.exitcode
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    error = f"The run's process ended with {name} before the run did; its checkpoint is kept, run again to go on."
    return record_of_the_dead(running.job, error, running.since, patience)
