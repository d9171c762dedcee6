"""Results folders: two processes at one, dead locks, and the files in them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from interrupted import said, same
from small_runs import leftovers, numbers, run_here, small_options, small_spec

from benchmark.execute import reference
from benchmark.execute.checkpoint import CheckpointError, header_bytes, read_metadata, read_tensors, write_tensors
from benchmark.execute.executors import Job
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import run_folder
from benchmark.execute.sweep import _command_to_go_on, _forget_finished, finished
from benchmark.scenarios.contract import silent
from benchmark.scenarios.loader import load_scenario
from methods.engine.state import Progress

REPOSITORY = Path(__file__).resolve().parent.parent


# ---------------------------------------------------------------------- locks and two processes


def test_lock_is_refused_while_another_process_holds_it_and_free_when_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "runs" / ".lock"
    code = "import time; from pathlib import Path; from benchmark.execute.shared_lock import locked\n"
    code += f"with locked(Path({str(path)!r})):\n    print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(BlockingIOError), locked(path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert path.exists()  # the file stays, but it locks nothing
    with locked(path):
        pass


def test_lock_that_is_waited_for_says_so_once(tmp_path: Path) -> None:
    path, told = tmp_path / ".lock", []
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(path):
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    threading.Timer(0.1, release.set).start()
    with locked(path, lambda: told.append("waiting")):
        assert release.is_set()
    thread.join()
    assert told == ["waiting"]


def test_run_that_another_process_is_at_is_left_to_it(tmp_path: Path) -> None:
    from benchmark.execute.runner import run

    spec, events = small_spec("head-only", tasks=1, epochs=1), []
    folder = run_folder(tmp_path, spec.run_id)
    with locked(folder.path / ".lock"):
        assert run(spec, small_options(tmp_path), events.append) is None
    assert "is being run by another process" in said(events)
    assert not folder.record.exists()
    assert run(spec, small_options(tmp_path), events.append) is not None


def test_two_servers_on_one_results_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Both are asked for the same runs; each run is done once, and the task-1 network is trained once."""
    from benchmark.execute.executors import Job, ProcessExecutor

    specs = [small_spec(method) for method in ("ksm", "piggyback", "head-only")]
    jobs = [Job(spec, small_options(tmp_path / "runs")) for spec in specs]
    records: dict[str, list[Any]] = {"one": [], "two": []}

    def work(name: str) -> None:
        executor = ProcessExecutor(workers=2)
        executor.start()
        order = jobs if name == "one" else jobs[::-1]
        records[name] = [record for _, record in executor.run(order, lambda spec, event: None)]

    threads = [threading.Thread(target=work, args=(name,)) for name in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [record for found in records.values() for record in found if record is not None]
    assert {record.run_id for record in done} == {spec.run_id for spec in specs}
    assert all(record.finished for record in done)
    assert sum(not record.task1_network["reused"] for record in done) == 1
    alone, _ = run_here(specs[0], small_options(tmp_path / "alone"))
    together = next(record for record in done if record.run_id == alone.run_id)
    assert numbers(together) == numbers(alone)
    assert leftovers(tmp_path) == []


# ---------------------------------------------------------------------- files


def test_written_tensors_come_back_in_any_shape_and_type(tmp_path: Path) -> None:
    import torch

    shared = torch.arange(6.0)
    tensors = {
        "transposed": torch.arange(6.0).view(2, 3).t(),
        "one": shared,
        "alias": shared[:3],
        "bits": torch.tensor([3], dtype=torch.uint8),
        "empty": torch.zeros(0),
        "scalar": torch.tensor(7),
    }
    path = tmp_path / "deep" / "file.safetensors"
    write_tensors(path, tensors, {"number": 3, "names": ["é", "b"], "nothing": None})
    found, metadata = read_tensors(path)
    assert metadata == {"number": 3, "names": ["é", "b"], "nothing": None}
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    data = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    assert path.stat().st_size == header_bytes(path) + data


def test_nothing_at_all_can_be_written_and_read(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", {}, {})
    assert read_tensors(tmp_path / "file") == ({}, {})


def test_equal_contents_give_equal_files(tmp_path: Path) -> None:
    import torch

    metadata = {f"key {index}": index for index in range(20)}
    for name in ("one", "two"):
        write_tensors(tmp_path / name, {"a": torch.ones(3)}, metadata)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_damaged_tensor_files_are_named(keep: int, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "file.safetensors"
    write_tensors(path, {"a": torch.ones(30)}, {"b": 1})
    path.write_bytes(path.read_bytes()[:keep])
    for read in (read_tensors, read_metadata):
        with pytest.raises(CheckpointError, match=f"{path} is damaged"):
            read(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        read_tensors(path)


def test_events_are_one_json_object_a_line(tmp_path: Path) -> None:
    run_here(small_spec("head-only", tasks=2, epochs=1), small_options(tmp_path))
    (path,) = tmp_path.glob("digits-*/events.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0]["type"] == "run-start"
    assert events[-1] == {"time": events[-1]["time"], "type": "run-end", "status": "finished", "error": None}
    assert all(earlier["time"] <= later["time"] for earlier, later in itertools.pairwise(events))


def test_died_process_leaves_a_failed_record_and_spares_a_finished_one(tmp_path: Path) -> None:
    import time
    from types import SimpleNamespace

    from benchmark.execute.executors import Job
    from benchmark.execute.executors.process import _record_of_the_dead, _Running

    spec = small_spec("head-only", tasks=2, epochs=1)
    job = Job(spec, small_options(tmp_path))
    started = time.time()
    died: Any = SimpleNamespace(exitcode=-9)
    record = _record_of_the_dead(_Running(died, job, died, started))
    assert record is not None
    assert record.error is not None
    assert record.error.startswith("The run's process ended with SIGKILL")
    assert same(run_folder(tmp_path, spec.run_id).read(), record)
    finished, _ = run_here(spec, small_options(tmp_path))
    assert same(_record_of_the_dead(_Running(died, job, died, started)), finished)
    later = _record_of_the_dead(_Running(died, job, died, time.time() + 5))  # a forced repetition died
    assert later is not None
    assert later.status == "failed"
    assert same(run_folder(tmp_path, spec.run_id).read(), finished)


# ---------------------------------------------------------------------- --force


def test_force_leaves_the_checkpoint_of_a_run_that_another_process_is_at(tmp_path: Path) -> None:
    spec = small_spec("head-only", tasks=1, epochs=1)
    job = Job(spec, small_options(tmp_path))
    folder = run_folder(tmp_path, spec.run_id)
    folder.path.mkdir()
    folder.checkpoint.write_bytes(b"somebody's")
    with locked(folder.path / ".lock"):
        _forget_finished([job], force=True)
        assert folder.checkpoint.exists()
    _forget_finished([job], force=True)
    assert not folder.checkpoint.exists()


def test_a_forced_run_that_was_cut_goes_on_without_force(tmp_path: Path) -> None:
    spec = small_spec("head-only", tasks=1, epochs=1)
    run_here(spec, small_options(tmp_path))
    job, folder = Job(spec, small_options(tmp_path)), run_folder(tmp_path, spec.run_id)
    data = load_scenario("digits").read(None, [1], silent)
    assert finished(job, data)
    _forget_finished([job], force=True)
    assert not finished(job, data)  # also before its first checkpoint
    folder.checkpoint.write_bytes(b"half")
    _forget_finished([job], force=False)  # the same command without --force
    assert folder.checkpoint.exists()
    assert not finished(job, data)
    run_here(spec, small_options(tmp_path))
    assert finished(job, data)
    assert leftovers(tmp_path) == []


def test_the_command_to_go_on_does_not_start_afresh() -> None:
    command = "python -m benchmark run --force --seed 1 --no-resume"
    assert _command_to_go_on(command) == "python -m benchmark run --seed 1"


# ---------------------------------------------------------------------- shared goals


def test_a_goal_that_another_run_is_making_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_spec("scratch", tasks=1, epochs=1)
    path = tmp_path / ".cache" / "goals" / f"{spec.goal_key(1)}.json"
    task: Any = SimpleNamespace(task=SimpleNamespace(index=1))
    monkeypatch.setattr(reference, "task_digest", lambda task: "mark")
    references = reference.References(
        spec, tmp_path, torch.device("cpu"), torch.nn.Identity, lambda: None, lambda event: None
    )
    progress = Progress(0, {"train": {"selection": 0.75}}, curve=[{"selection": 0.75}, {"selection": 0.5}])
    with locked(path.with_suffix(".lock")):
        references.keep_goal(task, progress, "its run")
        assert not path.exists()
    references.keep_goal(task, progress, "its run")
    assert (reference.read_goal(path, "mark", "best"), reference.read_goal(path, "mark", "last")) == (0.75, 0.5)
    path.write_text('{"accuracy": 0.75, "from": "an earlier version", "data": "mark"}')
    assert (reference.read_goal(path, "mark", "best"), reference.read_goal(path, "mark", "last")) == (0.75, None)
