"""Small data sets in the very layout in which each is published: two classes, few images, real archives."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

#: an archive's members by name, or a file's content
Content = Mapping[str, bytes] | bytes
Source = dict[str, Content]

ESCAPE, LINK = "../../escaped.jpg", "innocent.jpg"


def picture(seed: int, size: tuple[int, int] = (48, 32), kind: str = "JPEG") -> bytes:
    """A picture with a pattern of its own; ``size``: width, height."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(buffer, kind)
    return buffer.getvalue()


def mat(**variables: Any) -> bytes:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


def lines(rows: list[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def birds() -> Source:
    """Ids, paths, boxes and split of six images in two classes: 2 + 1 each."""
    classes = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    paths = [f"{name}/{name[4:]}_{number:04d}_{796111 + number}.jpg" for name in classes for number in (1, 2, 3)]
    base = "CUB_200_2011"
    members = {
        "attributes.txt": b"1 has_bill_shape::curved_(up_or_down)\n",
        f"{base}/README": b"The Caltech-UCSD Birds-200-2011 Dataset\n",
        f"{base}/bounding_boxes.txt": lines([f"{at} 8.0 4.0 24.0 16.0" for at in range(1, 7)]),
        f"{base}/classes.txt": lines([f"{at} {name}" for at, name in enumerate(classes, 1)]),
        f"{base}/image_class_labels.txt": lines([f"{at} {1 + (at > 3)}" for at in range(1, 7)]),
        f"{base}/images.txt": lines([f"{at} {path}" for at, path in enumerate(paths, 1)]),
        f"{base}/train_test_split.txt": lines([f"{at} {int(at % 3 > 0)}" for at in range(1, 7)]),
        f"{base}/parts/parts.txt": b"1 back\n",
        f"{base}/images/._.DS_Store": b"a Mac's shadow",
    }
    members |= {f"{base}/images/{path}": picture(at) for at, path in enumerate(paths)}
    return {"CUB_200_2011.tgz": members}


CARS = ("AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012")


def structs(rows: list[dict[str, Any]]) -> Any:
    array = np.zeros((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for at, row in enumerate(rows):
        array[0, at] = tuple(row.values())
    return array


def names(texts: tuple[str, ...]) -> Any:
    cell = np.empty((1, len(texts)), dtype=object)
    cell[0, :] = texts
    return cell


def car_box() -> dict[str, int]:
    return {"bbox_x1": 9, "bbox_y1": 5, "bbox_x2": 32, "bbox_y2": 20}


def cars() -> Source:
    """All images in one archive; annotations with the field ``test``."""
    rows = [
        {"relative_im_path": f"car_ims/{at:06d}.jpg", **car_box(), "class": 1 + (at > 3), "test": int(at % 3 == 0)}
        for at in range(1, 7)
    ]
    return {
        "car_ims.tgz": {f"car_ims/{at:06d}.jpg": picture(at) for at in range(1, 7)},
        "cars_annos.mat": mat(annotations=structs(rows), class_names=names(CARS)),
    }


def cars_devkit() -> Source:
    """The other form: two archives and the devkit."""
    training = [{**car_box(), "class": 1 + (at > 2), "fname": f"{at:05d}.jpg"} for at in range(1, 5)]
    testing = [{**car_box(), "class": at, "fname": f"{at:05d}.jpg"} for at in (1, 2)]
    return {
        "cars_train.tgz": {f"cars_train/{at:05d}.jpg": picture(at) for at in range(1, 5)},
        "cars_test.tgz": {f"cars_test/{at:05d}.jpg": picture(10 + at) for at in (1, 2)},
        "car_devkit.tgz": {
            "devkit/README.txt": b"cars",
            "devkit/cars_meta.mat": mat(class_names=names(CARS)),
            "devkit/cars_train_annos.mat": mat(annotations=structs(training)),
            "devkit/cars_test_annos.mat": mat(annotations=structs([{**row, "class": 0} for row in testing])),
        },
        "cars_test_annos_withlabels.mat": mat(annotations=structs(testing)),
    }


def flowers() -> Source:
    """Labels of six images; one training, one validation and one test image of each class."""
    return {
        "102flowers.tgz": {f"jpg/image_{at:05d}.jpg": picture(at) for at in range(1, 7)},
        "imagelabels.mat": mat(labels=np.array([[1, 1, 1, 2, 2, 2]], dtype=np.uint8)),
        "setid.mat": mat(
            trnid=np.array([[1, 4]], dtype=np.uint16),
            valid=np.array([[2, 5]], dtype=np.uint16),
            tstid=np.array([[3, 6]], dtype=np.uint16),
        ),
    }


def wikiart() -> Source:
    """Folders by style; two artists, one of them with a letter that has an accent."""
    paths = [f"Realism/gustave-courbet_{at}.jpg" for at in range(3)]
    paths += [f"Rococo/élisabeth-vigée_{at}.jpg" for at in range(3)]
    members = {f"wikiart/{path}": picture(at) for at, path in enumerate(paths)}
    members["wikiart/Realism/not-listed_1.jpg"] = picture(99)
    return {
        "wikiart.zip": members,
        "artist_train.csv": lines([f"{path},{at // 3}" for at, path in enumerate(paths) if at % 3 < 2]),
        "artist_val.csv": lines([f"{path},{at // 3}" for at, path in enumerate(paths) if at % 3 == 2]),
        "artist_class.txt": lines(["0 Gustave_Courbet", "1 Elisabeth_Vigee"]),
    }


def sketches() -> Source:
    """Two classes of five, numbered through all classes."""
    paths = [
        f"{name}/{1 + 80 * at + number}.png" for at, name in enumerate(("airplane", "t-shirt")) for number in range(5)
    ]
    members = {f"png/{path}": picture(at, kind="PNG") for at, path in enumerate(paths)}
    return {"sketches_png.zip": {**members, "png/filelist.txt": lines(paths)}}


def cifar100() -> Source:
    """Two images of each of the 100 classes for training, one for test, as pickles of Python 2 with bytes as keys."""
    from benchmark.scenarios.cifar100_20 import SUPERCLASSES

    fine = sorted(name for classes in SUPERCLASSES.values() for name in classes)
    coarse = [next(at for at, some in enumerate(SUPERCLASSES.values()) if name in some) for name in fine]
    members = {"cifar-100-python/meta": pickle.dumps({b"fine_label_names": fine}, 2)}
    for split, copies in (("train", 2), ("test", 1)):
        data = np.random.default_rng(copies).integers(0, 256, (100 * copies, 3072), dtype=np.uint8)
        content = {b"data": data, b"fine_labels": list(range(100)) * copies, b"coarse_labels": coarse * copies}
        members[f"cifar-100-python/{split}"] = pickle.dumps(content, 2)
    return {"cifar-100-python.tar.gz": members}


def ready() -> Source:
    """One archive with a folder of the data set's name, ready."""
    folders = ("train/b", "train/a", "test/a", "test/b")
    return {"flowers.zip": {f"flowers/{folder}/{at}.jpg": picture(at) for at, folder in enumerate(folders)}}


MAKERS = {
    "cubs_cropped": birds,
    "stanford_cars_cropped": cars,
    "flowers": flowers,
    "wikiart": wikiart,
    "sketches": sketches,
    "cifar100": cifar100,
}


def archive_of(source: Source) -> str:
    """The name of the archive that holds images."""
    return next(name for name, content in source.items() if not isinstance(content, bytes))


def write(folder: Path, source: Source, escape: bool = False, link: bool = False) -> Path:
    """Write archives and files; ``escape``, ``link``: with a member that may not be."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, (name, content) in enumerate(source.items()):
        path = folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif name.endswith(".zip"):
            _write_zip(path, content, escape and not at, link and not at)
        else:
            _write_tar(path, content, escape and not at, link and not at)
    return folder


def _write_tar(path: Path, members: Mapping[str, bytes], escape: bool, link: bool) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in {**members, **({ESCAPE: picture(0)} if escape else {})}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(LINK)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)


def _write_zip(path: Path, members: Mapping[str, bytes], escape: bool, link: bool) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, **({ESCAPE: picture(0)} if escape else {})}.items():
            archive.writestr(name, content)
        if link:
            entry = zipfile.ZipInfo(LINK)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, "/etc/passwd")


def unpack(folder: Path, source: Source) -> Path:
    """The same, archives unpacked."""
    for name, content in source.items():
        for member, inside in ({name: content} if isinstance(content, bytes) else content).items():
            path = folder / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(inside)
    return folder
