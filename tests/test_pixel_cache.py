"""Large images in the cache: whole, in one file, gone on with after an interruption, and never larger than the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmark.data import pixel_writing
from benchmark.data.folders import folder_source
from benchmark.data.images import SHORT_SIDE, Preparation, fit
from benchmark.data.pixel_file import PixelFile
from benchmark.data.tasks import TaskPlan, read_tasks
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, ScenarioData, Task, silent
from methods.engine.augment import Augmenting
from methods.engine.stored_images import StoredImages

SHAPES = [(40, 60), (60, 40), (40, 40), (20, 100), (25, 20)]  #: of a class's training images


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split, count in (("train", 5), ("test", 2)):
        for name in ("a", "b"):
            folder = tmp_path / "task" / split / name
            folder.mkdir(parents=True)
            for number, shape in enumerate(SHAPES[:count]):
                pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "task"


def read(root: Path, progress: Any = silent, skip_broken: bool = False) -> ScenarioData:
    preparation, augmentation = Preparation(32, SHORT_SIDE, whole=True), Augmentation(random_resized_crop=True)
    return read_tasks(
        [TaskPlan(1, "task", folder_source(root), preparation, None, augmentation, skip_broken)], progress
    )


def task_of(data: ScenarioData) -> Task:
    (task,) = data.tasks
    return task


def pictures(images: Any) -> list[NDArray[np.uint8]]:
    assert isinstance(images, PixelFile)
    return [images.read(place) for place in range(len(images))]


def expected(root: Path, split: str) -> list[NDArray[np.uint8]]:
    files = sorted(root.glob(f"{split}/*/*.png"))
    return [np.asarray(fit(Image.open(file), 32, SHORT_SIDE, whole=True)) for file in files]


def assert_right(task: Task, root: Path) -> None:
    for split in ("train", "test"):
        found, wanted = pictures(getattr(task, split).images), expected(root, split)
        assert len(found) == len(wanted) and all(map(np.array_equal, found, wanted))


def entry_of(cache: Path) -> Path:
    (entry,) = (cache / "decoded").iterdir()
    return entry


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def interrupted(monkeypatch: pytest.MonkeyPatch, root: Path, after: int) -> None:
    """A first reading that is stopped, as by Ctrl-C, when so many images are decoded."""
    original = pixel_writing.decoded

    def stopping(*arguments: Any) -> Any:
        for number, image in enumerate(original(*arguments)):
            if number == after:
                raise KeyboardInterrupt
            yield image

    monkeypatch.setattr(pixel_writing, "decoded", stopping)
    with pytest.raises(KeyboardInterrupt):
        read(root)
    monkeypatch.setattr(pixel_writing, "decoded", original)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of images that are decoded from here on."""
    seen: list[str] = []
    from benchmark.data import images

    original = images.decode

    def counted(encoded: Any, name: str, how: Preparation) -> NDArray[np.uint8]:
        seen.append(name)
        return original(encoded, name, how)

    monkeypatch.setattr(images, "decode", counted)
    return seen


def test_whole_images_lie_in_the_file_as_torchvision_resizes_them(root: Path) -> None:
    """20 x 100 becomes 32 x 160: nothing is cut off."""
    task = task_of(read(root))
    assert task.train.images.shapes.tolist()[:5] == [[32, 48], [48, 32], [32, 32], [32, 160], [40, 32]]  # type: ignore[union-attr]
    assert (task.whole, task.stored_side, task.resize) == (True, 32, SHORT_SIDE)
    assert task.train.images.nbytes == 2 * 3 * 32 * (48 + 48 + 32 + 160 + 40)
    assert_right(task, root)
    pixels = np.concatenate([image.reshape(-1, 3) for image in expected(root, "train")]) / 255
    assert task.mean == pytest.approx(pixels.mean(0)) and task.std == pytest.approx(pixels.std(0))


def test_a_second_reading_decodes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(root)
    seen = counting(monkeypatch)
    assert read(root).sha256 == first.sha256 and not seen


