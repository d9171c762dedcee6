"""A scenario of one's own from a YAML file."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, Scenario, silent
from benchmark.scenarios.loader import load_scenario
from benchmark.scenarios.user import KEYS, TASK_KEYS

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("BENCHMARK_DATA_ROOT", ROOT.parent / "shared/data")) / "multidomain"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images in {DATA}; set BENCHMARK_DATA_ROOT")

MINIMAL: dict[str, Any] = {
    "tasks": [{"name": "one", "folder": "images/one"}, {"name": "two", "folder": "images/two"}],
    "backbone": "small_cnn",
    "image_size": 8,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MASKBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Scenario]:
    """Write and load a file: ``load(MINIMAL, image_size=16)``."""

    def write(base: dict[str, Any] = MINIMAL, **changes: Any) -> Scenario:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**base, **changes}))
        return load_scenario(str(path))

    return write


def write_images(root: Path, size: tuple[int, int] = (8, 8)) -> None:
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (root / folder).mkdir(parents=True)
        Image.new("RGB", size, (10, 20, 30) if folder.endswith("a") else (50, 60, 70)).save(root / folder / "0.png")


def test_defaults(load: Callable[..., Scenario]) -> None:
    scenario = load()
    assert (scenario.name, scenario.task_names, scenario.classes) == ("mine", ("one", "two"), (0, 0))
    assert (scenario.batch_size, scenario.eval_batch_size, scenario.channels) == (32, 100, 3)
    assert not scenario.pretrained and scenario.weights is None and scenario.settings == {}


def test_paths_are_relative_to_the_file(
    load: Callable[..., Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        write_images(tmp_path / "images" / name, (10, 6))
    monkeypatch.chdir("/")
    tasks = load().read(None, [1, 2], silent).tasks
    assert [task.name for task in tasks] == ["one", "two"] and tasks[0].class_names == ("a", "b")
    assert tasks[0].train.images.shape == (2, 3, 8, 8) and tasks[0].train.images[1, :, 0, 0].tolist() == [50, 60, 70]
    assert tasks[0].mean == pytest.approx((30 / 255, 40 / 255, 50 / 255))


def test_only_the_tasks_asked_for_need_to_be_there(load: Callable[..., Scenario], tmp_path: Path) -> None:
    write_images(tmp_path / "images/two")
    assert load().read(None, [2], silent).tasks[0].index == 2
    with pytest.raises(RequestError, match=r"There is no folder .*images/one/train"):
        load().read(None, [1, 2], silent)


def test_everything_said(load: Callable[..., Scenario], tmp_path: Path) -> None:
    write_images(tmp_path / "images/one")
    write_images(tmp_path / "images/two")
    (tmp_path / "w.safetensors").write_bytes(b"")
    scenario = load(
        name="animals",
        summary="cats",
        weights="w.safetensors",
        backbone="resnet18",
        width=0.5,
        image_size=14,
        resize="exact",
        channels=1,
        normalisation={"mean": [0.5], "std": [0.25]},
        augmentation={"flip": True, "crop_padding": 2},
        tasks=[
            {"name": "one", "folder": "images/one", "augmentation": {"random_resized_crop": True, "flip": False}},
            {"name": "two", "folder": "images/two"},
        ],
        batch_size=8,
        eval_batch_size=9,
        settings={"masked": {"epochs": 5, "lr": 1, "milestones": [2]}, "packnet": {"prune_ratio": 0.5}},
    )
    assert (scenario.name, scenario.summary, scenario.backbone_options) == ("animals", "cats", {"width": 0.5})
    assert scenario.pretrained and scenario.weights == tmp_path / "w.safetensors"
    assert (scenario.batch_size, scenario.eval_batch_size) == (8, 9)
    assert scenario.settings == {
        "masked": {"epochs": 5, "lr": 1.0, "milestones": (2,)},
        "packnet": {"prune_ratio": (0.5,)},
    }
    one, two = scenario.read(None, [1, 2], silent).tasks
    assert one.augmentation == Augmentation(crop_padding=2, random_resized_crop=True)
    assert two.augmentation == Augmentation(crop_padding=2, flip=True)
    assert one.train.images.shape == (2, 1, 16, 16) and two.train.images.shape == (2, 1, 14, 14)
    assert (one.mean, one.std) == ((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbon": "x"}, r"unknown key 'backbon'\. Did you mean 'backbone'\?"),
        ({"tasks": []}, r"tasks must be a list of at least one task"),
        ({"tasks": "one"}, r"tasks must be a list of at least one task"),
        ({"tasks": ["one"]}, r"task 1: a task has keys such as name and folder, not 'one'"),
        ({"tasks": [{"folder": "x"}]}, r"task 1: the key 'name' is missing"),
        ({"tasks": [{"name": "a"}]}, r"task 1: name either a folder, or train and test"),
        ({"tasks": [{"name": "a", "folder": "x", "train": "y"}]}, r"task 1: name either a folder, or train and test"),
        ({"tasks": [{"name": "a", "train": "x"}]}, r"task 1: test must be a parquet file or a list of them, not null"),
        ({"tasks": [{"name": "a", "folder": "x", "label_colum": "y"}]}, r"task 1: unknown key 'label_colum'"),
        ({"tasks": [{"name": "a", "folder": "x", "label_column": "y"}]}, r"task 1: label_column belongs to parquet"),
        ({"tasks": [{"name": "a", "folder": "x"}] * 2}, r"task 2: there is already a task named 'a'"),
        ({"tasks": [{"name": 3, "folder": "x"}]}, r"task 1: name must be a text, not 3"),
        ({"name": "day/night"}, r"name \(by default the file's\) must be at most 80 letters.*, not 'day/night'"),
        ({"name": "../outside"}, r"name .* must be at most 80 letters"),
        ({"name": ".."}, r"name .* must be at most 80 letters"),
        ({"name": "a\0b"}, r", line \d+: 'a\\x00b' holds the character U\+0000; leave it out"),
        ({"name": "a\nb"}, r"name .* must be at most 80 letters"),
        ({"name": " a"}, r"name .* must be at most 80 letters"),
        ({"name": ".hidden"}, r"name .* must be at most 80 letters"),
        ({"name": "-rf"}, r"name .* must be at most 80 letters"),
        ({"name": "x" * 81}, r"name .* must be at most 80 letters.*x…"),
        ({"name": "\u00e9" * 41}, r"name .* must be at most 80 letters"),
        ({"tasks": [{"name": "a\nb", "folder": "x"}]}, r"task 1: name must be at most 120 characters that can be"),
        ({"tasks": [{"name": "a\x1b[2J", "folder": "x"}]}, r", line \d+: .* holds the character U\+001B; leave it out"),
        ({"tasks": [{"name": "a\u202eb", "folder": "x"}]}, r"task 1: name must be at most 120 characters that can be"),
        ({"summary": "a\u202eb"}, r"summary must be at most 500 characters that can be printed"),
        ({"summary": "x" * 501}, r"summary must be at most 500 characters"),
        ({"tasks": [{"name": "x" * 121, "folder": "x"}]}, r"task 1: name must be at most 120 characters"),
        ({"tasks": [{"name": "a", "folder": "x\0"}]}, r", line \d+: .* holds the character U\+0000; leave it out"),
        ({"tasks": [{"name": "a", "folder": "x", "split": 0}]}, r"task 1: split must be the share of test images"),
        ({"tasks": [{"name": "a", "folder": "x", "split": 1}]}, r"split must be the share of test images.*, not 1"),
        ({"tasks": [{"name": "a", "folder": "x", "split": "20 %"}]}, r"split must be the share .*, not '20 %'"),
        ({"tasks": [{"name": "a", "folder": "x", "split": True}]}, r"split must be the share .*, not True"),
        ({"tasks": [{"name": "a", "train": "x", "test": "y", "split": 0.2}]}, r"task 1: split belongs to a folder"),
        ({"skip_broken": "yes"}, r"skip_broken must be true or false, not 'yes'"),
        ({"image_size": "8"}, r"image_size must be a whole number of at least 1, not '8'"),
        ({"image_size": True}, r"image_size must be a whole number of at least 1, not True"),
        ({"image_size": 0}, r"image_size must be a whole number of at least 1, not 0"),
        ({"image_size": 4097}, r"image_size must be at most 4,096, not 4,097"),
        ({"batch_size": 10**9}, r"batch_size must be at most 1,000,000, not 1,000,000,000"),
        ({"image_size": None}, r"the key 'image_size' is missing"),
        ({"channels": 4}, r"channels must be 3 \(colour\) or 1 \(grey\), not 4"),
        ({"backbone": "resnet8"}, r"There is no backbone 'resnet8'\. Did you mean 'resnet"),
        (
            {"backbone": "vgg16_bn"},
            r"image_size does not suit .*: vgg16_bn needs images of at least 32",
        ),
        ({"weights": "nowhere.pt"}, r"there is no weights file .*nowhere\.pt"),
        ({"resize": "short"}, r"resize 'short' is not known\. Did you mean 'short-side'"),
        ({"normalisation": "imagnet"}, r"Did you mean 'imagenet'"),
        ({"normalisation": "imagenet", "channels": 1}, r"imagenet needs 3 channels"),
        ({"normalisation": {"mean": [0.5], "std": [1, 1, 1]}}, r"mean must be a list of 3 numbers, not \[0\.5\]"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, r"every std must be above 0"),
        ({"augmentation": {"flipp": True}}, r"augmentation: unknown key 'flipp'\. Did you mean 'flip'"),
        ({"augmentation": {"flip": 1}}, r"flip must be true or false, not 1"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1e-7, 1, 1]}}, r"every std must be at least 1e-06"),
        ({"normalisation": {"mean": [1e7, 0, 0], "std": [1, 1, 1]}}, r"every mean at most 1e\+06"),
        ({"augmentation": {"crop_padding": 5000}}, r"crop_padding must be at most 4,096, not 5,000"),
        ({"augmentation": {"cutout": -1}}, r"cutout must be a whole number of at least 0, not -1"),
        ({"augmentation": [1]}, r"augmentation must hold keys with values, not \[1\]"),
        ({"width": 0}, r"width must be a number above 0, not 0"),
        ({"width": 1e300}, r"width must be at most 100, not 1e\+300"),
        ({"backbone_options": {"widht": 1}}, r"unknown key 'widht'\. Did you mean 'width'"),
        ({"settings": {"maskd": {}}}, r"unknown method family 'maskd'\. Did you mean 'masked'"),
        ({"settings": {"masked": {"epoch": 3}}}, r"masked: unknown key 'epoch'\. Did you mean 'epochs'"),
        ({"settings": {"masked": {"epochs": 3.5}}}, r"masked\.epochs must be a whole number, not 3\.5"),
        ({"settings": {"masked": {"lr": "big"}}}, r"masked\.lr must be a number, not 'big'"),
        ({"settings": {"masked": {"lr": "1e999"}}}, r"masked\.lr must be a finite number, not inf"),
        ({"settings": {"masked": {"epochs": "1e1"}}}, r"masked\.epochs must be a whole number, not '1e1'"),
        ({"settings": {"masked": {"lr": -1.0}}}, r"masked\.lr must be at least 0, not -1\.0"),
        ({"settings": {"packnet": {"prune_last": 1}}}, r"packnet\.prune_last must be true or false, not 1"),
        ({"settings": {"packnet": {"milestones": ["a"]}}}, r"packnet\.milestones must be a whole number, not 'a'"),
        ({"settings": {"masked": {"schedule": "banana"}}}, r"masked\.schedule must be one of step, cosine, constant"),
        ({"settings": {"finetune": {"optimizer": "lion"}}}, r"finetune\.optimizer must be one of sgd, adam"),
        ({"settings": {"packnet": {"prune_ratio": [1.5]}}}, r"packnet\.prune_ratio must be below 1, not 1\.5"),
        ({"settings": {"packnet": {"ratio_of": "frree"}}}, r"packnet\.ratio_of must be one of free, current"),
        ({"settings": {"masked": {"learning_rate": 1}}}, r"unknown key 'learning_rate'\. Did you mean 'lr'\?"),
    ],
)
def test_faults_name_file_and_key(load: Callable[..., Scenario], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=r"mine\.yaml.*" + message) as caught:
        load(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "x" * 80, "v1.2_b-c d", "\u00e9t\u00e9", "\u732b"])
def test_plain_names_are_taken(load: Callable[..., Scenario], name: str) -> None:
    assert load(name=name).name == name


def test_a_file_name_that_is_no_plain_name_asks_for_one(tmp_path: Path) -> None:
    path = tmp_path / "a+b.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    with pytest.raises(RequestError, match=r"name \(by default the file's\) must be .*, not 'a\+b'"):
        load_scenario(str(path))
    path.write_text(yaml.safe_dump({**MINIMAL, "name": "ab"}))
    assert load_scenario(str(path)).name == "ab"


def test_task_names_may_hold_whatever_prints(load: Callable[..., Scenario]) -> None:
    names = ("day / night: 50 %", "x" * 120, "\u732b\u3068\u72ac")
    assert load(tasks=[{"name": name, "folder": "x"} for name in names]).task_names == names


@pytest.mark.parametrize(
    ("written", "value"), [("2e-4", 2e-4), ("1e0", 1.0), ("+1E+1", 10.0), (".5e1", 5.0), ("1.5e1", 15.0), ("3", 3.0)]
)
def test_numbers_with_an_exponent_are_numbers_everywhere(tmp_path: Path, written: str, value: float) -> None:
    """YAML 1.1 reads those without a point, or without a sign in the exponent, as texts."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"tasks: [{{name: 1e3, folder: x}}]\nbackbone: small_cnn\nimage_size: 8\nwidth: {written}\n"
        f"normalisation: {{mean: [{written}, 0, 0], std: [{written}, 1, 1]}}\n"
        f"settings: {{masked: {{lr: {written}}}, packnet: {{gamma: {written}}}}}\n"
    )
    scenario = load_scenario(str(path))
    assert scenario.settings == {"masked": {"lr": value}, "packnet": {"gamma": value}}
    assert scenario.backbone_options == {"width": value} and scenario.task_names == ("1e3",)


