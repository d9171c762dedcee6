"""Results folders without room or right: a clear sentence, and nothing lost."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interrupted import said, same, stopped_run
from small_runs import numbers, run_here, small_options, small_spec

from benchmark.errors import RequestError
from benchmark.execute.checkpoint import read_tensors, write_tensors
from benchmark.execute.store import require_writable, run_folder
from results import atomic


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
    from benchmark.execute.runner import run

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
    from benchmark.execute import runner

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


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "file.safetensors"
    write_tensors(path, {"a": torch.ones(3)}, {})
    with no_file_larger_than(1000), pytest.raises(OSError, match="File too large"):
        write_tensors(path, {"a": torch.zeros(3000)}, {})
    assert torch.equal(read_tensors(path)[0]["a"], torch.ones(3))
    assert [item.name for item in tmp_path.iterdir()] == ["file.safetensors"]
