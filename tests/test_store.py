"""Results folders in trouble: two processes, dead locks, damaged files, no room, no right: said, and nothing lost."""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_runs import leftovers, numbers, run_here, small_options, small_spec, stored

from benchmark.checkpoint import CheckpointError, header_bytes, read_metadata, read_tensors, write_tensors
from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.store import locked, require_writable, run_folder
from results import atomic
from results.reader import read_runs

REPOSITORY = Path(__file__).resolve().parent.parent


class Stopped(BaseException):
    """The end of a process, as seen from inside."""


def stop_after(epochs: int) -> Any:
    """An ``emit`` that ends the process with the given epoch; its checkpoint is not written any more."""
    heard = []

    def emit(event: dict[str, Any]) -> None:
        heard.append(event["type"] == "epoch")
        if sum(heard) == epochs:
            raise Stopped

    return emit


def stopped_run(tmp_path: Path, method: str = "packnet", epochs: int = 8) -> tuple[Any, Any]:
    """(spec, options) of a run that was stopped in its third task's training."""
    from benchmark.runner import run

    spec = small_spec(method)
    options = small_options(tmp_path / "runs", checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        run(spec, options, stop_after(epochs))
    return spec, options


def same(one: Any, other: Any) -> bool:
    """Two records say the same (in memory a record may hold tuples where a file has lists)."""
    return bool(json.dumps(one.to_json()) == json.dumps(other.to_json()))


def said(events: list[dict[str, Any]]) -> str:
    return " ".join(event["text"] for event in events if event["type"] == "message")


# ---------------------------------------------------------------------- locks and two processes


def test_lock_is_refused_while_another_process_holds_it_and_free_when_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "runs" / ".lock"
    code = "import time; from pathlib import Path; from benchmark.store import locked\n"
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
    from benchmark.runner import run

    spec, events = small_spec("head-only", tasks=1, epochs=1), []
    folder = run_folder(tmp_path, spec.run_id)
    with locked(folder.path / ".lock"):
        assert run(spec, small_options(tmp_path), events.append) is None
    assert "is being run by another process" in said(events)
    assert not folder.record.exists()
    assert run(spec, small_options(tmp_path), events.append) is not None


def test_two_servers_on_one_results_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Both are asked for the same runs; each run is done once, and the task-1 network is trained once."""
    from benchmark.executor import Job, ProcessExecutor

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


# ---------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint-within.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "other run"])
def test_run_goes_on_from_the_other_checkpoint_when_one_is_damaged(name: str, damage: str, tmp_path: Path) -> None:
    spec, options = stopped_run(tmp_path)
    path = run_folder(tmp_path / "runs", spec.run_id).path / name
    if damage == "other run":
        tensors, metadata = read_tensors(path)
        write_tensors(path, tensors, {**metadata, "done": {**metadata["done"], "run_id": "digits-packnet-s9"}})
    else:
        path.write_bytes(path.read_bytes()[: 200 if damage == "truncated" else 0])
    record, events = run_here(spec, options)
    assert name in said(events)
    assert "it cannot be used" in said(events)
    assert "going on after 2 finished tasks" in said(events)
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    assert numbers(record) == numbers(calm)
    assert stored(tmp_path / "runs" / spec.run_id) == stored(tmp_path / "calm" / spec.run_id)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["task001.safetensors", "shared.safetensors"])
def test_run_starts_afresh_when_what_it_learned_is_damaged(name: str, tmp_path: Path) -> None:
    spec, options = stopped_run(tmp_path, "ksm", epochs=5)
    path = run_folder(tmp_path / "runs", spec.run_id).path / "tasks" / name
    path.write_bytes(path.read_bytes()[:-100])
    record, events = run_here(spec, options)
    assert f"{name} is damaged" in said(events)
    assert "going on" not in said(events)
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    assert numbers(record) == numbers(calm)


def test_run_on_other_data_does_not_go_on_from_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from benchmark import assembly

    spec, options = stopped_run(tmp_path)
    material = assembly.material

    def other(*arguments: Any) -> Any:
        return dataclasses.replace(material(*arguments), fingerprint="other data")

    monkeypatch.setattr(assembly, "material", other)
    record, events = run_here(spec, options)
    assert "made with other data" in said(events)
    assert record.provenance["sittings"] == 1
    assert record.provenance["data_fingerprint"] == "other data"


def test_run_without_resume_starts_afresh(tmp_path: Path) -> None:
    spec, _ = stopped_run(tmp_path)
    record, events = run_here(spec, small_options(tmp_path / "runs", resume=False))
    assert "going on" not in said(events)
    assert record.provenance["sittings"] == 1
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("damage", ["truncated", "other images"])
def test_cached_task1_network_that_cannot_be_used_is_trained_again(damage: str, tmp_path: Path) -> None:
    first, _ = run_here(small_spec("head-only"), small_options(tmp_path))
    (path,) = (tmp_path / ".cache" / "task1").glob("*.safetensors")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        tensors, metadata = read_tensors(path)
        write_tensors(path, tensors, {"facts": {**metadata["facts"], "data": "0123456789"}})
    second, events = run_here(small_spec("piggyback"), small_options(tmp_path))
    assert "training" in said(events)
    assert "again" in said(events)
    assert first.task1_network is not None
    assert second.task1_network is not None
    assert second.task1_network["reused"] is False
    assert second.task1_network["accuracy"] == first.task1_network["accuracy"]


def test_stopped_training_of_the_task1_network_goes_on(tmp_path: Path) -> None:
    from benchmark.runner import run

    spec = small_spec("head-only", epochs=6)
    options = small_options(tmp_path / "runs", checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        run(spec, options, stop_after(5))
    (unfinished,) = (tmp_path / "runs" / ".cache" / "task1").glob("*.unfinished")
    assert read_metadata(unfinished)["progress"]["epochs"] == 4
    record, events = run_here(spec, options)
    in_task1 = [event for event in events if event["type"] == "epoch" and event["phase"] == "task-1 network"]
    assert [event["epoch"] for event in in_task1] == [5, 6]
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    assert numbers(record) == numbers(calm)
    assert record.task1_network is not None
    assert calm.task1_network is not None
    assert record.task1_network["curve"] == calm.task1_network["curve"]
    assert stored(tmp_path / "runs" / spec.run_id) == stored(tmp_path / "calm" / spec.run_id)
    assert leftovers(tmp_path) == []


def test_truncated_record_is_named_by_the_report_and_the_run_done_again(tmp_path: Path) -> None:
    specs = [small_spec("head-only", tasks=2, epochs=1, seeds=(seed,)) for seed in (0, 1)]
    first = [run_here(spec, small_options(tmp_path))[0] for spec in specs]
    path = run_folder(tmp_path, specs[0].run_id).record
    path.write_text(path.read_text()[:-50])
    collection = read_runs(tmp_path)
    assert [record.run_id for record in collection.records] == [specs[1].run_id]
    assert [(item.path, item.reason) for item in collection.left_out] == [(path, "it is half-written or no JSON")]
    assert main(["report", "--results", str(tmp_path), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"{specs[0].run_id}/result.json" in page
    assert "half-written or no JSON" in page
    again, _ = run_here(specs[0], small_options(tmp_path))
    assert numbers(again) == numbers(first[0])


# ---------------------------------------------------------------------- no room, no right


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The system refuses to let any file of this process grow beyond ``size`` bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_in_the_middle_of_a_run_loses_nothing(tmp_path: Path) -> None:
    spec, options = stopped_run(tmp_path)
    folder = run_folder(tmp_path / "runs", spec.run_id)
    before = {path: path.read_bytes() for path in folder.path.rglob("*.safetensors")}
    with no_file_larger_than(60_000):  # room for a record, not for a checkpoint
        record, _ = run_here(spec, options)
    assert not record.finished
    assert record.error is not None
    sentence = record.error.partition("\n")[0]
    assert sentence.startswith("The results folder cannot be written (File too large); make room")
    assert same(folder.read(), record)
    assert {path: path.read_bytes() for path in before} == before
    assert not list(folder.path.rglob("*.part"))
    finished, events = run_here(spec, options)
    assert "going on after 2 finished tasks" in said(events)
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    assert numbers(finished) == numbers(calm)


def test_disk_without_room_for_a_single_byte_is_still_answered_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the record fits: the caller gets it all the same, and the log's lost lines stop nobody."""
    spec = small_spec("head-only", tasks=2, epochs=1)
    events: list[dict[str, Any]] = []
    from benchmark.runner import run

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    record = run(spec, small_options(tmp_path), events.append)
    assert record is not None
    assert record.error is not None
    assert record.error.startswith("The results folder cannot be written (No space left on device)")
    assert "record" in said(events)
    assert not list(tmp_path.rglob("*.part"))
    assert events[-1]["type"] == "run-end"
    assert events[-1]["status"] == "failed"


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write anywhere: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_read_only_results_folder_is_refused_before_anything_starts(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for level in (tmp_path, *tmp_path.parents[:2]):
        level.chmod(0o755)
    folder.chmod(0o555)
    with without_privileges(), pytest.raises(RequestError, match="cannot be written .Permission denied."):
        require_writable(folder)
    assert list(folder.iterdir()) == []


def test_results_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    path.write_text("")
    with pytest.raises(RequestError, match=f"The results folder {path} cannot be written"):
        require_writable(path)


def test_results_folder_on_a_full_disk_is_refused(tmp_path: Path) -> None:
    with no_file_larger_than(0), pytest.raises(RequestError, match="make room or choose another with --results"):
        require_writable(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_folder_that_becomes_unwritable_gives_a_failed_record_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark import runner

    @contextmanager
    def refused(path: Path) -> Iterator[None]:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        yield

    monkeypatch.setattr(runner, "locked", refused)
    record = runner.run(small_spec("head-only", tasks=1, epochs=1), small_options(tmp_path), lambda event: None)
    assert record is not None
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.startswith("The results folder cannot be written (Read-only file system)")


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


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "file.safetensors"
    write_tensors(path, {"a": torch.ones(3)}, {})
    with no_file_larger_than(1000), pytest.raises(OSError, match="File too large"):
        write_tensors(path, {"a": torch.zeros(3000)}, {})
    assert torch.equal(read_tensors(path)[0]["a"], torch.ones(3))
    assert [item.name for item in tmp_path.iterdir()] == ["file.safetensors"]


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

    from benchmark.executor import Job, _record_of_the_dead, _Running

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
