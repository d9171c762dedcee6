"""kill -9 at random moments, twenty times: the resumed run ends as if nothing had been, and leaves nothing behind.

``MASKBENCH_KILLS`` is the number of kills (``tox -e kills``: 50). Seeds are fixed; the moments are as the machine is.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from small_runs import accounted, leftovers, numbers, small_options, small_spec, stored

from benchmark.execute.executors import Job, ProcessExecutor
from benchmark.execute.executors.children import run_in_child
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import run_folder
from benchmark.plan.spec import RunSpec
from results.schema import RunRecord

REPOSITORY = Path(__file__).resolve().parent.parent
METHODS = ("ksm", "piggyback", "packnet", "cpg", "finetune-sequential")
#: in children of one server; two more at the command line
KILLS_IN_CHILDREN = int(os.environ.get("MASKBENCH_KILLS", "18"))
KILLS_PER_RUN = 2


@dataclass
class Toll:
    """What the kills cost."""

    kills: int = 0
    methods: dict[str, list[int]] = field(default_factory=dict)  #: runs, kills, and checkpoints gone on from, by method
    lost: list[float] = field(default_factory=list)  #: seconds between the last checkpoint and each kill
    repeated: list[float] = field(default_factory=list)  #: seconds of getting back to it

    def __str__(self) -> str:
        table = [f"{'method':<22} {'runs':>5} {'kills':>6} {'resumed':>8}  matrix, masks, curves, files"]
        table += [
            f"{name:<22} {runs:>5} {kills:>6} {resumed:>8}  all the same"
            for name, (runs, kills, resumed) in self.methods.items()
        ]
        return "\n".join(table) + (
            f"\n{self.kills} kills; lost work per kill: mean {sum(self.lost) / len(self.lost):.2f} s, "
            f"worst {max(self.lost):.2f} s; getting back: {sum(self.repeated) / self.kills:.2f} s per kill"
        )


@pytest.fixture(scope="module")
def server() -> Iterator[ProcessExecutor]:
    """A server with torch and Avalanche imported."""
    executor = ProcessExecutor()
    executor.start()
    yield executor
    executor.stop()


def launch(server: ProcessExecutor, job: Job) -> tuple[Any, Any]:
    """Start a run in a child of the server: (process, the end of the pipe that it reports to)."""
    receiver, sender = server._context.Pipe(duplex=False)
    process = server._context.Process(target=run_in_child, args=(job, sender), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def wait_for_end(process: Any, receiver: Any) -> None:
    """Drain the pipe until the child is done."""
    while process.is_alive() or receiver.poll():
        if receiver.poll(0.02):
            try:
                receiver.recv()
            except EOFError:
                break
    process.join()


def carry_out(server: ProcessExecutor, job: Job) -> RunRecord:
    """A whole run in a child; its record."""
    wait_for_end(*launch(server, job))
    record = run_folder(Path(job.options.results), job.spec.run_id).read()
    assert record is not None
    return record


def killed_after(server: ProcessExecutor, job: Job, seconds: float, *, of_learning: bool) -> float | None:
    """Start a run and kill it -9 after so long; seconds of work lost, None where it had ended before.

    ``of_learning``: counted from when it begins to learn, not from its start, most of which is reading and building.
    """
    process, receiver = launch(server, job)
    started = time.time()
    end = None if of_learning else started + seconds
    while (end is None or time.time() < end) and process.is_alive():
        if receiver.poll(0.002):
            try:
                kind, event = receiver.recv()
            except EOFError:
                break
            if end is None and kind == "event" and event["type"] == "run-start":
                end = time.time() + seconds
    if not process.is_alive():
        return None
    process.kill()  # says nothing where the run ends in this very moment
    process.join()
    if process.exitcode != -signal.SIGKILL:
        return None
    now = time.time()
    results = Path(job.options.results)
    kept = [path.stat().st_mtime for pattern in ("*/checkpoint*", ".cache/*/*") for path in results.glob(pattern)]
    return now - max([started, *kept])


def test_kill_at_random_moments_changes_nothing(
    server: ProcessExecutor, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = random.Random(20)
    specs = {method: small_spec(method, epochs=1 if method == "cpg" else 3, train_limit=90) for method in METHODS}
    calm: dict[str, tuple[RunRecord, float]] = {}
    for method, spec in specs.items():
        started = time.time()
        calm[method] = carry_out(server, Job(spec, small_options(tmp_path / "calm"))), time.time() - started
    toll, turn = Toll(), 0
    while toll.kills < KILLS_IN_CHILDREN:
        method = METHODS[turn % len(METHODS)]
        often = turn // len(METHODS) % 2 == 0
        results = tmp_path / f"turn{turn}"
        options = small_options(results, checkpoint_seconds=0.0 if often else 60.0)
        job = Job(specs[method], options)
        undisturbed, duration = calm[method]
        before = toll.kills
        for _ in range(KILLS_PER_RUN):
            of_learning = turn % 3 > 0
            most = accounted(undisturbed) - undisturbed.seconds["load"] - undisturbed.seconds["warm-up"]
            moment = moments.uniform(0.0, most if of_learning else 0.7 * duration)
            lost = killed_after(server, job, moment, of_learning=of_learning)
            if lost is None:
                break
            toll.kills += 1
            toll.lost.append(lost)
        record = carry_out(server, job)
        toll.repeated.append(record.provenance["repeated_seconds"])
        tally = toll.methods.setdefault(method, [0, 0, 0])
        tally[0] += 1
        tally[1] += toll.kills - before
        tally[2] += record.provenance["sessions"] - 1
        where = f"{method}, turn {turn}, {record.provenance['sessions']} sessions"
        assert numbers(record) == numbers(undisturbed), where
        assert stored(results / record.run_id) == stored(tmp_path / "calm" / record.run_id), where
        assert leftovers(results) == [], where
        shutil.rmtree(results)
        turn += 1
    assert toll.kills >= KILLS_IN_CHILDREN
    record_property("toll", str(toll))
    with capsys.disabled():
        print(f"\n{toll}")


def start_command(results: Path, seed: int) -> subprocess.Popen[bytes]:
    words = ["run", "--method", "packnet", "--seed", str(seed), "--tasks", "3", "--epochs", "20", "--threads", "1"]
    words += ["--device", "cpu"]
    words += ["--keep-weights", "all", "--results", str(results), "--set", "run.checkpoint_seconds=0"]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark", *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=results.parent,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def epochs_heard(spec: RunSpec, results: Path) -> int:
    """Epochs in the run's event log so far."""
    path = run_folder(results, spec.run_id).events
    return path.read_text().count('"epoch"') if path.exists() else 0


