"""Faults of real data sets: hidden folders, links, other endings, broken images, splits, patterns, shards."""

from __future__ import annotations

import argparse
import io
import json
import os
import struct
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, features

from benchmark.cli import check
from benchmark.data.cifar import find
from benchmark.data.folders import folder_source
from benchmark.data.images import EXACT, BrokenImages, Preparation, decode, decode_into
from benchmark.data.listing import TaskSource
from benchmark.data.overlap import shared_images
from benchmark.data.parquet import list_files, parquet_source
from benchmark.data.patterns import matching
from benchmark.data.tasks import read_task
from benchmark.data.walk import Walk
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, Task, silent
from benchmark.scenarios.loader import load_scenario

COMPOSED, APART = "caf\u00e9", "cafe\u0301"
GREY = Preparation(2, EXACT, 1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))


def encoded(value: int, kind: str = "PNG", size: int = 2, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (size, size), value).save(stream, kind, **options)
    return stream.getvalue()


def write(folder: Path, *values: int, ending: str = ".png") -> Path:
    """Images of one grey level each, called after it."""
    folder.mkdir(parents=True, exist_ok=True)
    for value in values:
        (folder / f"{value}{ending}").write_bytes(encoded(value))
    return folder


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Cats 10 and 11, dog 20; in test cat 30 and dog 40."""
    root = tmp_path / "pets"
    write(root / "train/cat", 10, 11)
    write(root / "train/dog", 20)
    write(root / "test/cat", 30)
    write(root / "test/dog", 40)
    return root


def load(source: TaskSource, skip_broken: bool = False) -> Task:
    return read_task(1, "pets", source, GREY, None, Augmentation(), silent, skip_broken)[0]


def levels(task: Task, split: str = "train") -> list[int]:
    return [int(value) for value in getattr(task, split).images[:, 0, 0, 0]]


# --- hidden folders and links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", ".thumbnails/large", "@eaDir/0.png", "__MACOSX", "$RECYCLE.BIN"]
)
@pytest.mark.parametrize("place", ["train/cat", "train/cat/deep", "train", "."])
def test_hidden_folders_do_not_count(pets: Path, name: str, place: str) -> None:
    write(pets / place / name, 99)
    task = load(folder_source(pets))
    assert levels(task) == [10, 11, 20] and task.class_names == ("cat", "dog")


def test_a_link_to_elsewhere_is_followed(pets: Path, tmp_path: Path) -> None:
    (pets / "train/cat/more").symlink_to(write(tmp_path / "pool", 12, 13))
    (pets / "train/eel").symlink_to(write(tmp_path / "eels", 50))
    write(pets / "test/eel", 51)
    assert levels(load(folder_source(pets))) == [10, 11, 12, 13, 20, 50]


@pytest.mark.parametrize(
    ("link", "target"), [("train/cat/again", "."), ("train/cat/sub/up", ".."), ("train/cat/sub/self", ".")]
)
def test_a_loop_within_a_class_counts_once(pets: Path, link: str, target: str) -> None:
    write(pets / "train/cat/sub", 12)
    (pets / link).symlink_to(target)
    assert levels(load(folder_source(pets))) == [10, 11, 12, 20]


def test_two_links_of_a_class_to_one_folder_count_once(pets: Path, tmp_path: Path) -> None:
    pool = write(tmp_path / "pool", 12)
    (pool / "loop").symlink_to(".")
    for name in ("a", "z"):
        (pets / "train/cat" / name).symlink_to(pool)
    assert levels(load(folder_source(pets))) == [10, 11, 12, 20]


@pytest.mark.parametrize("target", ["..", "../..", "../../..", "/"])
def test_a_link_to_a_folder_above_is_refused(pets: Path, target: str) -> None:
    (pets / "train/cat/all").symlink_to(target)
    with pytest.raises(RequestError, match=r"^\S*/train/cat/all is a link to /\S*, a folder above it; remove the link"):
        folder_source(pets)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("train/cat/x", "../dog"),
        ("train/kitten", "cat"),
        ("train/cat/x", "../../test/cat"),
        ("train/cat/x", "../../test"),
        ("test/cat/deep", "../../train/dog"),
    ],
)
def test_a_link_beside_is_refused(pets: Path, link: str, target: str) -> None:
    (pets / link).symlink_to(target)
    with pytest.raises(
        RequestError, match=r"are one and the same folder, so that its images would count for"
    ) as caught:
        folder_source(pets)
    assert str(pets / link) in str(caught.value)


def test_test_linked_to_train_is_refused(pets: Path) -> None:
    (pets / "test").rename(pets / "other")
    (pets / "test").symlink_to("train")
    with pytest.raises(RequestError, match=r"/train/cat and \S*/test/cat are one and the same folder"):
        folder_source(pets)


def test_a_pool_with_a_link_upwards_is_refused(pets: Path, tmp_path: Path) -> None:
    """The classes are links to a pool whose folders lead to one another."""
    pool = write(tmp_path / "pool/cat", 12).parent
    (pool / "cat/all").symlink_to("..")
    (pets / "train/cat/more").symlink_to(pool / "cat")
    with pytest.raises(RequestError, match=r"/train/cat/more/all is a link to \S*/pool, a folder above it"):
        folder_source(pets)


def test_cifars_folders_are_walked_alike(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / split / "fish/trout/.thumbnails", 1)
        write(tmp_path / split / "fish/trout", 2)
        write(tmp_path / split / "fish/shark", 3)
    assert [path.name for path in find(tmp_path, "").files["train"]] == ["3.png", "2.png"]
    (tmp_path / "train/fish/trout/x").symlink_to("../shark")
    with pytest.raises(RequestError, match="are one and the same folder"):
        find(tmp_path, "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read(pets: Path) -> None:
    secret = write(pets / "train/cat/secret", 12)
    secret.chmod(0)
    try:
        with pytest.raises(RequestError, match=r"The folder \S*/secret cannot be read \(Permission denied\)"):
            folder_source(pets)
    finally:
        secret.chmod(0o700)


def test_a_pipe_is_not_waited_for(pets: Path) -> None:
    os.mkfifo(pets / "train/cat/pipe.png")
    with pytest.raises(RequestError, match=r"pipe\.png cannot be read: it is no ordinary file\. Repair or remove"):
        load(folder_source(pets))


# --- endings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".avif", ".tga", ".jp2", ".pnm"])
def test_endings_that_pillow_reads_count(pets: Path, ending: str) -> None:
    write(pets / "train/cat", 12, ending=ending)
    assert levels(load(folder_source(pets))) == [10, 11, 12, 20]


def test_other_endings_are_told(pets: Path) -> None:
    write(pets / "train/cat", 1, 2, 3, ending=".heic")
    write(pets / "test/dog", 4, ending="")
    for unseen in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (pets / "train/cat" / unseen).write_bytes(b"")
    write(pets / "train", 7)
    task = load(folder_source(pets))
    assert levels(task) == [10, 11, 20]
    assert task.notes == (
        f"images in no class folder were left out: 1 (such as {pets}/train/7.png)",
        "files whose ending is not that of an image were left out: "
        f"3 .heic (such as {pets}/train/cat/1.heic), 1 without an ending (such as {pets}/test/dog/4)",
    )


def test_a_class_of_nothing_else_says_what_it_holds(pets: Path) -> None:
    write(pets / "train/eel", 1, 2, ending=".heic")
    write(pets / "test/eel", 3)
    with pytest.raises(RequestError, match=r"/train/eel holds no images \(\.jpg.*\), only 2 \.heic \(such as"):
        folder_source(pets)


def test_plain_folders_have_no_notes_and_keep_their_key(pets: Path) -> None:
    source = folder_source(pets)
    assert (source.options, source.recorded, source.notes) == (("folders",), (), ())
    assert [path.relative_to(pets).as_posix() for path in source.files] == [
        "train/cat/10.png", "train/cat/11.png", "train/dog/20.png", "test/cat/30.png", "test/dog/40.png",
    ]  # fmt: skip


def test_files_keep_the_order_of_their_texts(tmp_path: Path) -> None:
    """As before links were looked at: ``a-1/2`` comes before ``a/1``, since ``-`` comes before ``/``."""
    write(tmp_path / "c/a", 1)
    write(tmp_path / "c/a-1", 2)
    assert [path.stem for path in Walk().images_below(tmp_path / "c")] == ["2", "1"]


# --- class names composed and apart -----------------------------------------------------------------------------------


def test_class_names_in_nfc_and_nfd_are_one(pets: Path) -> None:
    assert COMPOSED != APART and unicodedata.normalize("NFC", APART) == COMPOSED
    write(pets / "train" / COMPOSED, 50)
    write(pets / "test" / APART, 51)
    task = load(folder_source(pets))
    assert task.class_names == (COMPOSED, "cat", "dog") and levels(task, "test") == [51, 30, 40]


def test_both_spellings_in_one_split_are_one_class(pets: Path) -> None:
    write(pets / "train" / COMPOSED, 50)
    write(pets / "train" / APART, 51)
    write(pets / "test" / APART, 52)
    task = load(folder_source(pets))
    assert task.class_names == (COMPOSED, "cat", "dog") and np.bincount(task.train.labels).tolist() == [2, 2, 1]


def test_parquet_names_are_composed_too(tmp_path: Path) -> None:
    train = write_parquet(tmp_path / "train.parquet", [1, 2], [COMPOSED, "dog"])
    test = write_parquet(tmp_path / "test.parquet", [3, 4], [APART, "dog"])
    named = write_parquet(tmp_path / "named.parquet", [1, 2], [0, 1], names=[APART, "dog"])
    assert list_files([train]).class_names == list_files([test]).class_names == list_files([named]).class_names
    assert load(parquet_source([train], [test])).class_names == (COMPOSED, "dog")


# --- a drawn split ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "images", "test"), [(0.2, 10, 2), (0.2, 3, 1), (0.2, 2, 1), (0.9, 2, 1), (0.5, 5, 3), (0.25, 10, 3)]
)
def test_a_share_of_every_class_is_test(tmp_path: Path, share: float, images: int, test: int) -> None:
    """Rounded (2.5 up), at least one and never all: 0.2 x 3 = 0.6 is 1, 0.2 x 2 = 0.4 is 1, 0.9 x 2 = 1.8 is 1."""
    write(tmp_path / "all/cat", *range(images))
    write(tmp_path / "all/dog", *range(100, 120))
    task = load(folder_source(tmp_path / "all", share))
    assert np.bincount(task.test.labels)[0] == test and np.bincount(task.train.labels)[0] == images - test
    assert len(task.test) == test + int(share * 20 + 0.5)
    assert sorted(levels(task) + levels(task, "test")) == sorted([*range(images), *range(100, 120)])
    assert task.notes == (f"{100 * share:g} % of every class in {tmp_path}/all are its test images, drawn with seed 0",)


def test_the_drawn_images_are_mt19937s(tmp_path: Path) -> None:
    """numpy.random.RandomState(0).permutation(10) is 2 8 4 9 1 6 7 3 0 5 in numpy's manual: images 2 and 8."""
    write(tmp_path / "all/cat", *range(10))
    write(tmp_path / "all/dog", *range(100, 110))
    task = load(folder_source(tmp_path / "all", 0.2))
    assert levels(task, "test") == [2, 8, 102, 108]


