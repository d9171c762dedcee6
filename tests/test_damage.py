"""Damage never becomes a number: whatever byte of a stored file changes, it is noticed, or nothing changes."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import run_here, small_options, small_spec

from benchmark.data import cache
from benchmark.execute.checkpoint import CheckpointError, read_metadata, read_tensors, write_tensors
from methods.engine.sealing import BrokenSeal, sealed, unsealed

TENSORS = {"weights": torch.arange(300.0), "bits": torch.arange(40, dtype=torch.uint8)}
ABOUT = {"name": "one", "accuracy": 0.8125, "names": ["weights", "bits"]}


def test_a_seal_covers_description_and_tensors() -> None:
    text = sealed(ABOUT, TENSORS)
    assert unsealed(text, TENSORS) == ABOUT
    assert unsealed(text.replace("0.8125", "0.8125")) == ABOUT
    with pytest.raises(BrokenSeal, match="description"):
        unsealed(text.replace("0.8125", "0.9125"), TENSORS)
    with pytest.raises(BrokenSeal, match="tensors"):
        unsealed(text, {**TENSORS, "bits": TENSORS["bits"] + 1})
    with pytest.raises(BrokenSeal, match="tensors"):
        unsealed(text, {"weights": TENSORS["weights"]})
    assert unsealed(json.dumps(ABOUT), TENSORS) == ABOUT  # of an earlier version


@pytest.mark.parametrize("seed", range(8))
def test_no_byte_of_a_file_can_change_unnoticed(seed: int, tmp_path: Path) -> None:
    path, generator = tmp_path / "tensors.safetensors", random.Random(seed)
    write_tensors(path, TENSORS, ABOUT)
    whole = path.read_bytes()
    for _ in range(40):
        spoiled = bytearray(whole)
        at = generator.randrange(len(spoiled))
        spoiled[at] ^= 1 << generator.randrange(8)
        path.write_bytes(spoiled)
        try:
            tensors, about = read_tensors(path)
        except CheckpointError:
            continue
        assert about == ABOUT  # padding or the like: nothing that was stored
        assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for read in (read_tensors, read_metadata):
        with pytest.raises(CheckpointError, match="no ordinary file"):
            read(tmp_path / "pipe")


class Stopped(Exception):
    """Ends a run between two tasks."""


def stop_after(tasks: int) -> Any:
    ended = []

    def emit(event: dict[str, Any]) -> None:
        if event["type"] == "task-end":
            ended.append(event)
            if len(ended) == tasks:
                raise Stopped

    return emit


@pytest.mark.parametrize("method", ["packnet", "ksm"])
def test_a_damaged_task_is_not_gone_on_from(method: str, tmp_path: Path) -> None:
    """Seen once: zeroed bytes in a task's file, and the accuracy of a network that nobody had learned."""
    spec, options = small_spec(method), small_options(tmp_path / "runs")
    whole, _ = run_here(spec, small_options(tmp_path / "whole"))
    from benchmark.execute.runner import run

    run(spec, options, stop_after(2))
    file = tmp_path / "runs" / spec.run_id / "tasks" / f"task{spec.task_indices[1]:03d}.safetensors"
    spoiled = bytearray(file.read_bytes())
    spoiled[-64:] = bytes(64)
    file.write_bytes(spoiled)
    said: list[str] = []
    record = run(spec, options, lambda event: said.append(str(event.get("text", ""))))
    assert record is not None
    assert record.finished
    assert any("is damaged" in text for text in said)
    assert any("the run starts afresh" in text for text in said)
    assert record.accuracy_matrix == whole.accuracy_matrix
    assert record.learned_sha256 == whole.learned_sha256


def test_what_is_damaged_before_the_end_is_written_again(tmp_path: Path) -> None:
    spec, options = small_spec("ksm"), small_options(tmp_path / "runs")
    file = tmp_path / "runs" / spec.run_id / "tasks" / f"task{spec.task_indices[1]:03d}.safetensors"
    said: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        said.append(str(event.get("text", "")))
        if event["type"] == "task-end" and event["position"] == 2:
            spoiled = bytearray(file.read_bytes())
            spoiled[-8:] = bytes(8)
            file.write_bytes(spoiled)

    from benchmark.execute.runner import run
    from methods.engine.sealing import tensors_sha256

    record = run(spec, options, emit)
    assert record is not None
    assert record.finished
    assert sum("writing it again" in text for text in said) == 1
    tensors, about = read_tensors(file)
    assert record.learned_sha256[about["name"]] == tensors_sha256(tensors)


def test_a_damaged_goal_is_no_goal(tmp_path: Path) -> None:
    from benchmark.execute.reference import read_goal

    spec, options = small_spec("cpg", tasks=2), small_options(tmp_path / "runs")
    run_here(spec, options)
    goals = [path for path in (tmp_path / "runs" / ".cache").rglob("*.json") if "last" in path.read_text()]
    assert goals
    for path in goals:
        about = json.loads(path.read_text())
        assert read_goal(path, about["data"], "last") == about["last"]
        path.write_text(path.read_text().replace(repr(about["last"]), "0.125"))
        assert read_goal(path, about["data"], "last") is None


