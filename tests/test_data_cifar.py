"""CIFAR-100 from its three layouts, and the real data against CPG's table of order, labels, mean and std."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmark.data import cifar
from benchmark.errors import RequestError
from benchmark.scenarios.cifar100_20 import SUPERCLASSES
from benchmark.scenarios.contract import ScenarioData, silent
from benchmark.scenarios.loader import load_scenario

DATA = Path(os.environ.get("BENCHMARK_DATA_ROOT", Path(__file__).parents[2] / "shared/data"))
real_data = pytest.mark.skipif(
    not (DATA / "cifar100").is_dir(), reason=f"no real images in {DATA}/cifar100; set BENCHMARK_DATA_ROOT"
)
ALL = range(1, 21)
FINE_NAMES = sorted(name for classes in SUPERCLASSES.values() for name in classes)
COARSE_NAMES = list(SUPERCLASSES)
COARSE_OF_FINE = [
    next(at for at, classes in enumerate(SUPERCLASSES.values()) if name in classes) for name in FINE_NAMES
]

#: CPG, utils/cifar100_config.py: mean and std of red, green, blue
TABLE = """
aquatic_mammals .4242 .4783 .4975 .2495 .2327 .2515
fish .4162 .4626 .4577 .2857 .2574 .2705
flowers .5233 .4080 .3058 .2892 .2489 .2613
food_containers .5824 .5459 .5111 .2761 .2782 .2888
fruit_and_vegetables .6010 .4927 .3616 .2902 .2837 .2952
household_electrical_devices .5573 .5368 .5251 .2933 .2937 .3028
household_furniture .6104 .5407 .4902 .2603 .2774 .2956
insects .5568 .5380 .4312 .2736 .2630 .2923
large_carnivores .4719 .4395 .3713 .2352 .2244 .2276
large_man-made_outdoor_things .4848 .5094 .5116 .2408 .2411 .2736
large_natural_outdoor_scenes .4684 .4971 .5026 .2349 .2283 .2731
large_omnivores_and_herbivores .4832 .4650 .3997 .2428 .2375 .2373
medium_mammals .4511 .4291 .3669 .2355 .2248 .2261
non-insect_invertebrates .5093 .4760 .4164 .2645 .2566 .2684
people .5193 .4570 .4242 .2801 .2735 .2794
reptiles .4877 .4781 .4336 .2619 .2418 .2526
small_mammals .5117 .4798 .4125 .2389 .2288 .2377
trees .4544 .4833 .4314 .2356 .2345 .2817
vehicles_1 .4979 .4858 .4642 .2633 .2609 .2733
vehicles_2 .5301 .5280 .5037 .2730 .2693 .2874
"""


def test_files_are_in_the_order_of_their_numbers_whatever_else_their_names_hold() -> None:
    names = ["a²10.png", "a²9.png", "a10.png", "a9.png"]
    assert sorted(names, key=lambda name: cifar._natural(Path(name))) == ["a9.png", "a10.png", "a²9.png", "a²10.png"]
    assert [cifar._natural(Path("1²2"))] == [[(-1, ""), (1, ""), (-1, "²"), (2, ""), (-1, "")]]


def read(root: Path | None, indices: Any = ALL) -> ScenarioData:
    return load_scenario("cifar100-20").read(root, indices, silent)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MASKBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real-cache")


@pytest.fixture(scope="module")
def real(real_cache: Path) -> Iterator[ScenarioData]:
    """All twenty tasks, decoded once for this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKBENCH_CACHE", str(real_cache))
        yield read(DATA)


# --- the real images --------------------------------------------------------------------------------------------------


@real_data
def test_label_map_order_and_statistics(real: ScenarioData) -> None:
    rows = [line.split() for line in TABLE.split("\n") if line]
    assert [task.name for task in real.tasks] == [row[0] for row in rows] and len(rows) == 20
    for task, row in zip(real.tasks, rows, strict=True):
        assert [f"{value:.4f}".lstrip("0") for value in task.mean + task.std] == row[1:], task.name


