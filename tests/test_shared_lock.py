"""Claims between machines that share a folder and no lock manager; dead owners; claims that were lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small_runs import leftovers, run_here, small_options, small_spec

from benchmark.execute import shared_lock
from benchmark.execute.shared_lock import ClaimLost, locked
from benchmark.execute.store import run_folder
from results import temporary

REPOSITORY = Path(__file__).resolve().parent.parent

#: another machine: its system's locks are not seen here, and it calls itself by another name
ELSEWHERE = """
import fcntl, sys, time
from pathlib import Path
fcntl.flock = lambda file, how: None
import benchmark.execute.shared_lock as shared_lock
from benchmark.execute.shared_lock import locked
shared_lock.machine = lambda folder: "other" + sys.argv[1]
shared_lock.HEARTBEAT, shared_lock.STALE, shared_lock.POLL = 0.1, 1.0, 0.01
path = Path(sys.argv[2])
"""


def elsewhere(name: str, path: Path, code: str) -> subprocess.Popen[str]:
    """A process on a machine of its own, which shares nothing but the folder."""
    return subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE + code, name, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HEARTBEAT": 0.1, "STALE": 1.0, "POLL": 0.01}.items():
        monkeypatch.setattr(shared_lock, name, value)
    shared_lock._watched.clear()


HOLD = "with locked(path):\n    print('held', flush=True); time.sleep(60)"


def test_a_claim_holds_between_machines_and_a_dead_ones_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = elsewhere("one", path, HOLD)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    try:
        end = time.monotonic() + 2.5  # longer than what counts as dead: it lives, and says so
        while time.monotonic() < end:
            with pytest.raises(BlockingIOError), locked(path):
                pass
            time.sleep(0.05)
        holder.kill()
        holder.wait()
        told: list[float] = []
        started = time.monotonic()
        with locked(path, lambda: told.append(time.monotonic())):
            waited = time.monotonic() - started
        assert len(told) == 1 and 0.7 < waited < 3
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", ".lock.2.free"]


def test_a_claim_of_this_machine_is_dead_as_soon_as_its_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_lock, "STALE", 1e9)
    path = tmp_path / ".lock"
    own = ELSEWHERE[: ELSEWHERE.index("fcntl.flock")] + "from benchmark.execute.shared_lock import locked\n"
    code = own + "path = Path(sys.argv[1])\n" + HOLD
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=environment)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert (tmp_path / ".lock.1").exists()
    with locked(path):
        assert not (tmp_path / ".lock.1").exists()


def test_machines_that_share_no_lock_manager_take_turns(tmp_path: Path) -> None:
    """Three of them add to a number that only one may read and write at a time; one is killed again and again."""
    path, number = tmp_path / ".lock", tmp_path / "number"
    number.write_text("0")
    code = """
number = path.parent / "number"
for turn in range(40):
    with locked(path, lambda: None):
        value = int(number.read_text())
        time.sleep(0.002)
        number.write_text(str(value + 1))
"""
    workers = [elsewhere(str(index), path, code) for index in range(3)]
    moments, killed = random.Random(3), 0
    while killed < 4 and any(worker.poll() is None for worker in workers):
        victim = elsewhere(
            f"victim{killed}", path, "print(flush=True)\nwith locked(path, lambda: None):\n    time.sleep(60)"
        )
        assert victim.stdout is not None and victim.stdout.readline() == "\n"
        time.sleep(moments.uniform(0.05, 0.3))
        victim.kill()
        victim.wait()
        victim.stdout.close()
        killed += 1
    for worker in workers:
        assert worker.wait() == 0
        assert worker.stdout is not None
        worker.stdout.close()
    assert int(number.read_text()) == 120
    assert killed > 0


def test_a_claim_made_from_an_old_look_at_the_folder_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system that shows a listing of a minute ago: it lacks the newest claim, or its end."""
    path = tmp_path / ".lock"
    true_entries = shared_lock._entries
    for now, then in (([".lock.5"], {}), ([".lock.5.free"], {4: {".lock.4.free"}})):
        for name in now:
            (tmp_path / name).write_text("{}")
        looks = iter([then])
        monkeypatch.setattr(shared_lock, "_entries", lambda path, looks=looks: next(looks, None) or true_entries(path))
        if now == [".lock.5"]:
            with pytest.raises(BlockingIOError), locked(path):
                pass
            assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", ".lock.5"]
            (tmp_path / ".lock.5").unlink()
        else:
            with locked(path) as claim:
                assert claim.path.name == ".lock.6"


