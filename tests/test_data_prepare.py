"""``data prepare``: every data set from a small archive in its published layout; a wrong one leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import published_archives as published
import pytest
from PIL import Image

from benchmark.cli.main import main
from benchmark.data.manifest import FILES, MANIFEST, Manifest, read_files, read_manifest
from benchmark.data.prepare import containers, preparing
from benchmark.data.prepare.data_sets import data_set
from benchmark.data.prepare.staging import Staging
from benchmark.data.prepare.tu_berlin import training_places
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent

ALL = tuple(published.MAKERS)
#: training images, test images, classes of each
COUNTS = dict.fromkeys(ALL, (4, 2, 2)) | {"sketches": (8, 2, 2), "cifar100": (200, 100, 0)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))


def prepared(
    name: str, source: Path, root: Path, said: list[str] | None = None, progress: Progress = silent
) -> Manifest:
    say = [].append if said is None else said.append
    return preparing.prepare(data_set(name), source, root, say, progress)


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def refused(name: str, source: Path, root: Path) -> str:
    """The sentence; nothing may be left at the target or beside it."""
    with pytest.raises(RequestError) as caught:
        prepared(name, source, root)
    assert tree(root) == {} if root.exists() else True
    assert "\n" not in str(caught.value)
    return str(caught.value)


def removed(source: published.Source, archive: str, member: str) -> published.Source:
    content = source[archive]
    assert not isinstance(content, bytes) and member in content
    return {**source, archive: {name: inside for name, inside in content.items() if name != member}}


def replaced(source: published.Source, archive: str, **members: Any) -> published.Source:
    """``images__txt`` stands for images.txt."""
    content = dict(source[archive])  # type: ignore[arg-type]
    for word, inside in members.items():
        (name,) = (one for one in content if one.rpartition("/")[2] == word.replace("__", "."))
        content[name] = inside(content[name]) if callable(inside) else inside
    return {**source, archive: content}


# --- every data set ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_from_archives_and_from_what_was_unpacked(name: str, tmp_path: Path) -> None:
    """The same files from both; the manifest counts them, and tells of totals unlike the published ones."""
    source = published.MAKERS[name]()
    said: list[str] = []
    manifest = prepared(name, published.write(tmp_path / "archives", source), tmp_path / "a", said)
    again = prepared(name, published.unpack(tmp_path / "unpacked", source), tmp_path / "b")
    folder = data_set(name).target(tmp_path / "a")
    train, test, classes = COUNTS[name]
    assert (manifest.train, manifest.test, len(manifest.class_names)) == (train, test, classes)
    assert (manifest.content, manifest.class_names) == (again.content, again.class_names)
    assert read_manifest(folder) == manifest
    listed = read_files(folder / FILES)
    files = {key: content for key, content in tree(folder).items() if key not in (MANIFEST, FILES)}
    assert {key: about.size for key, about in listed.items()} == {key: len(content) for key, content in files.items()}
    assert manifest.bytes == sum(map(len, files.values()))
    published_train, published_test = data_set(name).about.images
    expected = f"{train:,} training and {test:,} test images were prepared; {published_train:,} and {published_test:,}"
    assert f"{expected} are published." in manifest.warnings
    assert any("at most" in line and "iB will be written" in line and "are free" in line for line in said)
    assert [line for line in said if line.startswith("warning: ")] == [f"warning: {text}" for text in manifest.warnings]
    assert sorted(os.listdir(folder.parent)) == [folder.name]


@pytest.mark.parametrize("name", ALL)
def test_running_twice_is_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = published.write(tmp_path / "archives", published.MAKERS[name]())
    first = prepared(name, source, tmp_path / "root")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")}
    monkeypatch.setattr(preparing, "open_catalogue", None)
    said: list[str] = []
    assert prepared(name, source, tmp_path / "root", said) == first
    assert len(said) == 1 and said[0].endswith("nothing to do.")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*")} == before


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("how", ["escape", "link"])
def test_archives_that_reach_out(name: str, how: str, tmp_path: Path) -> None:
    source = published.write(tmp_path / "in" / "archives", published.MAKERS[name](), **{how: True})
    sentence = refused(name, source, tmp_path / "root")
    expected = {"escape": "leads out of the archive", "link": "'innocent.jpg' is a link; only ordinary files"}
    assert expected[how] in sentence and published.archive_of(published.MAKERS[name]()) in sentence
    assert not list(tmp_path.rglob("escaped.jpg"))


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("cubs_cropped", "CUB_200_2011/images/002.Laysan_Albatross/Laysan_Albatross_0002_796113.jpg"),
        ("stanford_cars_cropped", "car_ims/000005.jpg"),
        ("flowers", "jpg/image_00006.jpg"),
        ("wikiart", "wikiart/Rococo/élisabeth-vigée_1.jpg"),
        ("sketches", "png/t-shirt/83.png"),
        ("cifar100", "cifar-100-python/test"),
    ],
)
def test_a_missing_member_is_named(name: str, member: str, tmp_path: Path) -> None:
    source = published.MAKERS[name]()
    faulty = removed(source, published.archive_of(source), member)
    sentence = refused(name, published.write(tmp_path / "archives", faulty), tmp_path / "root")
    assert f"{member} is missing, and" in sentence


@pytest.mark.parametrize("name", ALL)
def test_an_interruption_and_its_resumption(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made before the interruption is not made again, and all is as if there had been none."""
    source = published.write(tmp_path / "archives", published.MAKERS[name]())
    whole = prepared(name, source, tmp_path / "whole")
    monkeypatch.setattr(preparing, "CHUNK", 1)
    wanted = len(read_files(data_set(name).target(tmp_path / "whole") / FILES))

    def stopping(what: str, done: int, total: int) -> None:
        if what.startswith("preparing") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(name, source, tmp_path / "root", progress=stopping)
    target = data_set(name).target(tmp_path / "root")
    assert not target.exists() and [path.name for path in target.parent.iterdir()] == [f".{target.name}.part"]
    written: list[str] = []
    write = Staging.write

    def counted(self: Staging, name: str, content: bytes) -> Any:
        written.append(name)
        return write(self, name, content)

    monkeypatch.setattr(Staging, "write", counted)
    said: list[str] = []
    resumed = prepared(name, source, tmp_path / "root", said)
    assert len(written) == wanted - 2 and "2 of them done before" in said[0]
    assert resumed == whole
    assert tree(tmp_path / "root") == tree(tmp_path / "whole")