def test_a_square_and_a_whole_image_are_two_entries(root: Path, cache: Path) -> None:
    read(root)
    plan = TaskPlan(1, "task", folder_source(root), Preparation(32, SHORT_SIDE), None, Augmentation())
    assert isinstance(task_of(read_tasks([plan], silent)).train.images, np.memmap)
    assert len(list((cache / "decoded").iterdir())) == 2


@pytest.mark.parametrize("after", [0, 3, 9])
def test_an_interrupted_reading_is_gone_on_with(
    after: int, root: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded is not decoded again, and the entry is byte for byte that of a reading left alone."""
    interrupted(monkeypatch, root, after)
    assert entry_of(cache).name.endswith(".unfinished")
    seen = counting(monkeypatch)
    task = task_of(read(root))
    assert len(seen) == 14 - after
    assert_right(task, root)
    found = content(entry_of(cache))
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "other"))
    read(root)
    assert found == content(entry_of(tmp_path / "other"))
    assert set(found) == {
        "entry.json",
        *(f"{split}_{what}.npy" for split in ("train", "test") for what in ("images", "index", "labels")),
    }


def cut_pixels(folder: Path) -> None:
    path = folder / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(folder: Path) -> None:
    path = folder / "train_images.npy"
    changed = bytearray(path.read_bytes())
    changed[-7] ^= 1
    path.write_bytes(changed)


def cut_index(folder: Path) -> None:
    path = folder / "train.index"
    path.write_bytes(path.read_bytes()[:-5])


def lose_pixels(folder: Path) -> None:
    (folder / "train_images.npy").unlink()


def garble_needed(folder: Path) -> None:
    (folder / "needed.json").write_text("{")


@pytest.mark.parametrize("damage", [cut_pixels, flip_a_bit, cut_index, lose_pixels, garble_needed])
def test_what_is_damaged_of_an_unfinished_reading_is_decoded_again(
    damage: Any, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, root, 4)
    damage(entry_of(cache))
    assert_right(task_of(read(root)), root)


def test_a_killed_process_leaves_what_the_next_goes_on_with(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when six of fourteen images are decoded: those are not decoded again."""
    program = (
        "import os, runpy, sys\n"
        "from pathlib import Path\n"
        "from benchmark.data import pixel_writing\n"
        f"these = runpy.run_path({str(Path(__file__))!r})\n"
        "original = pixel_writing.decoded\n"
        "def killing(*arguments):\n"
        "    for number, image in enumerate(original(*arguments)):\n"
        "        if number == 6: os.kill(os.getpid(), 9)\n"
        "        yield image\n"
        "pixel_writing.decoded = killing\n"
        f"these['read'](Path({str(root)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    assert entry_of(cache).name.endswith(".unfinished")
    seen = counting(monkeypatch)
    assert_right(task_of(read(root)), root)
    assert len(seen) == 14 - 6
    assert not entry_of(cache).name.endswith(".unfinished")


def test_processes_at_once_share_one_decoding(root: Path) -> None:
    """Three processes; together they decode every image once."""
    program = (
        "import runpy\n"
        "from pathlib import Path\n"
        "from benchmark.data import images\n"
        f"these = runpy.run_path({str(Path(__file__))!r})\n"
        "original, seen = images.decode, []\n"
        "images.decode = lambda *arguments: (seen.append(1), original(*arguments))[1]\n"
        f"task = these['task_of'](these['read'](Path({str(root)!r})))\n"
        f"these['assert_right'](task, Path({str(root)!r}))\n"
        "print(len(seen))\n"
    )
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=90) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, outputs
    assert sorted(int(out) for out, _ in outputs) == [0, 0, 14]


def test_a_damaged_image_is_refused_and_decoded_anew_next_time(root: Path, cache: Path) -> None:
    read(root)
    path = entry_of(cache) / "train_images.npy"
    changed = bytearray(path.read_bytes())
    changed[200] ^= 1  # in the first image
    path.write_bytes(changed)
    images = task_of(read(root)).train.images
    assert isinstance(images, PixelFile)
    images.read(1)
    with pytest.raises(RequestError, match=r"Image 0 of .*train_images\.npy is damaged.*run the same command again"):
        images.read(0)
    assert_right(task_of(read(root)), root)


def test_a_file_that_was_cut_is_decoded_anew(root: Path, cache: Path) -> None:
    read(root)
    path = entry_of(cache) / "test_images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert_right(task_of(read(root)), root)


def test_the_size_is_said_before_the_first_image_is_decoded(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven images of each class, 32 pixels high or wide: 3 x 32 x (48 + 48 + 32 + 160 + 40 + 48 + 48) bytes, twice."""
    usage = shutil._ntuple_diskusage(10**9, 0, 2**20)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    told: list[str] = []
    read(root, lambda what, done, total: told.append(what) if not total else None)
    assert told == [f"decoding task: 79.5 KiB in {cache}, where 1 MiB are free"]
    read(root, lambda what, done, total: told.append(what))
    assert len(told) == 1  # nothing to decode


def test_a_disk_without_room_is_told_before_anything_is_decoded(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**9, 0, 50_000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    seen = counting(monkeypatch)
    message = r"need 79\.5 KiB in .*cache, where 48\.8 KiB are free; set MASKBENCH_CACHE to a folder on a larger disk"
    with pytest.raises(RequestError, match=message):
        read(root)
    assert not seen


def test_what_is_decoded_already_needs_no_room(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, root, 9)
    told: list[str] = []
    read(root, lambda what, done, total: told.append(what) if not total else None)
    assert told[0].startswith("decoding task: 2")  # 24 of 79.5 KiB: one training image and the tests


def test_broken_images_are_named_and_nothing_is_left(root: Path, cache: Path) -> None:
    (root / "train/a/1.png").write_bytes(b"no image")
    with pytest.raises(RequestError, match=r"train/a/1\.png does not decode.*skip_broken"):
        read(root)
    assert not list((cache / "decoded").iterdir())


def test_skip_broken_leaves_them_out_after_an_interruption_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "train/a/1.png").write_bytes(b"no image")
    interruption = pytest.MonkeyPatch()
    original = pixel_writing.decoded
    calls = iter(range(100))

    def stopping(*arguments: Any) -> Any:
        for image in original(*arguments):
            if next(calls) == 5:
                raise KeyboardInterrupt
            yield image

    interruption.setattr(pixel_writing, "decoded", stopping)
    with pytest.raises(KeyboardInterrupt):
        read(root, skip_broken=True)
    interruption.undo()
    task = task_of(read(root, skip_broken=True))
    (root / "train/a/1.png").unlink()
    assert_right(task, root)
    assert task.train.labels.tolist() == [0] * 4 + [1] * 5
    assert "1.png does not decode" in task.notes[0]


def test_an_edited_description_is_noticed(root: Path, cache: Path) -> None:
    read(root)
    path = entry_of(cache) / "entry.json"
    entry = json.loads(path.read_text())
    entry["meta"]["channels"] = 1
    path.write_text(json.dumps(entry))
    assert_right(task_of(read(root)), root)


def test_memory_stays_small_however_large_the_file(tmp_path: Path) -> None:
    """A pass over 200 MB of images, two batches read ahead, holds some of them and maps none (allocators keep a few
    batches of what was freed)."""
    shape, count = (256, 340, 3), 800
    blank = np.full(shape, 7, dtype=np.uint8)
    path = tmp_path / "pixels"
    with path.open("wb") as file:
        for _ in range(count):
            file.write(blank.data)
    store = PixelFile(path, 0, np.array([shape[:2]] * count), np.full(count, zlib.crc32(blank.data), np.uint32), 3)
    augmenting = Augmenting(224, flip=True, random_resized_crop=True)
    labels, half = torch.zeros(count, dtype=torch.int64), (0.5,) * 3
    images = StoredImages(store, labels, half, half, augmenting, np.arange(count))
    generator = torch.Generator().manual_seed(0)

    def one_pass(of: StoredImages) -> None:
        for _ in of.training_batches(32, generator, generator):
            pass
        for _ in of.evaluation_batches(32):
            pass

    one_pass(images.first(96))
    before = resident()
    one_pass(images)
    assert store.nbytes > 200e6 and resident() - before < 128 * 2**20


def resident() -> int:
    """Bytes of this process in memory, mapped files included."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pytest.skip("memory is read from /proc, which is not here")
