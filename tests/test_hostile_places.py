"""Pipes and devices where the suite keeps files of its own, and where it is told to write: nothing hangs, nothing of
others is replaced."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import run_here, small_options, small_spec

from benchmark.cli.main import main
from benchmark.data import cache, digest
from benchmark.execute.reference import read_goal
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import RunFolder

pytestmark = pytest.mark.timeout(120)


def build(create: cache.Create) -> dict[str, Any]:
    create("images", (4, 2), np.uint8)[:] = 7
    return {"mean": [0.5]}


@pytest.mark.parametrize("name", ["entry.json", "images.npy"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_cache_entry_is_of_ordinary_files(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    cache.open_or_build("test", "k" * 64, build)
    (folder,) = (tmp_path / "decoded").iterdir()
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    monkeypatch.setattr(cache, "_vouched", set())
    again = cache.open_or_build("test", "k" * 64, build)
    assert again.arrays["images"].tolist() == [[7, 7]] * 4
    assert (folder / name).is_file()
    assert not (folder / name).is_symlink()


def test_remembered_digests_and_goals_are_ordinary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "image.png").write_bytes(b"x")
    expected = digest.content_digest(tmp_path, [tmp_path / "image.png"])
    (memo,) = (tmp_path / "cache" / "digests").iterdir()
    memo.unlink()
    os.mkfifo(memo)
    assert digest.content_digest(tmp_path, [tmp_path / "image.png"]) == expected
    os.mkfifo(tmp_path / "goal.json")
    assert read_goal(tmp_path / "goal.json", "x") is None


def test_a_lock_or_a_log_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(OSError, match="No such device or address"), locked(tmp_path / ".lock", lambda: None):
        pass
    os.mkfifo(tmp_path / "events.jsonl")
    RunFolder(tmp_path).append_event({"type": "message"})  # lost, as on a full disk
    spec, options = small_spec("head-only", tasks=1, epochs=1), small_options(tmp_path / "runs")
    folder = tmp_path / "runs" / spec.run_id
    folder.mkdir(parents=True)
    os.mkfifo(folder / "events.jsonl")
    record, _ = run_here(spec, options)
    assert record.finished
    os.mkfifo(folder / "lock")
    shutil.move(folder / "lock", folder / ".lock")
    (folder / "result.json").unlink()
    record, _ = run_here(spec, options)
    assert not record.finished
    assert "Traceback" in str(record.error)


def test_an_export_replaces_no_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As root /dev/null would be gone."""
    spec = small_spec("ksm", tasks=2)
    run_here(spec, small_options(tmp_path / "runs"))
    os.mkfifo(tmp_path / "pipe")
    run = str(tmp_path / "runs" / spec.run_id)
    for words in (["--to", "pipe"], ["--to", "task.st", "--backbone-to", "pipe"]):
        places = [str(tmp_path / word) if not word.startswith("-") else word for word in words]
        assert main(["export", run, "--task", "2", *places]) == 2
        assert capsys.readouterr().err == (
            f"error: {tmp_path}/pipe is no ordinary file, and would be replaced; name another file to write.\n"
        )
    assert (tmp_path / "pipe").is_fifo()
    assert not (tmp_path / "task.st").exists()