def test_another_class_leaves_the_split_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "all/dog", *range(100, 110))
    write(tmp_path / "all/cat", *range(10))
    before = [level for level in levels(load(folder_source(tmp_path / "all", 0.2)), "test") if level >= 100]
    write(tmp_path / "all/cat", *range(10, 17))
    assert [level for level in levels(load(folder_source(tmp_path / "all", 0.2)), "test") if level >= 100] == before


def test_the_fingerprint_tells_the_split(tmp_path: Path) -> None:
    """0.2 and 0.3 of two images are the same image, and yet another split."""
    for name in ("cat", "dog"):
        write(tmp_path / "all" / name, 1, 2)

    def fingerprint(share: float) -> str:
        source = folder_source(tmp_path / "all", share)
        return read_task(1, "pets", source, GREY, None, Augmentation(), silent)[1]

    assert fingerprint(0.2) == fingerprint(0.2) != fingerprint(0.3)


def test_folders_without_a_split_say_what_to_do(pets: Path, tmp_path: Path) -> None:
    (pets / "test").rename(tmp_path / "away")
    with pytest.raises(RequestError, match=rf"folder: {pets}/train and split: 0\.2, and a fifth of every class"):
        folder_source(pets)
    told = rf"There is no folder {pets}/train/train; .* holds cat, dog: .* folder: {pets}/train and split: 0\.2"
    with pytest.raises(RequestError, match=told):
        folder_source(pets / "train")
    write(pets / "train/dog", 21)
    assert len(load(folder_source(pets / "train", 0.5)).test) == 2


