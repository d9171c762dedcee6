"""An exported task sees images as the run saw them, and is held to the recorded accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from methods.engine.augment import resized

RULES = ("exact", "short-side")


def test_squashed_and_cropped_by_hand() -> None:
    # columns 0 0 100 100. Squashed to two, with antialiasing: a triangle of half-width 2 around the middle of each half
    # reaches three columns, with weights 3/4, 3/4 and 1/4: 100 / 7 = 14.3. The central square has one column of each.
    image = torch.tensor([[0, 0, 100, 100]] * 2, dtype=torch.uint8)[None, None]
    assert resized(image, 2, "exact").tolist() == [[[[14, 86]] * 2]]
    assert resized(image, 2, "short-side").tolist() == [[[[0, 100]] * 2]]
    assert torch.equal(resized(image[..., :2], 2, "short-side"), image[..., :2])


@pytest.mark.parametrize("how", RULES)
@pytest.mark.parametrize("shape", [(40, 17), (17, 40), (9, 9), (33, 32)])
def test_resizing_is_that_of_the_stored_images(shape: tuple[int, int], how: str) -> None:
    """Against Pillow, through the very code that stores images: at most one grey level of rounding."""
    from benchmark.data.images import fit

    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    stored = np.asarray(fit(Image.fromarray(pixels), 16, how)).astype(int)
    ours = resized(torch.from_numpy(pixels).permute(2, 0, 1)[None], 16, how)[0].permute(1, 2, 0).numpy().astype(int)
    assert ours.shape == stored.shape == (16, 16, 3)
    assert np.abs(ours - stored).max() <= 1


def picture(label: int, number: int) -> Image.Image:
    """24 x 12: class 0 has its bar on the left, class 1 on the right, outside the central square."""
    pixels = np.random.default_rng(number).integers(0, 60, (12, 24, 3), dtype=np.uint8)
    start = 0 if label == 0 else 20
    pixels[:, start : start + 4] = 250
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Any]) -> Path:
    """A run on wide images that are squashed: cropped to their centre they would all look alike."""
    home = tmp_path_factory.mktemp("wide")
    for task in ("one", "two"):
        for split, count in (("train", 16), ("test", 10)):
            for label in (0, 1):
                folder = home / task / split / f"class{label}"
                folder.mkdir(parents=True)
                for number in range(count):
                    picture(label, 100 * label + number + (1000 if split == "test" else 0)).save(
                        folder / f"{number}.png"
                    )
    (home / "wide.yaml").write_text(
        "tasks: [{name: one, folder: one}, {name: two, folder: two}]\nbackbone: small_cnn\nwidth: 0.25\n"
        "image_size: 12\nresize: exact\n"
    )
    words = ("run", "--scenario", home / "wide.yaml", "--method", "finetune", "--epochs", 12, "--threads", 1)
    answer = command(
        *words, "--results", home / "runs", "--keep-weights", "all", "--set", "protocol.batch_size=8",
        "--set", "finetune.lr=0.02", "--set", "scratch.lr=0.02", MASKBENCH_CACHE=str(home / "cache"),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (folder,) = (home / "runs").glob("wide-finetune-*")
    return folder


def test_images_as_they_come_give_the_recorded_accuracy(run: Path, command: Callable[..., Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from benchmark.backbones.builder import build
    from methods import load_task

    home = run.parent.parent
    record = json.loads((run / "result.json").read_text(encoding="utf-8"))
    file = tmp_path / "one.st"
    backbone_file = tmp_path / "net.st"
    answer = command(
        "export", run, "--task", "one", "--to", file, "--backbone-to", backbone_file,
        MASKBENCH_CACHE=str(home / "cache"),
    )  # fmt: skip
    assert answer.code == 0, answer.err
    recorded = record["tasks"][0]["accuracy_at_end"]
    assert (
        f"verified: {round(20 * recorded)} of 20 test images right, the record has {round(20 * recorded)}" in answer.out
    )
    assert recorded > 0.8, "the task was not learned: the test would prove nothing"
    backbone = build("small_cnn", width=0.25)
    backbone.load_state_dict(load_file(backbone_file), strict=False)
    network = load_task(backbone, file)
    right = 0
    for label in (0, 1):
        for path in sorted((home / "one" / "test" / f"class{label}").glob("*.png")):
            pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]
            assert pixels.shape == (1, 3, 12, 24)
            right += int(network(network.normalise(pixels)).argmax()) == label
    assert right == round(20 * recorded)
    with pytest.raises(ValueError, match="the images have 1 channels, the task wants 3"):
        network.normalise(torch.zeros(1, 1, 12, 24, dtype=torch.uint8))


def test_export_that_does_not_keep_the_recorded_accuracy_is_refused(
    run: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    """A record that tells of another accuracy than its weights have."""
    import shutil

    from results.metrics import backward_transfer, forgetting, mean_accuracy
    from results.seal import sealed

    home = run.parent.parent
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    record = json.loads((copy / "result.json").read_text(encoding="utf-8"))
    matrix = record["accuracy_matrix"]
    matrix[-1][0] = record["tasks"][0]["accuracy_at_end"] = 0.25
    if len(matrix) == 1:
        record["tasks"][0]["accuracy"] = 0.25
    record["mean_accuracy"], record["forgetting"] = mean_accuracy(matrix), forgetting(matrix)
    record["backward_transfer"] = backward_transfer(matrix)
    (copy / "result.json").write_text(json.dumps(sealed(record)))
    folder = tmp_path / "out"
    file, backbone = folder / "one.st", folder / "net.st"
    words = ("export", copy, "--task", "one", "--to", file, "--backbone-to", backbone)
    answer = command(*words, MASKBENCH_CACHE=str(home / "cache"))
    assert answer.code == 1
    assert "the record has 5; " in answer.err
    assert list(folder.iterdir()) == []
    file.write_bytes(b"an earlier export")
    assert command(*words, MASKBENCH_CACHE=str(home / "cache")).code == 1
    assert [path.name for path in folder.iterdir()] == ["one.st"]
    assert file.read_bytes() == b"an earlier export"


def test_export_without_the_images_says_that_it_did_not_verify(
    run: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    home = run.parent.parent
    (home / "one").rename(home / "elsewhere")
    try:
        answer = command(
            "export", run, "--task", "one", "--to", tmp_path / "one.st", MASKBENCH_CACHE=str(home / "cache")
        )
    finally:
        (home / "elsewhere").rename(home / "one")
    assert answer.code == 0
    assert "not verified, since the test images are not at hand: " in answer.out
    assert (tmp_path / "one.st").exists()


def test_export_imports_no_avalanche(run: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    repository = Path(__file__).resolve().parent.parent
    code = (
        "import sys; from benchmark.cli.main import main;"
        f"code = main(['export', {str(run)!r}, '--task', 'one', '--to', {str(tmp_path / 'one.st')!r}]);"
        "assert 'avalanche' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