def test_a_listing_without_the_own_claim_takes_nothing_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_lock, "_entries", lambda path: {})
    with locked(tmp_path / ".lock") as claim:
        assert claim.path.name == ".lock.1" and claim.path.exists()


def test_a_lock_that_a_server_keeps_for_a_dead_machine_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS 3 keeps it: the system's lock is refused for ever, and the claim is another machine's and not renewed."""

    def refused(file: Any, how: int) -> None:
        raise BlockingIOError

    monkeypatch.setattr("fcntl.flock", refused)
    monkeypatch.setattr(shared_lock, "STALE", 0.3)
    path = tmp_path / ".lock"
    (tmp_path / ".lock.1").write_text('{"machine": "another"}')
    with pytest.raises(BlockingIOError), locked(path):
        pass
    started = time.monotonic()
    with locked(path, lambda: None) as claim:
        assert claim.path.name == ".lock.2" and 0.2 < time.monotonic() - started < 5
    # but not where the claim is this machine's, whose locks tell
    claim.path.with_name(".lock.2.free").unlink()
    (tmp_path / ".lock.3").write_text(json.dumps({"machine": temporary.machine(tmp_path)}))
    assert not shared_lock._left_by_another_machine(path)
    time.sleep(0.4)
    assert not shared_lock._left_by_another_machine(path)


def test_where_the_file_system_has_no_locks_the_claim_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: Any, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with locked(tmp_path / ".lock"), pytest.raises(BlockingIOError), locked(tmp_path / ".lock"):
        pass
    with locked(tmp_path / ".lock"):
        pass


def test_a_run_that_was_taken_over_writes_no_more(tmp_path: Path) -> None:
    """As after a machine that slept: another one finished the run meanwhile."""
    from benchmark.execute.runner import run

    spec, heard = small_spec("head-only", tasks=2, epochs=1), []
    folder = run_folder(tmp_path, spec.run_id)

    def emit(event: dict[str, Any]) -> None:
        heard.append(event)
        if event["type"] == "task-end":
            (claim,) = folder.path.glob(".lock.?")
            claim.rename(folder.path / ".lock.2")

    assert run(spec, small_options(tmp_path), emit) is None
    assert "another process took over" in heard[-1]["text"]
    assert not folder.record.exists()
    (folder.path / ".lock.2").unlink()
    record, _ = run_here(spec, small_options(tmp_path))
    assert record.finished and leftovers(tmp_path) == []
    with locked(tmp_path / "other") as claim:
        claim.path.unlink()
        with pytest.raises(ClaimLost):
            claim.require()


@pytest.mark.parametrize("disturbed", ["its files are gone", "it tells", "it writes what a task learned"])
def test_a_process_that_wakes_leaves_what_another_one_finished(
    disturbed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process took the run over, removed its half-written checkpoint, and finished it."""
    from benchmark.execute import runner

    spec = small_spec("finetune", tasks=2, epochs=1)
    folder = run_folder(tmp_path, spec.run_id)

    def wakes(self: runner.Runner, facts: dict[str, Any]) -> Any:
        (claim,) = folder.path.glob(".lock.?")
        claim.rename(folder.path / ".lock.2")
        folder.record.write_text("the other one's")
        if disturbed == "it tells":
            self._say("one epoch more")
        elif disturbed == "it writes what a task learned":
            self._write(folder.backbone, {}, {})
        raise FileNotFoundError("checkpoint.safetensors.part")

    monkeypatch.setattr(runner.Runner, "run", wakes)
    heard: list[dict[str, Any]] = []
    assert runner.run(spec, small_options(tmp_path), heard.append) is None
    assert "another process took over" in heard[-1]["text"] and len(heard) == 1
    assert folder.record.read_text() == "the other one's"
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", ".lock.2", "result.json"]


def test_temporary_files_of_another_machine_are_left_alone_for_a_day(tmp_path: Path) -> None:
    own, other = (tmp_path / f".one.m{tag}.abcd_123.part" for tag in (temporary.machine(tmp_path), "0123abcd"))
    for path in (own, other):
        path.touch()
    temporary.sweep_below(tmp_path)
    assert other.exists() and not own.exists()
    old = time.time() - 2 * temporary.STALE_SECONDS
    os.utime(other, (old, old))
    temporary.sweep_below(tmp_path)
    assert not other.exists()