# --- lists that contradict each other or the images -------------------------------------------------------------------

LAST_LINE = lambda content: b"".join(content.splitlines(keepends=True)[:-1])  # noqa: E731


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image_class_labels__txt": LAST_LINE}, r"images.txt has an entry for 6 and .*_labels.txt has none; .* 5"),
        ({"bounding_boxes__txt": LAST_LINE}, r"images.txt has an entry for 6 and .*bounding_boxes.txt has none"),
        ({"images__txt": LAST_LINE}, r"bounding_boxes.txt has an entry for 6 and .*images.txt has none; .* 5 .* 6"),
        ({"classes__txt": b"1 001.Black_footed_Albatross\n2 002.Another\n"}, r"its class 2 is 002.Another in classes"),
        ({"train_test_split__txt": b"1 1\n2 1\n3 0\n4 1\n5 1\n6 2\n"}, r"has '2' for image 6, not 0 or 1"),
        ({"train_test_split__txt": b"1 1\n2 1\n3 1\n4 1\n5 1\n6 0\n"}, r"class 001.Black_foot.* has no test image"),
        ({"bounding_boxes__txt": b"1 8 4 24\n"}, r"bounding_boxes.txt, line 1: '1 8 4 24' is not 5 words"),
        ({"bounding_boxes__txt": lambda content: content.replace(b"1 8.0", b"1 nan")}, r"'nan' where a number"),
        ({"images__txt": lambda content: content + content[:20] + b"\n"}, r"images.txt, line 7: 1 stands there twice"),
        ({"images__txt": b"\xff\xfe"}, r"images.txt is no text in UTF-8"),
        ({"Laysan_Albatross_0003_796114__jpg": b"no image"}, r"0003_796114.jpg does not decode: not an image"),
        ({"bounding_boxes__txt": lambda content: content.replace(b"6 8.0", b"6 480.0")}, r"its box .* lies outside"),
    ],
)  # fmt: skip
def test_birds_that_contradict_themselves(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    faulty = replaced(published.birds(), "CUB_200_2011.tgz", **changes)
    assert re.search(expected, refused("cubs_cropped", published.write(tmp_path / "in", faulty), tmp_path / "root"))


def test_images_that_no_list_names(tmp_path: Path) -> None:
    source = published.flowers()
    more = {**source, "102flowers.tgz": {**source["102flowers.tgz"], "jpg/image_00007.jpg": published.picture(7)}}  # type: ignore[dict-item]
    sentence = refused("flowers", published.write(tmp_path / "in", more), tmp_path / "root")
    assert "jpg/image_00007.jpg is there, but setid.mat does not name it" in sentence


def test_flowers_whose_lists_have_other_counts(tmp_path: Path) -> None:
    source = published.flowers() | {"imagelabels.mat": published.mat(labels=np.array([[1, 1, 1, 2, 2]]))}
    sentence = refused("flowers", published.write(tmp_path / "in", source), tmp_path / "root")
    assert "setid.mat has image 6 in tstid, and imagelabels.mat has 5 labels" in sentence
    del source["setid.mat"]
    sentence = refused("flowers", published.write(tmp_path / "other", source), tmp_path / "root")
    assert "setid.mat is missing (it has the split)" in sentence


def test_cars_of_the_other_form(tmp_path: Path) -> None:
    """The devkit's list of test images without labels is no help; a slash in a class name makes no folder."""
    source = published.cars_devkit()
    manifest = prepared("stanford_cars_cropped", published.write(tmp_path / "in", source), tmp_path / "root")
    assert (manifest.train, manifest.test) == (4, 2)
    assert manifest.class_names == ("001.AM General Hummer SUV 2000", "002.Ram C-V Cargo Van Minivan 2012")
    del source["cars_test_annos_withlabels.mat"]
    sentence = refused("stanford_cars_cropped", published.write(tmp_path / "other", source), tmp_path / "b")
    assert "cars_test_annos_withlabels.mat is missing" in sentence


def test_wikiart_by_style_and_lists_that_disagree(tmp_path: Path) -> None:
    source = published.wikiart()
    styles = {name.replace("artist", "style"): content for name, content in source.items()}
    manifest = prepared("wikiart", published.write(tmp_path / "style", styles), tmp_path / "root")
    assert "classes are styles" in manifest.split and manifest.class_names[0] == "000.Gustave_Courbet"
    other = source | {"artist_val.csv": b"Realism/gustave-courbet_0.jpg,1\n"}
    sentence = refused("wikiart", published.write(tmp_path / "both", other), tmp_path / "b")
    assert "artist_val.csv has Realism/gustave-courbet_0.jpg once more, with the label 1, not 0" in sentence
    odd = source | {"artist_val.csv": b"Realism/gustave-courbet_2.jpg,0\nno label\n"}
    sentence = refused("wikiart", published.write(tmp_path / "odd", odd), tmp_path / "b")
    assert "artist_val.csv, line 2: 'no label' is not a path and a label" in sentence
    unnamed = source | {"artist_class.txt": b"0 Gustave_Courbet\n"}
    sentence = refused("wikiart", published.write(tmp_path / "unnamed", unnamed), tmp_path / "b")
    assert "has the label 1 for Rococo/élisabeth-vigée_0.jpg, which artist_class.txt does not name" in sentence
    del source["artist_val.csv"]
    sentence = refused("wikiart", published.write(tmp_path / "half", source), tmp_path / "b")
    assert "artist_val.csv is missing, and artist_train.csv is there" in sentence


def test_wikiart_with_the_repositorys_own_lists(tmp_path: Path) -> None:
    """A heading, an empty line, two commas, no ending; an image of both lists is a training image."""
    source = published.wikiart()
    heading = b"(Path to image),, (Groundtruth class)\n\n"
    lists = {split: bytes(source.pop(f"artist_{split}.csv")).replace(b",", b",,") for split in ("train", "val")}
    lists["val"] += lists["train"].splitlines(keepends=True)[0]
    source |= {f"artist_{split}": heading + content for split, content in lists.items()}
    source["artist_class"] = source.pop("artist_class.txt")
    manifest = prepared("wikiart", published.write(tmp_path / "in", source), tmp_path / "root")
    assert (manifest.train, manifest.test) == (4, 2)
    assert manifest.warnings[0] == "1 images are in both lists of artists; here they are training images only."


def test_sketches_that_their_list_does_not_name(tmp_path: Path) -> None:
    source = replaced(published.sketches(), "sketches_png.zip", filelist__txt=LAST_LINE)
    sentence = refused("sketches", published.write(tmp_path / "in", source), tmp_path / "root")
    assert "png/t-shirt/85.png is there, but png/filelist.txt does not name it" in sentence


def test_cifar_with_labels_that_contradict_each_other(tmp_path: Path) -> None:
    import pickle

    def swapped(content: bytes) -> bytes:
        train = pickle.loads(content)
        return pickle.dumps({**train, b"coarse_labels": train[b"coarse_labels"][::-1]}, 2)

    source = published.cifar100()
    faulty = replaced(source, "cifar-100-python.tar.gz", train=swapped)
    assert "is not in superclass" in refused("cifar100", published.write(tmp_path / "in", faulty), tmp_path / "root")


# --- what is made -----------------------------------------------------------------------------------------------------


def pixels(encoded: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cubs_cropped", "train/001.Black_footed_Albatross/Black_footed_Albatross_0001_796112.jpg"),
        ("stanford_cars_cropped", "train/001.AM General Hummer SUV 2000/000001.jpg"),
    ],
)
def test_crops_are_the_box(name: str, file: str, tmp_path: Path) -> None:
    """x 8, y 4, 24 x 16 pixels from 0 (CUB) and columns 9 to 32, rows 5 to 20 from 1 (Cars) are the same pixels."""
    source = published.MAKERS[name]()
    prepared(name, published.write(tmp_path / "in", source), tmp_path / "root")
    made = pixels((data_set(name).target(tmp_path / "root") / file).read_bytes())
    original = pixels(published.picture(0 if name == "cubs_cropped" else 1))[4:20, 8:32]
    assert made.shape == (16, 24, 3) and np.abs(made - original).mean() < 2