@real_data
def test_counts_and_classes(real: ScenarioData) -> None:
    for index, task in enumerate(real.tasks, start=1):
        assert task.index == index and task.class_names == SUPERCLASSES[task.name]
        assert np.bincount(task.train.labels).tolist() == [500] * 5
        assert np.bincount(task.test.labels).tolist() == [100] * 5
        assert task.train.images.shape == (2500, 3, 32, 32) and not task.train.images.flags.writeable
        assert (task.augmentation.crop_padding, task.augmentation.flip) == (4, True)


@real_data
def test_first_official_image(real: ScenarioData) -> None:
    """The first training image of CIFAR-100 is a cow (cattle), whose first pixel is white."""
    cattle = next(task for task in real.tasks if "cattle" in task.class_names)
    first = cattle.train.images[cattle.train.labels == cattle.class_names.index("cattle")][0]
    table = pq.read_table(min((DATA / "cifar100").glob("train*")), columns=["img", "fine_label"]).slice(0, 1)
    assert FINE_NAMES[table["fine_label"][0].as_py()] == "cattle"
    np.testing.assert_array_equal(
        first, np.asarray(Image.open(io.BytesIO(table["img"][0].as_py()["bytes"]))).transpose(2, 0, 1)
    )


@real_data
def test_second_start_decodes_nothing(real: ScenarioData, real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(real_cache))
    monkeypatch.setattr(cifar, "read_parquet", None)
    again = read(DATA / "cifar100", [3])
    np.testing.assert_array_equal(again.tasks[0].test.images, real.tasks[2].test.images)
    assert read(DATA).fingerprint == real.fingerprint != again.fingerprint


# --- three layouts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subset:
    """Images (n, 3, 32, 32) and fine labels (n,) by split, classes mixed as in the official order."""

    images: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]


@pytest.fixture(scope="module")
def subset(request: pytest.FixtureRequest) -> Subset:
    """Two training images and one test image of every class: real ones where there are, else noise."""
    images: dict[str, NDArray[np.uint8]] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    random = np.random.default_rng(0)
    for split, count in (("train", 2), ("test", 1)):
        fine = random.permutation(np.repeat(np.arange(100), count))
        images[split] = random.integers(0, 256, (len(fine), 3, 32, 32), dtype=np.uint8)
        labels[split] = fine
        if (DATA / "cifar100").is_dir():
            for task in request.getfixturevalue("real").tasks:
                part = getattr(task, split)
                for label, name in enumerate(task.class_names):
                    chosen = np.flatnonzero(part.labels == label)[:count]
                    images[split][fine == FINE_NAMES.index(name)] = part.images[chosen]
    return Subset(images, labels)


def as_png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write_pickles(root: Path, subset: Subset, protocol: int = 2) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        fine = subset.labels[split].tolist()
        content = {
            b"data": subset.images[split].reshape(len(fine), 3072),
            b"fine_labels": fine,
            b"coarse_labels": [COARSE_OF_FINE[label] for label in fine],
            b"filenames": [b"a_s_000004.png"] * len(fine),
            b"batch_label": b"training batch 1 of 1",
        }
        (folder / split).write_bytes(pickle.dumps(content, protocol=protocol))
    return root


