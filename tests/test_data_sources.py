"""Folders and parquet files become tasks; hostile ones become one sentence that names file and fault."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmark.data import tasks as tasks_module
from benchmark.data.folders import folder_source
from benchmark.data.images import EXACT, SHORT_SIDE, Preparation
from benchmark.data.listing import TaskSource
from benchmark.data.parquet import Columns, list_files, parquet_source
from benchmark.data.tasks import IMAGENET_MEAN, IMAGENET_STD, read_task
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, Task, silent

DATA = Path(os.environ.get("BENCHMARK_DATA_ROOT", Path(__file__).parents[2] / "shared/data")) / "multidomain"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images in {DATA}; set BENCHMARK_DATA_ROOT")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MASKBENCH_CACHE", str(folder))
    return folder


def load(source: TaskSource, size: int = 4, resize: str = EXACT, channels: int = 3) -> Task:
    preparation = Preparation(size, resize, channels)
    return read_task(1, "task", source, preparation, None, Augmentation(), silent)[0]


def png(value: int, size: tuple[int, int] = (4, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def write_tree(root: Path, tree: dict[str, Sequence[int]]) -> Path:
    """``{"train/cat": [10, 20]}``: images of one grey level each, named 0.png, 1.png, ..."""
    for folder, values in tree.items():
        (root / folder).mkdir(parents=True)
        for number, value in enumerate(values):
            (root / folder / f"{number}.png").write_bytes(png(value))
    return root


GOOD_TREE = {"train/cat": [10, 20], "train/dog": [30], "test/cat": [40], "test/dog": [50, 60]}


def write_parquet(
    path: Path,
    values: Sequence[int],
    labels: Sequence[object],
    names: object = ("cat", "dog"),
    image_column: str = "image",
    label_column: str = "label",
    plain: bool = False,
) -> Path:
    images = [png(value) for value in values]
    column = images if plain else [{"bytes": image, "path": None} for image in images]
    table = pa.table({image_column: column, label_column: list(labels)})
    if names is not None:
        table = table.replace_schema_metadata({"class_names": json.dumps(names)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def good_parquet(root: Path) -> tuple[Path, Path]:
    train = write_parquet(root / "train.parquet", [10, 20, 30], [0, 1, 0])
    return train, write_parquet(root / "test.parquet", [40, 50], [1, 0])


# --- what is read -----------------------------------------------------------------------------------------------------


def test_folders_sorted_by_class_and_name(tmp_path: Path) -> None:
    task = load(folder_source(write_tree(tmp_path / "pets", GOOD_TREE)))
    assert task.class_names == ("cat", "dog")
    assert task.train.images.shape == (3, 3, 4, 4) and task.train.images.dtype == np.uint8
    assert task.train.images[:, 0, 0, 0].tolist() == [10, 20, 30] and task.train.labels.tolist() == [0, 0, 1]
    assert task.test.images[:, 2, 3, 3].tolist() == [40, 50, 60] and task.test.labels.tolist() == [0, 1, 1]
    assert task.train.labels.dtype == np.int64
    assert task.mean == pytest.approx((20 / 255,) * 3)


def test_hidden_files_and_other_files_are_left_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", GOOD_TREE)
    (root / "train/.ipynb_checkpoints").mkdir()
    (root / "train/cat/._0.png").write_bytes(b"a Mac's shadow")
    (root / "train/cat/Thumbs.db").write_bytes(b"")
    (root / "train/cat/2.PNG").write_bytes(png(70))
    assert load(folder_source(root)).train.images[:, 0, 0, 0].tolist() == [10, 20, 70, 30]


def test_parquet_rows_in_order(tmp_path: Path) -> None:
    train, test = good_parquet(tmp_path)
    task = load(parquet_source([train], [test]))
    assert task.class_names == ("cat", "dog")
    assert task.train.images[:, 0, 0, 0].tolist() == [10, 20, 30] and task.train.labels.tolist() == [0, 1, 0]
    assert task.test.labels.tolist() == [1, 0]


def test_parquet_over_several_files_and_other_columns(tmp_path: Path) -> None:
    first = write_parquet(tmp_path / "a.parquet", [1, 2], [1, 0], ["x", "y"], "picture", "kind", plain=True)
    second = write_parquet(tmp_path / "b.parquet", [3], [1], ["x", "y"], "picture", "kind", plain=True)
    test = write_parquet(tmp_path / "t.parquet", [4, 5], [0, 1], ["x", "y"], "picture", "kind", plain=True)
    task = load(parquet_source([first, second], [test], Columns("picture", "kind")))
    assert task.train.images[:, 0, 0, 0].tolist() == [1, 2, 3] and task.train.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("column", ["fine_label", "coarse_label"])
def test_usual_columns_and_names_by_column(tmp_path: Path, column: str) -> None:
    names = {"fine_label": ["f0", "f1"], "coarse_label": ["c0", "c1"]}
    path = write_parquet(tmp_path / "a.parquet", [1, 2], [1, 0], names, "img", column)
    assert list_files([path]).class_names == (f"{column[0]}0", f"{column[0]}1")


def test_hugging_faces_own_metadata(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [1, 2], [1, 0], names=None)
    features = {"info": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}
    table = pq.read_table(path).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path)
    assert list_files([path]).class_names == ("no", "yes")


@pytest.mark.parametrize(
    ("labels", "names", "expected_names", "expected"),
    [
        ([7, 3, 7], None, ("3", "7"), [1, 0, 1]),
        (["dog", "cat", "dog"], None, ("cat", "dog"), [1, 0, 1]),
        (["dog", "cat", "dog"], ["dog", "cat"], ("dog", "cat"), [0, 1, 0]),
    ],
)
def test_labels_without_names_or_as_texts(
    tmp_path: Path, labels: list[object], names: list[str] | None, expected_names: tuple[str, ...], expected: list[int]
) -> None:
    listing = list_files([write_parquet(tmp_path / "a.parquet", [1, 2, 3], labels, names)])
    assert listing.class_names == expected_names and listing.labels.tolist() == expected


def test_folders_and_parquet_give_equal_tasks(tmp_path: Path) -> None:
    tree = load(folder_source(write_tree(tmp_path / "pets", GOOD_TREE)))
    train = write_parquet(tmp_path / "p/train.parquet", [10, 20, 30], [0, 0, 1])
    table = load(parquet_source([train], [write_parquet(tmp_path / "p/test.parquet", [40, 50, 60], [0, 1, 1])]))
    for split in ("train", "test"):
        np.testing.assert_array_equal(getattr(tree, split).images, getattr(table, split).images)
        np.testing.assert_array_equal(getattr(tree, split).labels, getattr(table, split).labels)
    assert (tree.class_names, tree.mean, tree.std) == (table.class_names, table.mean, table.std)


def test_fixed_normalisation_and_augmentation(tmp_path: Path) -> None:
    source = folder_source(write_tree(tmp_path / "pets", GOOD_TREE))
    augmentation = Augmentation(flip=True)
    fixed = (IMAGENET_MEAN, IMAGENET_STD)
    task, _ = read_task(3, "pets", source, Preparation(4), fixed, augmentation, silent)
    assert (task.index, task.mean, task.std, task.augmentation) == (3, *fixed, augmentation)


# --- the cache behind it ----------------------------------------------------------------------------------------------


def test_decoded_once_and_again_when_an_image_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "pets", GOOD_TREE)
    decoded: list[str] = []
    original = tasks_module.decode_into
    monkeypatch.setattr(tasks_module, "decode_into", lambda *given: decoded.append(given[3]) or original(*given))

    def fingerprint() -> str:
        return read_task(1, "pets", folder_source(root), Preparation(4), None, Augmentation(), silent)[1]

    first = fingerprint()
    assert fingerprint() == first and decoded == ["decoding pets train", "decoding pets test"]
    (root / "train/cat/0.png").write_bytes(png(11))
    assert fingerprint() != first and len(decoded) == 4
    (root / "train/cat/0.png").write_bytes(png(10))
    assert fingerprint() == first and len(decoded) == 4
    load(folder_source(root), size=5)
    assert len(decoded) == 6


def test_fingerprint_knows_labels_and_class_names(tmp_path: Path) -> None:
    def fingerprint(names: tuple[str, str], labels: list[int]) -> str:
        paths = [write_parquet(tmp_path / name, [1, 2], labels, names) for name in ("a.parquet", "b.parquet")]
        source = parquet_source(paths[:1], paths[1:])
        return read_task(1, "pets", source, Preparation(4), None, Augmentation(), silent)[1]

    assert len({fingerprint(("a", "b"), [0, 1]), fingerprint(("a", "c"), [0, 1]), fingerprint(("a", "b"), [1, 0])}) == 3


# --- hostile ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({**GOOD_TREE, "test/eel": [1]}, r"Class 'eel' is in .*/pets/test but not in .*/pets/train\."),
        ({**GOOD_TREE, "train/eel": [1]}, r"Class 'eel' is in .*/pets/train but not in .*/pets/test\."),
        ({**GOOD_TREE, "train/eel": []}, r"Class folder .*/pets/train/eel holds no images"),
        ({"train": [1], "test": [1]}, r".*/pets/train holds no class folders; expected is .*/pets/train/CLASS/\*\.jpg"),
        ({"train/cat": [1]}, r"There is no folder .*/pets/test; expected is .*/pets/\{train,test\}/CLASS/\*\.jpg"),
        ({}, r"There is no folder .*/pets/train; expected is"),
    ],
)
def test_hostile_folders(tmp_path: Path, tree: dict[str, Sequence[int]], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        folder_source(write_tree(tmp_path / "pets", tree))


def test_an_image_that_does_not_decode(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", GOOD_TREE)
    (root / "test/dog/1.png").write_bytes(png(60, (64, 64))[:60])
    with pytest.raises(RequestError, match=r"/pets/test/dog/1\.png does not decode: "):
        load(folder_source(root))


def test_an_image_that_cannot_be_opened(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", GOOD_TREE)
    (root / "test/dog/2.png").symlink_to("nowhere")
    with pytest.raises(RequestError, match=r"/pets/test/dog/2\.png cannot be read: No such file"):
        load(folder_source(root))


@pytest.mark.parametrize("kept", [0, 1, 8, 100, -1, -8, -100])
def test_truncated_parquet(tmp_path: Path, kept: int) -> None:
    train, test = good_parquet(tmp_path)
    train.write_bytes(train.read_bytes()[:kept])
    with pytest.raises(RequestError, match=r"/train\.parquet is not a whole parquet file"):
        load(parquet_source([train], [test]))


def test_parquet_damaged_inside(tmp_path: Path) -> None:
    """The footer is whole, a page is not."""
    train, test = good_parquet(tmp_path)
    content = bytearray(train.read_bytes())
    content[4:200] = b"\xff" * 196
    train.write_bytes(content)
    with pytest.raises(RequestError, match=r"/train\.parquet"):
        load(parquet_source([train], [test]))


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 2], ["cat", "dog"], r"train\.parquet, row 1: label 2 is out of range; there are 2 classes, 0 to 1\."),
        ([-1, 0], ["cat", "dog"], r"train\.parquet, row 0: label -1 is out of range"),
        ([0, 0], ["cat", "dog"], r"train\.parquet has no image of class 'dog'\."),
        ([0, 1], ["cat", "eel"], r"Class 'dog' is in .*test\.parquet but not in .*train\.parquet\."),
        ([0, 1], ["dog", "cat"], r"class names in .*test\.parquet stand in another order than in .*train\.parquet\."),
        ([0, None], ["cat", "dog"], r"train\.parquet: column 'label' has 1 rows without a label\."),
        ([0.5, 1.5], ["cat", "dog"], r"train\.parquet: column 'label' holds double, not whole numbers or names\."),
        (["cat", "eel"], ["cat", "dog"], r"train\.parquet: label 'eel' is not among the file's class names\."),
        ([], ["cat", "dog"], r"train\.parquet"),
    ],
)
def test_hostile_labels(tmp_path: Path, labels: list[object], names: list[str], message: str) -> None:
    test = write_parquet(tmp_path / "test.parquet", [1, 2], [0, 1])
    train = write_parquet(tmp_path / "train.parquet", [1, 2][: len(labels)], labels, names)
    with pytest.raises(RequestError, match=message):
        load(parquet_source([train], [test]))


def test_no_rows(tmp_path: Path) -> None:
    whole = pq.read_table(write_parquet(tmp_path / "a.parquet", [1, 2], [0, 1]))
    pq.write_table(whole.slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(RequestError, match=r"a\.parquet holds no images\."):
        list_files([tmp_path / "a.parquet"])


def test_a_class_of_train_that_test_lacks(tmp_path: Path) -> None:
    train = write_parquet(tmp_path / "train.parquet", [1, 2], [0, 1])
    test = write_parquet(tmp_path / "test.parquet", [1, 2], [0, 0])
    with pytest.raises(RequestError, match=r"test\.parquet has no image of class 'dog'\."):
        load(parquet_source([train], [test]))


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    train, test = good_parquet(tmp_path)
    with pytest.raises(RequestError, match=r"train\.parquet has no column 'lable'\. Did you mean 'label'\?"):
        load(parquet_source([train], [test], Columns(label="lable")))
    odd = write_parquet(tmp_path / "odd.parquet", [1], [0], image_column="photo")
    with pytest.raises(RequestError, match=r"has no image column \(image or img\); its columns are photo, label"):
        load(parquet_source([odd], [test]))


def test_rows_without_bytes(tmp_path: Path) -> None:
    train, test = good_parquet(tmp_path)
    images = [{"bytes": png(1), "path": None}, {"bytes": None, "path": "b.png"}]
    pq.write_table(pa.table({"image": images, "label": [0, 1]}), train)
    pq.write_table(pa.table({"image": images[:1] * 2, "label": [0, 1]}), test)
    with pytest.raises(RequestError, match=r"train\.parquet, row 1 has no image bytes\."):
        load(parquet_source([train], [test]))


def test_an_image_in_parquet_that_does_not_decode(tmp_path: Path) -> None:
    _, test = good_parquet(tmp_path)
    table = pa.table({"image": [png(1), b"nonsense"], "label": [0, 1]})
    pq.write_table(table.replace_schema_metadata({"class_names": '["cat", "dog"]'}), tmp_path / "train.parquet")
    with pytest.raises(RequestError, match=r"train\.parquet, row 1 does not decode: not an image that can be read\."):
        load(parquet_source([tmp_path / "train.parquet"], [test]))


def test_class_names_that_are_no_json(tmp_path: Path) -> None:
    table = pa.table({"image": [png(1)], "label": [0]}).replace_schema_metadata({"class_names": "[cat"})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(RequestError, match=r"a\.parquet: the class names in its metadata cannot be read"):
        list_files([tmp_path / "a.parquet"])


def test_an_absent_file(tmp_path: Path) -> None:
    train, _ = good_parquet(tmp_path)
    with pytest.raises(RequestError, match=r"There is no file .*nowhere\.parquet\."):
        parquet_source([train], [tmp_path / "nowhere.parquet"])


# --- real images ------------------------------------------------------------------------------------------------------


@real_data
@pytest.mark.parametrize(
    ("name", "classes", "train", "test"), [("gtsrb", 43, 4300, 2150), ("flowers102", 102, 2040, 6149)]
)
def test_real_parquet(name: str, classes: int, train: int, test: int) -> None:
    source = parquet_source([DATA / name / "train.parquet"], [DATA / name / "test.parquet"])
    task = load(source, 32, SHORT_SIDE)
    assert (len(task.class_names), len(task.train), len(task.test)) == (classes, train, test)
    assert task.train.images.shape == (train, 3, 32, 32)
    assert task.train.images.std() > 30


@real_data
def test_real_folders() -> None:
    """Greyscale JPEG files: the channels are equal; sketches are black on white."""
    task = load(folder_source(DATA / "pacs_sketch"), 32, SHORT_SIDE)
    assert task.class_names == ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
    assert (len(task.train), len(task.test)) == (2947, 982)
    np.testing.assert_array_equal(task.test.images[:, 0], task.test.images[:, 2])
    assert task.mean[0] > 0.8