def test_splits_that_cannot_be(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"holds train and test already: leave out split"):
        folder_source(pets, 0.2)
    with pytest.raises(RequestError, match=r"/train/dog holds 1 image, too few to split"):
        folder_source(pets / "train", 0.2)
    with pytest.raises(RequestError, match=r"nowhere cannot be read \(No such file"):
        folder_source(tmp_path / "nowhere", 0.2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"holds no class folders"):
        folder_source(tmp_path / "empty", 0.2)


# --- images that do not decode ----------------------------------------------------------------------------------------


def exif(*tags: tuple[int, int, int, bytes], orientation: int = 6) -> bytes:
    """Little-endian EXIF of an orientation and further entries of at most four bytes."""
    entries = sorted([(0x112, 3, 1, struct.pack("<H", orientation)), *tags])
    body = b"".join(
        struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0") for tag, kind, count, value in entries
    )
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + body + b"\0\0\0\0"


@pytest.mark.parametrize(
    "tags",
    [
        [(0x11A, 9, 1, struct.pack("<i", -1))],  # XResolution -1
        [(0x100, 2, 4, b"abc\0")],  # ImageWidth as text
        [(0x11A, 2, 4, b"abc\0")],  # XResolution as text
        [(0x8769, 4, 1, struct.pack("<I", 9999))],  # the EXIF folder lies outside
        [(0x8825, 2, 4, b"abc\0")],  # the GPS folder is a text
        [(0x132, 99, 1, b"?")],  # a type that there is not
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_beside_an_orientation(tags: list[tuple[int, int, int, bytes]], kind: str) -> None:
    """Orientation 6: the first row of the file is the right column of the picture."""
    stream = io.BytesIO()
    dark, light = Image.new("L", (16, 8), 0), Image.new("L", (16, 8), 255)
    image = Image.new("L", (16, 16))
    image.paste(dark, (0, 0))
    image.paste(light, (0, 8))
    image.convert("RGB").save(stream, kind, exif=exif(*tags), **({"lossless": True} if kind == "WEBP" else {}))
    found = decode(stream.getvalue(), "x", GREY)[0]
    assert (found[:, 0] > 200).all() and (found[:, 1] < 50).all()


@pytest.mark.parametrize("broken", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_exif_that_cannot_be_read_turns_nothing(broken: bytes) -> None:
    assert decode(encoded(7, exif=broken), "x", GREY).tolist() == [[[7, 7], [7, 7]]]


def damaged_avif() -> bytes:
    content = encoded(3, "AVIF", 16)
    at = content.index(b"mdat") + 4
    return content[:at] + bytes(len(content) - at)


def damaged_dds() -> bytes:
    content = bytearray(encoded(3, "DDS", 4))
    content[84:88] = b"\xff\xff\xff\xff"  # a compression that there is not
    content[80:84] = struct.pack("<I", 4)
    return bytes(content)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(damaged_avif, marks=pytest.mark.skipif(not features.check("avif"), reason="no AVIF here")),
        damaged_dds,
    ],
)
def test_damaged_images_of_rarer_kinds_name_the_file(make: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "web.jpg").write_bytes(make())
    with pytest.raises(RequestError, match=r"/web\.jpg does not decode: [^\n]+\.$"):
        decode(tmp_path / "web.jpg", str(tmp_path / "web.jpg"), GREY)


@pytest.mark.parametrize(
    "error", [RuntimeError("a\nb"), NotImplementedError(), MemoryError(), KeyError("x"), struct.error()]
)
def test_whatever_a_decoder_raises_names_the_file(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(RequestError, match=r"^bird\.jpg does not decode: [^\n]+\.$"):
        decode(b"?", "bird.jpg", GREY)


def test_the_first_ten_broken_images_are_named_and_all_counted() -> None:
    pairs = [(f"{at}.png", b"?" if at % 2 else encoded(at)) for at in range(30)]
    with pytest.raises(BrokenImages, match=r"^15 of 30 images are broken: 1\.png does not decode") as caught:
        decode_into(np.zeros((30, 1, 2, 2), dtype=np.uint8), pairs, GREY, "x")
    told = str(caught.value)
    assert told.count("does not decode") == 10 and "19.png" in told and "21.png" not in told
    assert told.endswith("; and 5 more.") and len(caught.value.faults) == 15


def break_three(pets: Path) -> None:
    write(pets / "train/dog", 21)
    for file in ("train/cat/11.png", "train/dog/20.png", "test/dog/40.png"):
        (pets / file).write_bytes(b"broken")


def test_broken_images_of_both_splits_are_told_together(pets: Path) -> None:
    break_three(pets)
    with pytest.raises(RequestError) as caught:
        load(folder_source(pets))
    told = str(caught.value)
    assert told.startswith("3 of 6 images are broken: ") and "skip_broken: true" in told
    assert all(f"{pets}/{file} does not decode" in told for file in ("train/cat/11.png", "train/dog/20.png"))


def test_broken_images_are_left_out_where_asked(pets: Path) -> None:
    break_three(pets)
    write(pets / "test/dog", 41)
    task = load(folder_source(pets), skip_broken=True)
    assert levels(task) == [10, 21] and task.train.labels.tolist() == [0, 1]
    assert levels(task, "test") == [30, 41] and task.test.labels.tolist() == [0, 1]
    (note,) = task.notes
    assert (
        note.startswith("broken images were left out, 3 in all: ") and f"{pets}/test/dog/40.png does not decode" in note
    )
    assert load(folder_source(pets), skip_broken=True).notes == task.notes  # from the cache too
    with pytest.raises(RequestError, match="3 of 7 images are broken"):
        load(folder_source(pets))


def test_skipping_changes_nothing_where_nothing_is_broken(pets: Path) -> None:
    prints = {
        read_task(1, "pets", folder_source(pets), GREY, None, Augmentation(), silent, skip)[1] for skip in (True, False)
    }
    assert len(prints) == 1


def test_a_class_of_broken_images_only_is_refused(pets: Path) -> None:
    break_three(pets)
    told = r"/test has no image of class 'dog'\. Broken images were left out: "
    with pytest.raises(RequestError, match=told):
        load(folder_source(pets), skip_broken=True)


def test_broken_rows_of_parquet_are_left_out(tmp_path: Path) -> None:
    cells = [{"bytes": data, "path": None} for data in (encoded(1), None, b"?", encoded(4))]
    pq.write_table(pa.table({"image": cells, "label": [0, 0, 1, 1]}), tmp_path / "train.parquet")
    test = write_parquet(tmp_path / "test.parquet", [5, 6], [0, 1])
    task = load(parquet_source([tmp_path / "train.parquet"], [test]), skip_broken=True)
    assert levels(task) == [1, 4] and task.train.labels.tolist() == [0, 1]
    assert "train.parquet, row 1 has no image bytes; " in task.notes[0] and "row 2 does not decode" in task.notes[0]


# --- parquet ----------------------------------------------------------------------------------------------------------


def write_parquet(
    path: Path,
    values: Sequence[int],
    labels: Sequence[Any],
    image: str = "image",
    label: str = "label",
    names: Any = None,
) -> Path:
    table = pa.table({image: [{"bytes": encoded(value), "path": None} for value in values], label: list(labels)})
    if names is not None:
        table = table.replace_schema_metadata({"class_names": json.dumps(names)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "d/train-00000-of-00002.parquet", [1, 2], [0, 1])
    write_parquet(tmp_path / "d/train-00001-of-00002.parquet", [3, 4], [0, 1])
    write_parquet(tmp_path / "d/test-00000-of-00001.parquet", [5, 6], [0, 1])
    return tmp_path / "d"


@pytest.mark.parametrize(("changed", "column"), [({"image": "img"}, "image"), ({"label": "labels"}, "label")])
def test_every_shard_has_the_columns(shards: Path, changed: dict[str, str], column: str) -> None:
    second = write_parquet(shards / "train-00001-of-00002.parquet", [3, 4], [0, 1], **changed)
    told = rf"{second.name} has no column '{column}', which \S*train-00000-of-00002\.parquet has; its columns are"
    with pytest.raises(RequestError, match=told):
        list_files(sorted(shards.glob("train*")))


def test_shards_with_numbers_and_texts_are_refused(shards: Path) -> None:
    write_parquet(shards / "train-00001-of-00002.parquet", [3, 4], ["0", "1"])
    with pytest.raises(RequestError, match=r"'label' holds numbers in one of .* and .*, texts in the other"):
        list_files(sorted(shards.glob("train*")))


def test_a_test_file_among_the_training_files_is_refused(shards: Path) -> None:
    test = shards / "test-00000-of-00001.parquet"
    told = r"test-00000-of-00001\.parquet is among the training files and among the test files"
    with pytest.raises(RequestError, match=told):
        parquet_source(matching(shards, ["*.parquet"]), [test])
    (shards / "alias.parquet").symlink_to(test)
    with pytest.raises(RequestError, match=told):
        parquet_source([shards / "alias.parquet"], [test])


def test_a_file_named_twice_is_taken_once(shards: Path) -> None:
    test = shards / "test-00000-of-00001.parquet"
    once = parquet_source(matching(shards, ["train-*"]), [test])
    twice = parquet_source(
        matching(shards, ["train-00000*", "train-*", "../d/train-00001-of-00002.parquet"]), [test, test]
    )
    assert (twice.files, twice.options) == (once.files, once.options)
    assert levels(load(twice)) == [1, 2, 3, 4]


def test_files_of_several_folders(shards: Path, tmp_path: Path) -> None:
    other = write_parquet(tmp_path / "e/train-0.parquet", [7, 8], [0, 1])
    test = write_parquet(tmp_path / "f/test.parquet", [9, 10], [0, 1])
    assert levels(load(parquet_source(matching(tmp_path, ["*/train-*.parquet"]), [test]))) == [1, 2, 3, 4, 7, 8]
    assert levels(load(parquet_source([other], [test])), "test") == [9, 10]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d/train-?????-of-00002.parquet", [0, 1]),
        ("d/train-0000[1-9]*.parquet", [1]),
        ("d/train-0000[!1]-of-00002.parquet", [0]),
        ("*/train-*.parquet", [0, 1]),
        ("**/train-*.parquet", [0, 1, 2]),
        ("d/**/train-*.parquet", [0, 1, 2]),
        ("[d]/*/train*", [2]),
        ("./d/train-00000*", [0]),
    ],
)
def test_patterns(shards: Path, pattern: str, expected: list[int]) -> None:
    deep = write_parquet(shards / "deep/train-00002.parquet", [1], [0])
    (shards / "train-folder.parquet").mkdir()
    (shards / ".train-00000-of-00002.parquet").write_bytes(b"hidden")
    files = [shards / f"train-0000{number}-of-00002.parquet" for number in (0, 1)] + [deep]
    assert sorted(os.path.realpath(file) for file in matching(shards.parent, [pattern])) == sorted(
        str(files[number].resolve()) for number in expected
    )


def test_patterns_that_fit_nothing_and_names_that_look_like_patterns(tmp_path: Path) -> None:
    base = tmp_path / "a[1]*"
    for pattern in ("train-?.parquet", "**/x", "*/train-*.parquet"):
        with pytest.raises(RequestError, match=r"There is no file .*: nothing fits the pattern"):
            matching(base, [pattern])
    file = write_parquet(base / "train[0].parquet", [1], [0])
    other = write_parquet(base / "train0.parquet", [1], [0])
    assert matching(base, ["train[0].parquet"]) == [file]
    assert matching(base, ["train?.parquet"]) == [other]
    assert matching(Path("/"), [str(other)]) == [other]


@pytest.mark.skipif(not hasattr(pa, "binary_view"), reason="pyarrow before 16 has no views")
@pytest.mark.parametrize("in_struct", [True, False])
def test_view_types_are_read(tmp_path: Path, in_struct: bool) -> None:
    images = pa.array([encoded(1), encoded(2)], pa.binary_view())
    column = pa.StructArray.from_arrays([images], ["bytes"]) if in_struct else images
    pq.write_table(pa.table({"image": column, "label": pa.array(["b", "a"], pa.string_view())}), tmp_path / "a.parquet")
    assert str(pq.read_schema(tmp_path / "a.parquet").field("label").type) == "string_view"
    test = write_parquet(tmp_path / "test.parquet", [3, 4], ["a", "b"])
    task = load(parquet_source([tmp_path / "a.parquet"], [test]))
    assert task.class_names == ("a", "b") and task.train.labels.tolist() == [1, 0] and levels(task) == [1, 2]


# --- images in both splits --------------------------------------------------------------------------------------------


def test_shared_images_by_hand() -> None:
    """Images 0 and 1 differ in their last row alone; the middle row of all but 3 is the same."""
    train = np.zeros((4, 1, 3, 3), dtype=np.uint8)
    train[1, 0, 2, 2] = 9
    train[3] = 5
    test = np.stack([train[1], train[1], train[3], np.full((1, 3, 3), 6, np.uint8)])
    assert shared_images(train, test) == 3
    changed = test.copy()
    changed[:, 0, 0, 0] += 1
    assert shared_images(train, changed) == 0
    assert shared_images(train, test[:, :, :2, :2]) == 0 and shared_images(train[:0], test) == 0


def run_check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    code = int((args := parser.parse_args(["check", "--scenario", str(path)])).run(args))
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_check_tells_what_is_in_both_splits_left_out_and_broken(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(pets / "test/dog", 20)
    write(pets / "train/cat", 1, ending=".heic")
    (pets / "train/cat/11.png").write_bytes(b"broken")
    text = "tasks: [{name: pets, folder: pets}]\nbackbone: small_cnn\nimage_size: 2\n"
    (tmp_path / "mine.yaml").write_text(text)
    code, printed = run_check(tmp_path / "mine.yaml", capsys)
    assert code == 2 and "not ready: " in printed and "11.png does not decode" in printed
    (tmp_path / "mine.yaml").write_text(text + "skip_broken: true\n")
    code, printed = run_check(tmp_path / "mine.yaml", capsys)
    assert code == 0 and printed.splitlines()[-1].startswith(("ready", "decoding"))
    assert "note: pets: test images that are training images too, pixel for pixel: 1 of 3." in printed
    assert "note: pets: broken images were left out, 1 in all: " in printed
    assert "note: pets: files whose ending is not that of an image were left out: 1 .heic" in printed
    assert ["1", "pets", "2", "2", "3", "cat,", "dog"] in [line.split() for line in printed.splitlines()]


def test_check_draws_a_split(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(pets / "train/dog", *range(20, 30))
    write(pets / "train/cat", *range(10, 20))
    (tmp_path / "mine.yaml").write_text(
        "tasks: [{name: pets, folder: pets/train, split: 2e-1}]\nbackbone: small_cnn\nimage_size: 2\n"
    )
    code, printed = run_check(tmp_path / "mine.yaml", capsys)
    assert code == 0 and ["1", "pets", "2", "16", "4", "cat,", "dog"] in [line.split() for line in printed.splitlines()]
    assert "note: pets: 20 % of every class in " in printed


def test_check_counts_cifars_own_ten(shared_data: Path, tmp_path: Path) -> None:
    """CIFAR-100 has ten test images that are training images too, as is known; the same class or not."""
    data = load_scenario("cifar100-20").read(shared_data, range(1, 21), silent)
    train, test = (np.concatenate([getattr(task, split).images for task in data.tasks]) for split in ("train", "test"))
    assert shared_images(train, test) == 10