def test_a_box_is_clipped_to_the_image(tmp_path: Path) -> None:
    boxes = b"1 40.5 20.0 100.0 100.0\n" + b"".join(b"%d 0 0 8 8\n" % at for at in range(2, 7))
    source = replaced(published.birds(), "CUB_200_2011.tgz", bounding_boxes__txt=boxes)
    prepared("cubs_cropped", published.write(tmp_path / "in", source), tmp_path / "root")
    folder = data_set("cubs_cropped").target(tmp_path / "root")
    made = (folder / "train/001.Black_footed_Albatross/Black_footed_Albatross_0001_796112.jpg").read_bytes()
    assert pixels(made).shape == (12, 8, 3)  # of 48 x 32: columns 40 to 47, rows 20 to 31


def test_others_are_copied_byte_by_byte(tmp_path: Path) -> None:
    """Flowers: validation images are training images. WikiArt: unlisted images are left out."""
    prepared("flowers", published.write(tmp_path / "f", published.flowers()), tmp_path / "root")
    made = tree(data_set("flowers").target(tmp_path / "root"))
    where = {1: "train/001", 2: "train/001", 3: "test/001", 4: "train/002", 5: "train/002", 6: "test/002"}
    expected = {f"{folder}/image_{at:05d}.jpg": published.picture(at) for at, folder in where.items()}
    assert {name: content for name, content in made.items() if name.endswith(".jpg")} == expected
    prepared("wikiart", published.write(tmp_path / "w", published.wikiart()), tmp_path / "root")
    made = tree(data_set("wikiart").target(tmp_path / "root"))
    assert made["test/001.Elisabeth_Vigee/Rococo__élisabeth-vigée_2.jpg"] == published.picture(5)
    assert not [name for name in made if "not-listed" in name]


