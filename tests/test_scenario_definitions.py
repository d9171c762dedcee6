"""The scenarios that come with the suite, and the registry."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import RequestError
from benchmark.scenarios import digits
from benchmark.scenarios.contract import Augmentation, silent
from benchmark.scenarios.imagenet2sketch import CLASSES, TASK_NAMES
from benchmark.scenarios.loader import known_scenarios, load_scenario
from methods.registry import METHODS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MASKBENCH_CACHE", str(folder))
    return folder


def test_registry() -> None:
    assert known_scenarios() == ("digits", "cifar100-20", "cifar100-superclass", "imagenet2sketch")
    for name in known_scenarios():
        scenario = load_scenario(name)
        assert scenario.name == name and scenario.summary and len(scenario.classes) == len(scenario.task_names)


@pytest.mark.parametrize(("name", "meant"), [("digit", "digits"), ("cifar100", "cifar100-20")])
def test_unknown_names(name: str, meant: str) -> None:
    with pytest.raises(RequestError, match=f"no scenario '{name}'. Did you mean '{meant}'"):
        load_scenario(name)


@pytest.mark.parametrize("name", ["digits", "cifar100-20", "imagenet2sketch"])
def test_settings_are_knobs_of_their_family(name: str) -> None:
    families = {method.family: method.settings for method in METHODS.values()}
    for family, settings in load_scenario(name).settings.items():
        changed = dataclasses.replace(families[family], **settings)
        assert all(getattr(changed, knob) == value for knob, value in settings.items())


def test_listing_scenarios_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from benchmark.scenarios.loader import known_scenarios, load_scenario\n"
        "print([load_scenario(name).summary for name in known_scenarios()])\n"
        "print([name for name in ('torch', 'avalanche', 'numpy', 'pyarrow', 'PIL', 'sklearn') if name in sys.modules])"
    )
    lines = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert lines.splitlines()[1] == "[]"


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    data = load_scenario("digits").read(None, range(1, 6), silent)
    assert [task.class_names for task in data.tasks] == [("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9")]
    assert sum(len(task.train) + len(task.test) for task in data.tasks) == 1797
    source = load_digits()
    fours = np.rint(source.images[source.target == 4] * 255 / 16).astype(np.uint8)
    task = data.tasks[2]
    np.testing.assert_array_equal(task.test.images[task.test.labels == 0, 0], fours[4::5])
    np.testing.assert_array_equal(task.train.images[0, 0], fours[0])
    assert task.train.images.max() == 255 and task.train.images.shape[1:] == (1, 8, 8)
    assert task.mean == pytest.approx([(task.train.images / 255).mean()])


def test_digits_without_the_shipped_file(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = digits.load()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for direct, asked in zip(shipped, digits.load(), strict=True):
        np.testing.assert_array_equal(direct, asked)


def test_digits_split_is_about_80_to_20_in_every_class() -> None:
    for task in load_scenario("digits").read(None, range(1, 6), silent).tasks:
        train, test = np.bincount(task.train.labels), np.bincount(task.test.labels)
        assert len(train) == len(test) == 2
        assert ((test / (train + test) > 0.19) & (test / (train + test) <= 0.2)).all()
        assert not task.augmentation.flip


def test_reading_some_digits_tasks_keeps_their_index() -> None:
    (task,) = load_scenario("digits").read(None, [4], silent).tasks
    assert (task.index, task.name, task.class_names) == (4, "six-seven", ("6", "7"))


# --- imagenet2sketch --------------------------------------------------------------------------------------------------


def write_small_tree(root: Path, tasks: tuple[str, ...] = TASK_NAMES) -> Path:
    """Two classes, two training images and one test image of each, larger than they are wide."""
    random = np.random.default_rng(0)
    for task in tasks:
        for split, count in (("train", 2), ("test", 1)):
            for name in ("a", "b"):
                folder = root / "imagenet2sketch" / task / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 256, (300, 280, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return root


def test_imagenet2sketch_on_a_small_tree(tmp_path: Path) -> None:
    """Fewer classes than the papers': runs all the same. Cropped tasks are squashed to 224, the others keep 256."""
    tasks = load_scenario("imagenet2sketch").read(write_small_tree(tmp_path), range(1, 6), silent).tasks
    assert [task.name for task in tasks] == [
        "cubs_cropped",
        "stanford_cars_cropped",
        "flowers",
        "wikiart",
        "sketches",
    ]
    shapes = [np.unique(task.train.images.shapes, axis=0).tolist() for task in tasks]  # type: ignore[union-attr]
    assert shapes == [[[224, 224]]] * 2 + [[[274, 256]]] * 3  # of 300 x 280
    assert [task.stored_side for task in tasks] == [224, 224, 256, 256, 256]
    assert [task.whole for task in tasks] == [False] * 2 + [True] * 3
    cropped, others = Augmentation(flip=True), Augmentation(flip=True, random_resized_crop=True)
    assert [task.augmentation for task in tasks] == [cropped] * 2 + [others] * 3
    assert {task.mean for task in tasks} == {(0.485, 0.456, 0.406)}
    assert {task.std for task in tasks} == {(0.229, 0.224, 0.225)}


def test_only_the_tasks_asked_for_are_decoded(tmp_path: Path, cache: Path) -> None:
    root = write_small_tree(tmp_path, ("flowers", "sketches"))
    scenario = load_scenario("imagenet2sketch")
    scenario.read(root / "imagenet2sketch", [3], silent)
    assert [folder.name.split("-")[0] for folder in (cache / "decoded").iterdir()] == ["flowers"]
    with pytest.raises(
        RequestError, match=r"does not hold cubs_cropped, stanford_cars_cropped, wikiart: the data root"
    ):
        scenario.read(root, [3, 4], silent)


def test_imagenet2sketch_without_data_says_what_to_get() -> None:
    with pytest.raises(RequestError, match=r"imagenet2sketch/\{cubs_cropped,.*sketches\}/\{train,test\}/CLASS"):
        load_scenario("imagenet2sketch").read(None, [1], silent)


def test_imagenet2sketch_is_the_papers() -> None:
    scenario = load_scenario("imagenet2sketch")
    assert dict(zip(scenario.task_names, CLASSES, strict=True))["flowers"] == 102
    assert scenario.pretrained and scenario.backbone == "resnet50" and "resnet50" in scenario.weights_help
