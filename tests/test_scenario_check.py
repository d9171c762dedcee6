"""``check``: 0 when a run could start, 2 when not, with what is missing and where to get it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import published_archives as published
import pytest
from PIL import Image
from safetensors.numpy import save_file

from benchmark.cli import check
from benchmark.cli.main import main
from benchmark.console import decoding_progress
from benchmark.data.locate import data_root
from benchmark.errors import RequestError
from benchmark.scenarios.contract import notes_of, silent
from benchmark.scenarios.imagenet2sketch import TASK_NAMES
from benchmark.scenarios.loader import load_scenario
from benchmark.scenarios.readiness import conclude, task_checks


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCHMARK_DATA_ROOT", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that fit a ResNet-50, drawn at random."""
    from safetensors.torch import save_file

    from benchmark.backbones.builder import build

    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    save_file(build("resnet50").state_dict(), path)
    return path


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


def test_counts_that_differ_from_the_papers_are_noted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, resnet50: Path
) -> None:
    root = write_sketch_tree(tmp_path, "cubs_cropped")
    arguments = ("--scenario", "imagenet2sketch", "--data-root", root, "--tasks", 1, "--weights")
    assert run(*arguments, resnet50) == 0
    output = capsys.readouterr().out
    assert "note: cubs_cropped has 2 classes, 200 in the papers." in output
    assert "note: cubs_cropped has 2 training and 2 test images, 5,994 and 5,794 in the papers." in output
    assert run(*arguments, tmp_path / "nowhere.pth") == 2
    assert "not ready: There is no weights file" in capsys.readouterr().err