def test_the_drawn_split_of_the_sketches(tmp_path: Path) -> None:
    """64 of 80, by the rule that the manifest states; a class of another size is told."""
    import zlib

    training = training_places("airplane", 80)
    assert len(training) == 64 and training != training_places("t-shirt", 80)
    assert training == set(np.random.RandomState(zlib.crc32(b"airplane")).permutation(80)[:64].tolist())
    manifest = prepared("sketches", published.write(tmp_path / "in", published.sketches()), tmp_path / "root")
    assert "RandomState(zlib.crc32(class name))" in manifest.split and (manifest.train, manifest.test) == (8, 2)
    assert manifest.warnings[0] == "2 classes have not 80 sketches, such as airplane with 5."
    folder = data_set("sketches").target(tmp_path / "root")
    there = {int(path.stem) - 1 for path in (folder / "train/airplane").iterdir()}
    assert there == training_places("airplane", 5)


def test_ready_folders(tmp_path: Path) -> None:
    manifest = prepared("flowers", published.write(tmp_path / "in", published.ready()), tmp_path / "root")
    assert (manifest.layout, manifest.train, manifest.test, manifest.class_names) == ("ready folders", 2, 2, ("a", "b"))
    unpacked = published.unpack(tmp_path / "unpacked", published.ready())
    assert prepared("flowers", unpacked / "flowers", tmp_path / "b").content == manifest.content
    one = removed(published.ready(), "flowers.zip", "flowers/test/a/2.jpg")
    assert "class a has no test image" in refused("flowers", published.write(tmp_path / "one", one), tmp_path / "c")