def test_a_split_and_skipped_images_from_the_file(load: Callable[..., Scenario], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (8, 8), 10 * number).save(tmp_path / "all" / name / f"{number}.png")
    tasks = [{"name": "one", "folder": "all", "split": 0.2}]
    (task,) = load(tasks=tasks).read(None, [1], silent).tasks
    assert (len(task.train), len(task.test)) == (16, 4)
    (tmp_path / "all/a/9.png").write_bytes(b"broken")
    with pytest.raises(RequestError, match=r"a/9\.png does not decode"):
        load(tasks=tasks).read(None, [1], silent)
    (task,) = load(tasks=tasks, skip_broken=True).read(None, [1], silent).tasks
    assert len(task.train) + len(task.test) == 19 and "9.png" in task.notes[1]


def test_the_home_folder_in_scenario_and_configuration_files(
    load: Callable[..., Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.cli.command_line import add_config, add_options, request_of

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_images(tmp_path / "home/one")
    (tmp_path / "home/w.pth").write_bytes(b"")
    scenario = load(tasks=[{"name": "one", "folder": "~/one"}], weights="~/w.pth")
    assert scenario.weights == tmp_path / "home/w.pth" and len(scenario.read(None, [1], silent).tasks[0].train) == 2
    (tmp_path / "home/mine.yaml").write_text((tmp_path / "mine.yaml").read_text())
    assert load_scenario("~/mine.yaml").name == "mine"
    with pytest.raises(RequestError, match=r"There is no folder .*/~no-such-user/x/train"):
        load(tasks=[{"name": "one", "folder": "~no-such-user/x"}]).read(None, [1], silent)

    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "data_root: ~/data\nresults: ~/runs\nweights: w.pth\nset: {ksm.lr: 2e-4, packnet.prune_ratio: [5e-1, 6e-1]}\n"
    )
    parser = argparse.ArgumentParser()
    add_options(parser)
    add_config(parser)
    request = request_of(parser.parse_args(["--config", str(plan)]))
    assert (request.data_root, request.results) == (tmp_path / "home/data", tmp_path / "home/runs")
    assert request.weights == tmp_path / "w.pth"
    assert request.overrides == {"ksm.lr": 2e-4, "packnet.prune_ratio": (0.5, 0.6)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"tasks: [", r"mine\.yaml is not valid YAML: "),
        (b"- a\n- b\n", r"mine\.yaml must hold keys with values"),
        (b"", r"mine\.yaml must hold keys with values"),
        (b"\xff\xfe\x00", r"mine\.yaml, line 1: this is not text in UTF-8"),
        (b"!!python/object/apply:os.system ['touch x']", r"mine\.yaml, line 1: the tag 'tag:yaml.org,2002:python/"),
    ],
)
def test_files_that_are_no_yaml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        load_scenario(str(path))