def test_wrong_weights_are_not_ready(capsys: pytest.CaptureFixture[str], tmp_path: Path, resnet50: Path) -> None:
    """No weights at all, those of another network, and a file that is cut short."""
    root = write_sketch_tree(tmp_path, "cubs_cropped")
    arguments = ("--scenario", "imagenet2sketch", "--data-root", root, "--tasks", 1, "--weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    with resnet50.open("rb") as whole:
        (tmp_path / "cut.safetensors").write_bytes(whole.read(1_000_000))
    save_file({"weight": np.zeros(3, dtype=np.float32)}, tmp_path / "other.safetensors")
    expected = {
        "empty.pth": "no weights file",
        "cut.safetensors": "cut short",
        "other.safetensors": "other.safetensors",
    }
    for name, sentence in expected.items():
        assert run(*arguments, tmp_path / name) == 2
        output = capsys.readouterr()
        assert "not ready: " in output.err and sentence in output.err
        assert "ready" not in output.out.splitlines()


# --- nothing there ----------------------------------------------------------------------------------------------------

ENTRY = """
flowers: Oxford Flowers-102, training and validation images merged
  get   102flowers.tgz, imagelabels.mat and setid.mat; about 0.35 GB
  from  https://www.robots.ox.ac.uk/~vgg/data/flowers/102/ (Visual Geometry Group, Oxford)
  into  {root}/imagenet2sketch/flowers/{{train,test}}/CLASS/*
  with  python -m benchmark data prepare flowers --from FROM --to {root}
  paper 2,040 training and 6,149 test images of 102 classes
"""


def require_table(text: str, root: object) -> None:
    assert ENTRY.format(root=root) in text
    blocks = [line.partition(":")[0] for line in text.splitlines() if line.partition(":")[0] in TASK_NAMES]
    assert blocks == list(TASK_NAMES)
    assert text.count(f"--from FROM --to {root}") == text.count("  get   ") == text.count("  from  https://") == 5
    assert "nothing is downloaded for you" in text


def test_an_empty_folder_says_what_to_get(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of ``check``, and of ``run`` whether there are weights or not; exit code 2, and nothing is made."""
    Path("empty").mkdir()
    assert main(["check", "--scenario", "imagenet2sketch", "--data-root", "empty"]) == 2
    require_table(capsys.readouterr().err, "empty")
    words = ["run", "--scenario", "imagenet2sketch", "--data-root", "empty", "--method", "head-only", "--results", "r"]
    assert main(words) == 2
    output = capsys.readouterr().err
    assert output.startswith("error: imagenet2sketch starts from pretrained weights: ")
    require_table(output, "empty")
    monkeypatch.setattr("benchmark.scenarios.start_weights.weights_faults", lambda scenario, given: [])
    assert main([*words, "--executor", "local"]) == 2
    output = capsys.readouterr().err
    assert output.startswith("error: empty/imagenet2sketch does not hold cubs_cropped, stanford_cars_cropped, flowers,")
    require_table(output, "empty")
    assert list(Path("empty").iterdir()) == []


def test_an_absent_folder_says_what_to_get(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("check", "run"):
        assert main([verb, "--scenario", "imagenet2sketch", "--data-root", "nowhere"]) == 2
        output = capsys.readouterr().err
        assert output.startswith("error: --data-root names 'nowhere', which is no folder.\n")
        require_table(output, "nowhere")
    assert main(["check", "--scenario", "imagenet2sketch"]) == 2  # no data root at all
    require_table(capsys.readouterr().err, "DIR")
    assert main(["check", "--scenario", "cifar100-20", "--data-root", "nowhere"]) == 2
    assert "data prepare cifar100 --from FROM --to nowhere" in capsys.readouterr().err


def test_only_what_is_missing_is_to_be_got(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write_sketch_tree(tmp_path, "flowers", "wikiart")
    assert main(["check", "--scenario", "imagenet2sketch", "--data-root", str(root / "imagenet2sketch")]) == 2
    output = capsys.readouterr().err
    assert f"data prepare sketches --from FROM --to {root}\n" in output
    assert "prepare flowers" not in output and "prepare wikiart" not in output


def test_list_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "data"]) == 0
    output = capsys.readouterr().out
    assert ENTRY.format(root="DIR") in output and "data prepare cifar100 --from FROM --to DIR" in output
    assert max(map(len, output.splitlines())) <= 100


# --- prepared data ----------------------------------------------------------------------------------------------------


def prepared(tmp_path: Path) -> Path:
    source = published.write(tmp_path / "archives", published.flowers())
    assert main(["data", "prepare", "flowers", "--from", str(source), "--to", str(tmp_path / "root")]) == 0
    return tmp_path / "root"


def test_prepared_files_are_compared_and_not_decoded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest's counts and warnings, its digest instead of the fingerprint; not even a byte is read again."""
    root = prepared(tmp_path)
    monkeypatch.setattr("benchmark.data.digest.file_digest", None)
    monkeypatch.setattr("benchmark.data.images.decode", None)
    capsys.readouterr()
    (task,) = [found for found in task_checks(load_scenario("imagenet2sketch"), root, 5) if not found.fault]
    assert (task.index, task.name, task.class_names, task.train, task.test) == (3, "flowers", ("001", "002"), 4, 2)
    found = conclude(load_scenario("imagenet2sketch"), root, None, (task,))
    warning = "4 training and 2 test images were prepared; 2,040 and 6,149 are published"
    assert found.notes[0] == f"flowers: {warning}." and found.fingerprint == ""
    assert len(task.content) == 64


@pytest.mark.parametrize("damage", ["removed", "added", "shortened", "changed", "list"])
def test_prepared_files_that_changed_are_named(damage: str, tmp_path: Path) -> None:
    root = prepared(tmp_path)
    folder = root / "imagenet2sketch/flowers"
    image = folder / "test/002/image_00006.jpg"
    content = image.read_bytes()
    if damage == "removed":
        image.rename(tmp_path / "elsewhere.jpg")
        (image.parent / "image_00007.jpg").write_bytes(content)
    elif damage == "added":
        (image.parent / "image_00007.jpg").write_bytes(content)
    elif damage == "shortened":
        image.write_bytes(content[:-1])
    elif damage == "changed":
        image.write_bytes(content[:-1] + b"x")
    else:
        (folder / "files.csv").write_text("")
    expected = {
        "removed": f"{image} has gone since flowers was prepared",
        "added": "image_00007.jpg has come since",
        "shortened": f"{image} has no longer {len(content):,} bytes since",
        "changed": f"{image} has changed since",
        "list": "files.csv is missing or is not the one of manifest.json",
    }
    scenario = load_scenario("imagenet2sketch")
    (fault,) = [task.fault for task in task_checks(scenario, root, 5) if task.index == 3]
    assert expected[damage] in fault and "prepare it again" in fault
    with pytest.raises(RequestError) as caught:
        scenario.read(root, [3], silent)
    assert str(caught.value) == fault


def test_warnings_of_the_manifest_are_the_tasks_notes(tmp_path: Path) -> None:
    """From the task they go into every record's warnings; without a manifest the images are used as they are."""
    root = prepared(tmp_path)
    (task,) = load_scenario("imagenet2sketch").read(root, [3], silent).tasks
    assert task.notes[0] == "4 training and 2 test images were prepared; 2,040 and 6,149 are published"
    assert notes_of([task, task])[0] == f"flowers: {task.notes[0]}"
    (root / "imagenet2sketch/flowers/manifest.json").unlink()
    assert load_scenario("imagenet2sketch").read(root, [3], silent).tasks[0].notes == ()


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