def kill_on_the_way(
    command: subprocess.Popen[bytes], spec: RunSpec, results: Path, after: float, *, everything: bool
) -> None:
    """Kill the command -9 ``after`` seconds into its run: with ``everything`` it started, or alone; then the run's
    process ends by itself, which is waited for."""
    while epochs_heard(spec, results) < 3:  # it imports for seconds first
        assert command.poll() is None, "the command ended before it could be killed"
        time.sleep(0.005)
    time.sleep(after)
    assert command.poll() is None, "the command ended before it could be killed"
    if everything:
        os.killpg(command.pid, signal.SIGKILL)
    else:
        command.kill()
    command.wait()
    deadline = time.monotonic() + 10
    while True:
        try:
            with locked(run_folder(results, spec.run_id).path / ".lock"):
                return
        except BlockingIOError:
            assert time.monotonic() < deadline, "the run's process outlived its parent"
            time.sleep(0.02)


def test_kill_of_two_command_lines_on_one_folder_changes_nothing(server: ProcessExecutor, tmp_path: Path) -> None:
    specs = [small_spec("packnet", epochs=20, train_limit=None, seeds=(seed,)) for seed in (0, 1)]
    results = tmp_path / "runs"
    commands = [start_command(results, spec.seed) for spec in specs]
    moments = random.Random(2)
    for command, spec in zip(commands, specs, strict=True):
        kill_on_the_way(command, spec, results, moments.uniform(0.0, 0.2), everything=spec.seed == 1)
    carry_out(server, Job(specs[0], small_options(results)))
    assert start_command(results, seed=1).wait() == 0  # the same command, typed again
    assert (tmp_path / "report" / "index.html").exists()
    for spec in specs:
        resumed = run_folder(results, spec.run_id).read()
        assert resumed is not None
        calm = carry_out(server, Job(spec, small_options(tmp_path / "calm")))
        assert resumed.provenance["sessions"] == 2
        assert numbers(resumed) == numbers(calm)
        assert stored(results / spec.run_id) == stored(tmp_path / "calm" / spec.run_id)
    assert leftovers(results) == []