def test_parquet_of_cifar_as_exported(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "in/data").mkdir(parents=True)
    image = {"bytes": published.picture(0, (32, 32), "PNG"), "path": None}
    for split, count in (("train", 3), ("test", 2)):
        table = pa.table({"img": [image] * count, "fine_label": [0] * count, "coarse_label": [4] * count})
        pq.write_table(table, tmp_path / f"in/data/{split}-00000-of-00001.parquet")
    manifest = prepared("cifar100", tmp_path / "in", tmp_path / "whole")
    assert (manifest.layout, manifest.train, manifest.test) == ("parquet", 3, 2)
    assert sorted(tree(tmp_path / "whole/cifar100"))[2:] == [
        f"{name}-00000-of-00001.parquet" for name in ("test", "train")
    ]
    (tmp_path / "in/data/train-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    assert ".parquet" in refused("cifar100", tmp_path / "in", tmp_path / "root")
    (tmp_path / "in/data/test-00000-of-00001.parquet").unlink()
    assert "must both be there" in refused("cifar100", tmp_path / "in", tmp_path / "root")


# --- sources, archives, targets ---------------------------------------------------------------------------------------


def test_sources_that_are_none(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert f"There is no {tmp_path}/nowhere" in refused("flowers", tmp_path / "nowhere", root)
    (tmp_path / "empty").mkdir()
    sentence = refused("flowers", tmp_path / "empty", root)
    assert "there is nothing of flowers in it. It takes 102flowers.tgz, imagelabels.mat and setid.mat" in sentence
    (tmp_path / "a.txt").write_text("x")
    assert "is no folder and no archive" in refused("flowers", tmp_path / "a.txt", root)
    with pytest.raises(RequestError, match=r"There is no data set 'flower'. Did you mean 'flowers'\?"):
        data_set("flower")


def tar_with(path: Path, name: str, **about: Any) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        for key, value in about.items():
            setattr(entry, key, value)
        archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"name": "/etc/passwd", "size": 1}, "leads out of the archive"),
        ({"name": "a/../../b.jpg", "size": 1}, "leads out of the archive"),
        ({"name": "C:/b.jpg", "size": 1}, "leads out of the archive"),
        ({"name": "a\\b.jpg", "size": 1}, "characters that no path may have"),
        ({"name": "a\nb.jpg", "size": 1}, "characters that no path may have"),
        ({"name": "jpg/a.jpg", "type": tarfile.LNKTYPE, "linkname": "jpg/b.jpg"}, "is a link"),
        ({"name": "jpg/a.jpg", "type": tarfile.FIFOTYPE}, "is a device or a pipe"),
        ({"name": "jpg/a.jpg", "type": tarfile.CHRTYPE}, "is a device or a pipe"),
    ],
)
def test_members_that_may_not_be(about: dict[str, Any], expected: str, tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "102flowers.tgz", **about)
    assert expected in refused("flowers", archive, tmp_path / "root")


def test_zip_members_that_may_not_be(tmp_path: Path) -> None:
    """A name that stands twice; a size that is forged; an encrypted one."""
    path = tmp_path / "sketches_png.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("png/a/1.png", b"x")
        archive.writestr("png/a/1.png", b"y")
    assert "holds the member 'png/a/1.png' twice" in refused("sketches", path, tmp_path / "root")
    published.write(tmp_path, published.sketches())
    whole = path.read_bytes()
    size = len(published.picture(0, kind="PNG"))
    path.write_bytes(whole.replace(struct.pack("<II", size, size), struct.pack("<II", size - 1, size - 1), 2))
    assert "is damaged or cut short at the member 'png/airplane/1.png'" in refused("sketches", path, tmp_path / "root")
    at = whole.index(b"PK\x01\x02") + 8
    path.write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    assert "encrypted" in refused("sketches", path, tmp_path / "root")


@pytest.mark.parametrize("name", ["flowers", "sketches", "cubs_cropped"])
def test_an_archive_that_is_cut_short(name: str, tmp_path: Path) -> None:
    source = published.MAKERS[name]()
    folder = published.write(tmp_path / "in", source)
    archive = folder / published.archive_of(source)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    sentence = refused(name, folder, tmp_path / "root")
    assert f"{archive} is damaged or cut short" in sentence and "get it again" in sentence


