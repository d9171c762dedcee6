"""``check``: 0 when a run could start, 2 when not, with what is missing and where to get it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.cli import check
from benchmark.console import decoding_progress
from benchmark.data.locate import data_root
from benchmark.errors import RequestError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCHMARK_DATA_ROOT", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    args = parser.parse_args(["check", *map(str, arguments)])
    return int(args.run(args))


def write_sketch_tree(root: Path, *tasks: str) -> Path:
    for task in tasks:
        for folder in ("train/a", "train/b", "test/a", "test/b"):
            path = root / "imagenet2sketch" / task / folder
            path.mkdir(parents=True)
            Image.fromarray(np.full((8, 8), 100, dtype=np.uint8)).save(path / "0.png")
    return root


def test_digits_are_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0].startswith("digits: ")
    assert output[3].split() == ["1", "zero-one", "2", "289", "71", "0,", "1"]
    assert output[-2].startswith("fingerprint: ") and output[-1] == "ready"


def test_first_tasks_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--tasks", 2) == 0
    output = capsys.readouterr().out
    assert "two-three" in output and "four-five" not in output
    with pytest.raises(RequestError, match=r"digits has 5 tasks, --tasks 6 asks for more"):
        run("--tasks", 6)
    with pytest.raises(RequestError, match=r"--tasks must be at least 1, not 0"):
        run("--tasks", 0)


def test_absent_data_and_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One task is there, four are not, nor the weights: each fault once."""
    root = write_sketch_tree(tmp_path, "flowers")
    assert run("--scenario", "imagenet2sketch", "--data-root", root) == 2
    output = capsys.readouterr()
    faults = [line for line in output.err.splitlines() if line.startswith("not ready: ")]
    assert len(faults) == 2
    assert "resnet50-19c8e357.pth" in faults[0]
    assert "does not hold cubs_cropped, stanford_cars_cropped, wikiart, sketches: the data root must hold" in faults[1]
    rows = [line.split() for line in output.out.splitlines()]
    assert ["3", "flowers", "2", "2", "2", "a,", "b"] in rows and ["4", "wikiart", "-", "-", "-"] in rows
    assert "ready" not in output.out and "fingerprint" not in output.out


def test_counts_that_differ_from_the_papers_are_noted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write_sketch_tree(tmp_path, "cubs_cropped")
    (tmp_path / "w.pth").write_bytes(b"")
    arguments = ("--scenario", "imagenet2sketch", "--data-root", root, "--tasks", 1, "--weights")
    assert run(*arguments, tmp_path / "w.pth") == 0
    output = capsys.readouterr().out
    assert "note: cubs_cropped has 2 classes, 200 in the papers." in output
    assert "note: cubs_cropped has 2 training and 2 test images, 5,994 and 5,794 in the papers." in output
    assert run(*arguments, tmp_path / "nowhere.pth") == 2
    assert "not ready: There is no weights file" in capsys.readouterr().err


def test_a_broken_image_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write_sketch_tree(tmp_path, "cubs_cropped")
    broken = root / "imagenet2sketch/cubs_cropped/test/b/0.png"
    broken.write_bytes(broken.read_bytes()[:40])
    (tmp_path / "w.pth").write_bytes(b"")
    options = ("--scenario", "imagenet2sketch", "--tasks", 1, "--weights", tmp_path / "w.pth")
    assert run(*options, "--data-root", root) == 2
    assert f"not ready: {broken} does not decode" in capsys.readouterr().err


def test_imports_neither_torch_nor_avalanche(tmp_path: Path) -> None:
    program = (
        "import argparse, sys\n"
        "from benchmark.cli import check\n"
        "parser = argparse.ArgumentParser()\n"
        "check.add_parser(parser.add_subparsers())\n"
        "light = [name for name in ('numpy', 'benchmark.data.cache') if name in sys.modules]\n"
        "args = parser.parse_args(['check', '--scenario', 'digits'])\n"
        "code = args.run(args)\n"
        "print(code, light, [name for name in ('torch', 'torchvision', 'avalanche') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "0 [] []"
    assert done.stderr == "digits: 0 of 1\ndigits: 1 of 1\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = decoding_progress()
    progress("decoding", 1, 3)
    progress("decoding", 3, 3)
    assert capsys.readouterr().err == f"\r\033[Kdecoding {'█' * 10}{'·' * 20} 1/3\r\033[K"


def test_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_root() is None
    (tmp_path / "here/data").mkdir()
    assert data_root() == Path("data")
    monkeypatch.setenv("BENCHMARK_DATA_ROOT", str(tmp_path))
    assert data_root() == tmp_path
    assert data_root(tmp_path / "here") == tmp_path / "here"
    with pytest.raises(RequestError, match=r"--data-root names '.*nowhere', which is no folder"):
        data_root(tmp_path / "nowhere")
    monkeypatch.setenv("BENCHMARK_DATA_ROOT", "/nowhere")
    with pytest.raises(RequestError, match=r"BENCHMARK_DATA_ROOT names '/nowhere'"):
        data_root()