def write_parquet(root: Path, subset: Subset) -> Path:
    """The training rows over two files."""
    folder = root / "cifar100"
    folder.mkdir(parents=True)
    for split, parts in (("train", 2), ("test", 1)):
        fine = subset.labels[split].tolist()
        table = pa.table(
            {
                "img": [{"bytes": as_png(image), "path": None} for image in subset.images[split]],
                "fine_label": fine,
                "coarse_label": [COARSE_OF_FINE[label] for label in fine],
            }
        ).replace_schema_metadata({"class_names": json.dumps({"fine_label": FINE_NAMES, "coarse_label": COARSE_NAMES})})
        cut = -(-len(fine) // parts)
        for part in range(parts):
            pq.write_table(table.slice(part * cut, cut), folder / f"{split}-{part:05}-of-{parts:05}.parquet")
    return root


def write_folders(root: Path, subset: Subset) -> Path:
    """cifar2png's superclass layout; numbers that sort differently as text (9, 10)."""
    for split in ("train", "test"):
        seen = [8] * 100
        for image, label in zip(subset.images[split], subset.labels[split].tolist(), strict=True):
            folder = root / "cifar100" / split / COARSE_NAMES[COARSE_OF_FINE[label]] / FINE_NAMES[label]
            folder.mkdir(parents=True, exist_ok=True)
            seen[label] += 1
            (folder / f"{seen[label]}.png").write_bytes(as_png(image))
    return root


LAYOUTS = (write_pickles, write_parquet, write_folders)


def test_three_layouts_give_equal_arrays(tmp_path: Path, subset: Subset, cache: Path) -> None:
    first, *others = [read(write(tmp_path / write.__name__, subset)) for write in LAYOUTS]
    assert [len(task.train) for task in first.tasks] == [10] * 20
    for other in others:
        assert other.fingerprint == first.fingerprint
        for task, same in zip(first.tasks, other.tasks, strict=True):
            for split in ("train", "test"):
                np.testing.assert_array_equal(getattr(task, split).images, getattr(same, split).images)
                np.testing.assert_array_equal(getattr(task, split).labels, getattr(same, split).labels)
            assert (task.mean, task.std, task.class_names) == (same.mean, same.std, same.class_names)
    orchids = np.flatnonzero(subset.labels["train"] == FINE_NAMES.index("orchid"))
    np.testing.assert_array_equal(first.tasks[2].train.images[:2], subset.images["train"][orchids])


@pytest.mark.parametrize("inner", ["", "cifar-100-python"])
def test_data_root_may_be_the_folder_itself(tmp_path: Path, subset: Subset, cache: Path, inner: str) -> None:
    root = write_pickles(tmp_path / "data", subset)
    assert len(read(root / inner, [1]).tasks[0].train) == 10


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_any_python(tmp_path: Path, subset: Subset, cache: Path, protocol: int) -> None:
    data = read(write_pickles(tmp_path, subset, protocol), [20])
    lawn_mower = np.flatnonzero(subset.labels["test"] == FINE_NAMES.index("lawn_mower"))
    np.testing.assert_array_equal(data.tasks[0].test.images[0], subset.images["test"][lawn_mower[0]])


# --- absent and hostile -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False])
def test_absent_data_says_what_is_expected_and_how_to_get_it(tmp_path: Path, exists: bool) -> None:
    root = tmp_path / "data"
    if exists:
        root.mkdir()
    with pytest.raises(RequestError, match=r"data.*cifar-100-python/ \(add --download to fetch it\)"):
        read(root)
    with pytest.raises(RequestError, match="needs a data root"):
        read(None)


class RunsCode:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    "content",
    [
        {b"data": RunsCode(), b"fine_labels": [0], b"coarse_labels": [0]},
        RunsCode(),
    ],
)
def test_a_pickle_with_code_is_refused_unrun(
    tmp_path: Path, subset: Subset, cache: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_pickles(tmp_path / "data", subset)
    (root / "cifar-100-python/train").write_bytes(pickle.dumps(content))
    with pytest.raises(RequestError, match=r"/train cannot be read as plain data: it names posix\.system"):
        read(root)
    assert not (tmp_path / "executed").exists()


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def replaced(**changes: Any) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        return pickle.dumps({**pickle.loads(content), **{key.encode(): value for key, value in changes.items()}}, 2)

    return change


def without_labels(content: bytes) -> bytes:
    return pickle.dumps({key: value for key, value in pickle.loads(content).items() if key != b"fine_labels"}, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncate, r"/train cannot be read as plain data: "),
        (lambda _: b"", r"/train cannot be read as plain data: "),
        (lambda _: pickle.dumps([1, 2]), r"/train holds a list, not a dictionary"),
        (without_labels, r"/train does not hold CIFAR-100 \(KeyError\(b'fine_labels'\)\)"),
        (replaced(data=[1, 2, 3]), r"/train does not hold CIFAR-100"),
        (replaced(fine_labels=[0, 1]), r"/train holds 200 images but 2 labels"),
        (replaced(fine_labels=[100] * 200), r"/train, row 0: label 100 is out of range 0 to 99"),
        (replaced(coarse_labels=[-1] * 200), r"/train, row 0: label -1 is out of range 0 to 19"),
        (
            replaced(fine_labels=[FINE_NAMES.index("rose")] * 200, coarse_labels=[1] * 200),
            r"/train, row 0: class 'rose' is not in superclass 'fish'",
        ),
    ],
)
def test_hostile_pickles(
    tmp_path: Path, subset: Subset, cache: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    root = write_pickles(tmp_path, subset)
    path = root / "cifar-100-python/train"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RequestError, match=message):
        read(root)