# ---------------------------------------------------------------------- the cache of decoded images


def build(create: cache.Create) -> dict[str, Any]:
    images = create("images", (50, 8, 8, 3), np.uint8)
    images[:] = np.arange(images.size, dtype=np.uint64).reshape(images.shape).astype(np.uint8)
    return {"mean": [0.25, 0.5], "names": ["cat", "dog"]}


@pytest.mark.parametrize("seed", range(6))
def test_damage_in_a_cache_entry_is_decoded_anew(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where size and time of the file are what they were."""
    import os

    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    generator = random.Random(seed)
    good = cache.open_or_build("test", "k" * 64, build)
    (folder,) = (tmp_path / "decoded").iterdir()
    expected = np.array(good.arrays["images"])
    for name in ("images.npy", "entry.json"):
        path = folder / name
        status = path.stat()
        spoiled = bytearray(path.read_bytes())
        at = generator.randrange(128 if name.endswith("npy") else 0, len(spoiled))
        spoiled[at] ^= 1 << generator.randrange(8)
        path.write_bytes(spoiled)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        monkeypatch.setattr(cache, "_vouched", set())  # another process
        again = cache.open_or_build("test", "k" * 64, build)
        assert np.array_equal(again.arrays["images"], expected)
        assert again.meta == {"mean": [0.25, 0.5], "names": ["cat", "dog"]}


def test_a_process_reads_an_entry_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(cache, "_vouched", set())
    read: list[Path] = []
    whole = cache.checksum
    monkeypatch.setattr(cache, "checksum", lambda path: (read.append(path), whole(path))[1])
    for _ in range(3):
        cache.open_or_build("test", "k" * 64, build)
    assert len(read) == 2  # when it was written, and when it was first opened


def test_a_disk_without_room_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from benchmark.errors import RequestError

    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "posix_fallocate", full)
    with pytest.raises(RequestError, match=r"cannot be written \(No space left on device\)"):
        cache.open_or_build("test", "k" * 64, build)
    assert not list((tmp_path / "decoded").rglob("*.npy"))


# ---------------------------------------------------------------------- several processes, and pauses


def test_a_run_that_another_process_finished_meanwhile_is_not_repeated(tmp_path: Path) -> None:
    from benchmark.execute.runner import run

    spec, options = small_spec("head-only"), small_options(tmp_path / "runs")
    first, _ = run_here(spec, options)
    fingerprint = first.provenance["data_fingerprint"]
    same = dataclasses.replace(options, data_sha256=fingerprint)
    said: list[str] = []
    again = run(spec, same, lambda event: said.append(str(event.get("text", ""))))
    assert again is not None
    assert again.provenance["started"] == first.provenance["started"]
    assert said == [f"{spec.run_id} was finished by another process meanwhile"]
    other = run(spec, dataclasses.replace(options, data_sha256="0" * 64), lambda event: None)
    assert other is not None
    assert other.provenance["finished"] >= first.provenance["finished"]
    assert other.provenance != first.provenance, "other data: the run is its own"


def test_a_stopped_process_counts_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clock and processor time by hand: 3 s of work, 60 s stopped, 2 s of work."""
    from benchmark.measure import clock as clock_module
    from benchmark.measure import pauses
    from benchmark.measure.clock import Stopwatch

    now, computed = [100.0], [5.0]
    for module in (clock_module, pauses):
        monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(pauses.time, "process_time", lambda: computed[0])

    def works(seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            now[0] += 0.25
            computed[0] += 0.2
            watch.seconds()

    watch = pauses.PauseWatch()
    watched = Stopwatch(pauses=watch.seconds)
    with watched("train"):
        works(3)
        now[0] += 60
        works(2)
    assert watched.seconds["run"]["train"] == pytest.approx(5.0, abs=0.1)
    assert watched.wall_seconds == pytest.approx(5.0, abs=0.1)
    assert watched.paused_seconds == pytest.approx(60.0, abs=0.1)
    later = Stopwatch(pauses=lambda: 1.0)
    later.load_state(watched.state())
    assert later.paused_seconds == pytest.approx(61.0, abs=0.1)
    with watched("eval"):  # busy in one long call: no pause
        now[0] += 30
        computed[0] += 29
    assert watched.paused_seconds == pytest.approx(60.0, abs=0.1)


def test_a_report_sweeps_what_a_killed_one_left(tmp_path: Path) -> None:
    from reports.build import build
    from results.temporary import temporary_file

    run_here(small_spec("head-only"), small_options(tmp_path / "runs"))
    out = tmp_path / "report"
    (out / "figures").mkdir(parents=True)
    left = out / "figures" / ".tradeoff.svg.abcd_123.part"
    left.write_text("half")
    with temporary_file(out / "other.html") as at_work:
        build(tmp_path / "runs", out)
        assert not left.exists()
        assert at_work.exists(), "a process is writing it"