def test_an_absent_file() -> None:
    with pytest.raises(RequestError, match=r"The scenario nowhere\.yaml cannot be read \(No such file"):
        load_scenario("nowhere.yaml")


def test_the_example_is_right_and_every_key_is_documented() -> None:
    example = yaml.safe_load((ROOT / "docs/own-scenario.example.yaml").read_text())
    page = (ROOT / "docs/add-a-scenario.md").read_text()
    assert set(example) <= set(KEYS)
    for key in (*KEYS, *TASK_KEYS):
        assert re.search(rf"`{key}[:`]", page), key


def test_the_example_loads(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/squeezenet1_1_imagenet.safetensors").write_bytes(b"")
    path = tmp_path / "example.yaml"
    path.write_text((ROOT / "docs/own-scenario.example.yaml").read_text())
    scenario = load_scenario(str(path))
    assert scenario.name == "signs-and-sketches" and scenario.backbone == "squeezenet1_1"
    with pytest.raises(RequestError, match=r"There is no file .*data/signs/train-\*\.parquet"):
        scenario.read(None, [1], silent)


@real_data
def test_real_domains_of_both_layouts(load: Callable[..., Scenario], tmp_path: Path) -> None:
    (tmp_path / "real").symlink_to(DATA)
    tasks = [
        {"name": "signs", "train": "real/gtsrb/tr*.parquet", "test": ["real/gtsrb/test.parquet"]},
        {"name": "sketches", "folder": "real/pacs_sketch"},
    ]
    data = load(tasks=tasks, image_size=16, backbone="resnet18", normalisation="imagenet").read(None, [1, 2], silent)
    assert [(len(task.class_names), len(task.train), len(task.test)) for task in data.tasks] == [
        (43, 4300, 2150),
        (7, 2947, 982),
    ]
    assert all(task.train.images.shape[1:] == (3, 16, 16) for task in data.tasks)
    assert np.bincount(data.tasks[0].test.labels).tolist() == [50] * 43