def test_truncated_parquet(tmp_path: Path, subset: Subset, cache: Path) -> None:
    root = write_parquet(tmp_path, subset)
    path = root / "cifar100/train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RequestError, match=r"train-00001-of-00002\.parquet is not a whole parquet file"):
        read(root)


def test_a_class_without_test_image(tmp_path: Path, subset: Subset, cache: Path) -> None:
    """Only the task that lacks it is out of reach."""
    root = write_folders(tmp_path, subset)
    (root / "cifar100/test/fish/ray/9.png").unlink()
    with pytest.raises(RequestError, match=r"cifar100 has no test image of class 'ray' \(task 'fish'\)\."):
        read(root, [1, 2])
    assert len(read(root, [1, 3]).tasks) == 2


def test_a_folder_that_is_no_class(tmp_path: Path, subset: Subset, cache: Path) -> None:
    root = write_folders(tmp_path, subset)
    (root / "cifar100/train/fish/ray").rename(root / "cifar100/train/fish/manta")
    with pytest.raises(RequestError, match=r"train/fish/manta/9\.png is not in a folder SUPERCLASS/CLASS of CIFAR-100"):
        read(root)


@pytest.mark.parametrize("error", [None, OSError("no network"), RuntimeError("File not found or corrupted")])
def test_download_asks_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    asked: list[tuple[str, bool]] = []

    def downloader(root: str, train: bool, download: bool) -> None:
        asked.append((root, download))
        if error:
            raise error

    datasets = types.ModuleType("torchvision.datasets")
    datasets.CIFAR100 = downloader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    if error is None:
        cifar.download_cifar100(tmp_path)
    else:
        with pytest.raises(RequestError, match=f"could not be downloaded into .*: {error}"):
            cifar.download_cifar100(tmp_path)
    assert asked == [(str(tmp_path), True)]


def test_superclasses_are_twenty_times_five_in_alphabetical_order() -> None:
    assert list(SUPERCLASSES) == sorted(SUPERCLASSES) and len(SUPERCLASSES) == 20
    assert all(list(classes) == sorted(classes) and len(classes) == 5 for classes in SUPERCLASSES.values())
    assert len(set(FINE_NAMES)) == 100


@pytest.mark.parametrize(
    "content", [b"\x80\x02K\x01r\xff\xff\xff\x7f.", b"K\x01p4000000000\n.", b"\x80\x02K\x01q\x05."]
)
def test_a_pickle_that_numbers_what_it_has_not(content: bytes, tmp_path: Path) -> None:
    """The table of numbered values would take 34 GB."""
    from benchmark.data.pickles import load_plain

    (tmp_path / "train").write_bytes(content)
    with pytest.raises(RequestError, match=r"cannot be read as plain data: it numbers a value \S+ where there are 2|1"):
        load_plain(tmp_path / "train")