def test_bounds_on_members_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.data.prepare import bounds

    folder = published.write(tmp_path / "in", published.flowers())
    monkeypatch.setattr(bounds, "MOST_BYTES", 3000)
    assert "102flowers.tgz unpacks to more than" in refused("flowers", folder, tmp_path / "root")
    monkeypatch.setattr(bounds, "MOST_BYTES", 10**9)
    monkeypatch.setattr(bounds, "MOST_MEMBERS", 4)
    assert "holds more than 4 members" in refused("flowers", folder, tmp_path / "root")
    monkeypatch.setattr(bounds, "MOST_MEMBERS", 100)
    monkeypatch.setattr(containers, "MOST_READ", 100)  # a header of 512 bytes
    assert "a header of 512 bytes" in refused("flowers", folder, tmp_path / "root")


def test_a_full_disk_is_told_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = type(shutil.disk_usage(tmp_path))(10**9, 10**9, 10**4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    folder = published.write(tmp_path / "in", published.flowers())
    assert "iB are free there; make room" in refused("flowers", folder, tmp_path / "root")


def test_targets_of_others_are_left_alone(tmp_path: Path) -> None:
    folder = published.write(tmp_path / "in", published.flowers())
    target = data_set("flowers").target(tmp_path / "root")
    (target / "train").mkdir(parents=True)
    with pytest.raises(RequestError, match="was not made by this command; move it away"):
        prepared("flowers", folder, tmp_path / "root")
    assert [path.name for path in target.iterdir()] == ["train"]


def test_another_process_at_it(tmp_path: Path) -> None:
    folder = published.write(tmp_path / "in", published.flowers())
    other = Staging(data_set("flowers").target(tmp_path / "root"))
    with other.locked(), pytest.raises(RequestError, match="Another process prepares .*flowers; wait for it"):
        prepared("flowers", folder, tmp_path / "root")


def test_a_source_that_changed_starts_afresh(tmp_path: Path) -> None:
    folder = published.write(tmp_path / "in", published.flowers())

    def stopping(what: str, done: int, total: int) -> None:
        if what.startswith("preparing") and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared("flowers", folder, tmp_path / "root", progress=stopping)
    source = published.flowers()
    source["102flowers.tgz"] = {name: published.picture(50 + at) for at, name in enumerate(source["102flowers.tgz"])}  # type: ignore[arg-type]
    said: list[str] = []
    prepared("flowers", published.write(tmp_path / "in", source), tmp_path / "root", said)
    assert "done before" not in said[0]


def test_killed_and_gone_on(tmp_path: Path) -> None:
    """A process that is killed outright leaves a journal with half a line; what it made is taken over all the same."""
    source = published.write(tmp_path / "in", published.sketches())
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from benchmark.data.prepare import preparing\n"
        "from benchmark.data.prepare.data_sets import data_set\n"
        "preparing.CHUNK = 3\n"
        "def progress(what, done, total):\n"
        "    if what.startswith('preparing') and done == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "preparing.prepare(data_set('sketches'), Path(sys.argv[1]), Path(sys.argv[2]), print, progress)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program, str(source), str(tmp_path / "root")], env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    journal = tmp_path / "root/imagenet2sketch/.sketches.part" / FILES
    with journal.open("a") as file:
        file.write("train/airplane/9")
    said: list[str] = []
    manifest = prepared("sketches", source, tmp_path / "root", said)
    assert "6 of them done before" in said[0] and (manifest.train, manifest.test) == (8, 2)


# --- at the command line ----------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = published.write(tmp_path / "in", published.flowers())
    words = ["data", "prepare", "flowers", "--from", str(folder), "--to", str(tmp_path / "root")]
    assert main(words) == 0
    output = capsys.readouterr()
    assert f"{tmp_path}/root/imagenet2sketch/flowers: 4 training and 2 test images of 2 classes" in output.out
    assert "preparing flowers: 6 of 6" in output.err
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["data", "prepare", "flowers", "--from", str(tmp_path / "x"), "--to", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith("error: There is no ")
    assert main(["data"]) == 0
    assert "prepare   make one data set" in capsys.readouterr().out


def test_a_manifest_of_a_later_version_or_damaged(tmp_path: Path) -> None:
    folder = published.write(tmp_path / "in", published.flowers())
    prepared("flowers", folder, tmp_path / "root")
    path = data_set("flowers").target(tmp_path / "root") / MANIFEST
    content = json.loads(path.read_text())
    for damaged in ("{", "[]", json.dumps(content | {"version": 2}), json.dumps({"version": 1})):
        path.write_text(damaged)
        with pytest.raises(RequestError, match="is damaged"):
            prepared("flowers", folder, tmp_path / "root")
