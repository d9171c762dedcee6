"""CIFAR-100 in its three layouts on disk, read to the same arrays.

- torchvision's ``cifar-100-python/`` (``train``, ``test``, ``meta``: pickles, read without running any code),
- Hugging Face parquet (``train*.parquet``, ``test*.parquet``; columns ``img``, ``fine_label``, ``coarse_label``),
- image folders ``{train,test}/SUPERCLASS/CLASS/*.png``, as cifar2png's superclass mode writes them.

Superclasses and the classes in each are numbered alphabetically, which is the order of the twenty tasks and of
ImageFolder inside a task. Within a class images keep their order in the source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.data.cache import Create, Entry, key_of, open_or_build
from benchmark.data.digest import content_digest
from benchmark.data.images import EXACT, Encoded, Preparation, decode_into
from benchmark.data.listing import SPLITS
from benchmark.data.manifest import read_manifest
from benchmark.data.prepared import warnings_of
from benchmark.data.tasks import LabelledTask, write_sliced
from benchmark.data.walk import Walk, subfolders
from benchmark.errors import RequestError
from benchmark.scenarios.cifar100_20 import SUPERCLASSES
from benchmark.scenarios.contract import Progress
from benchmark.scenarios.sources import CIFAR100, absent

PREPARATION = Preparation(size=32, resize=EXACT, channels=3)
TASKS = tuple(LabelledTask(name, classes) for name, classes in SUPERCLASSES.items())
#: the 100 class names in task order, and the place there of every fine label (which count alphabetically)
CLASSES = tuple(name for task in TASKS for name in task.class_names)
PLACE_OF_FINE_LABEL = np.array([CLASSES.index(name) for name in sorted(CLASSES)], dtype=np.int64)

Raw = tuple[NDArray[np.uint8], NDArray[np.int64]]  #: images (n, 3, 32, 32), places in CLASSES (n,)


@dataclass(frozen=True)
class Found:
    """One of the layouts, found in ``folder``. ``files``: by split, all that its content depends on."""

    layout: str  #: "pickles", "parquet" or "folders"
    folder: Path
    files: dict[str, tuple[Path, ...]]


def open_cifar(data_root: Path | None, progress: Progress, help_text: str) -> tuple[Entry, Found]:
    """The cache entry with all twenty tasks (see ``write_sliced``), decoded on first use, and where it came from.

    Raises RequestError, ending in ``help_text``, when there is no CIFAR-100 under ``data_root``, or when it is faulty.
    """
    found = find(data_root, help_text)
    files = [file for split in SPLITS for file in found.files[split]]
    key = key_of("cifar100", found.layout, content_digest(found.folder, files, progress))
    return open_or_build("cifar100", key, lambda create: _build(create, found, progress)), found


def find(data_root: Path | None, help_text: str) -> Found:
    """The first layout found in ``data_root`` itself or in a folder of it named as usual."""
    if data_root is None:
        raise absent(f"CIFAR-100 needs a data root: {help_text}", [CIFAR100], None)
    if not data_root.is_dir():
        raise RequestError(f"There is no folder {data_root}; {help_text}")
    for folder in (data_root, data_root / "cifar100", data_root / "cifar-100-python", data_root / "cifar100" / "data"):
        if (folder / "cifar-100-python").is_dir():
            folder = folder / "cifar-100-python"
        if (folder / "train").is_file() and (folder / "test").is_file():
            return Found("pickles", folder, {split: (folder / split,) for split in SPLITS})
        parquet = {split: tuple(sorted(folder.glob(f"{split}*.parquet"))) for split in SPLITS}
        if all(parquet.values()):
            return Found("parquet", folder, parquet)
        if all((folder / split).is_dir() and SUPERCLASSES.keys() & set(subfolders(folder / split)) for split in SPLITS):
            walk = Walk()
            images = {split: tuple(walk.images_below(folder / split, depth=2)) for split in SPLITS}
            return Found("folders", folder, images)
    raise absent(f"There is no CIFAR-100 in {data_root}: {help_text}", [CIFAR100], data_root)


def notes_of(found: Found) -> tuple[str, ...]:
    """What ``data prepare`` warned of, for the tasks' notes."""
    folder = found.folder.parent if found.layout == "pickles" else found.folder
    return warnings_of(read_manifest(folder))


def _build(create: Create, found: Found, progress: Progress) -> dict[str, Any]:
    read = {"pickles": read_pickle, "parquet": read_parquet, "folders": read_folders}[found.layout]
    raw = {split: read(found, split, progress) for split in SPLITS}
    images = {split: raw[split][0] for split in SPLITS}
    return write_sliced(create, TASKS, images, {split: raw[split][1] for split in SPLITS})


def places(fine: NDArray[np.int64], coarse: NDArray[np.int64] | None, where: str) -> NDArray[np.int64]:
    """Places in CLASSES. Raises RequestError when a label is out of range or the two labels contradict each other."""
    for labels, count in ((fine, len(CLASSES)), (coarse, len(TASKS))):
        if labels is not None and len(labels) and (labels.min() < 0 or labels.max() >= count):
            row = int(((labels < 0) | (labels >= count)).argmax())
            raise RequestError(f"{where}, row {row}: label {labels[row]} is out of range 0 to {count - 1}.")
    found = PLACE_OF_FINE_LABEL[fine]
    if coarse is not None and (wrong := found // 5 != coarse).any():
        row = int(wrong.argmax())
        raise RequestError(
            f"{where}, row {row}: class {CLASSES[found[row]]!r} is not in superclass {TASKS[coarse[row]].name!r}."
        )
    return found


def read_parquet(found: Found, split: str, progress: Progress) -> Raw:
    """Images decoded, and labels checked against each other."""
    from benchmark.data import parquet

    files = found.files[split]
    schema = parquet.read_schema(files[0])
    image = parquet.pick_column(files[0], schema, None, ("img", "image"), "image")
    fine = parquet.pick_column(files[0], schema, None, ("fine_label",), "label")
    has_coarse = "coarse_label" in schema.names
    columns = (image, fine, *(("coarse_label",) if has_coarse else ()))
    for file in files[1:]:
        parquet.require_columns(file, parquet.read_schema(file), columns, files[0])
    labels = np.concatenate([_whole_numbers(file, fine) for file in files])
    coarse = np.concatenate([_whole_numbers(file, "coarse_label") for file in files]) if has_coarse else None
    found_places = places(labels, coarse, str(files[0]))
    images = np.empty((len(labels), 3, 32, 32), dtype=np.uint8)
    decode_into(images, parquet.read_images(files, image), PREPARATION, f"decoding cifar100 {split}", progress)
    return images, found_places


def _whole_numbers(file: Path, column: str) -> NDArray[np.int64]:
    from benchmark.data import parquet

    labels = parquet.read_labels(file, column)
    if labels.dtype.kind != "i":
        raise RequestError(f"{file}: column {column!r} holds texts, not labels 0 to 99.")
    return np.asarray(labels, dtype=np.int64)


def read_folders(found: Found, split: str, progress: Progress) -> Raw:
    """Images of every class folder, files in natural order (2.png before 10.png)."""
    pairs: list[tuple[str, Encoded]] = []
    labels: list[int] = []
    top = found.folder / split
    for path in sorted(found.files[split], key=_natural):
        superclass, name = (*path.relative_to(top).parts, "", "")[:2]
        if name not in SUPERCLASSES.get(superclass, ()):
            raise RequestError(f"{path} is not in a folder SUPERCLASS/CLASS of CIFAR-100.")
        pairs.append((str(path), path))
        labels.append(CLASSES.index(name))
    images = np.empty((len(pairs), 3, 32, 32), dtype=np.uint8)
    decode_into(images, pairs, PREPARATION, f"decoding cifar100 {split}", progress)
    return images, np.array(labels, dtype=np.int64)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def read_pickle(found: Found, split: str, progress: Progress) -> Raw:
    """One of torchvision's pickles: b"data" (n, 3072) uint8, b"fine_labels", b"coarse_labels"."""
    from benchmark.data.pickles import load_plain

    (file,) = found.files[split]
    progress(f"reading {file.name}", 0, 1)
    content = load_plain(file)
    try:
        data = content[b"data"]
        labels = [np.asarray(content[key], dtype=np.int64) for key in (b"fine_labels", b"coarse_labels")]
        images = np.asarray(data, dtype=np.uint8).reshape(-1, 3, 32, 32)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{file} does not hold CIFAR-100 ({error!r}).") from error
    if any(label.shape != (len(images),) for label in labels):
        raise RequestError(f"{file} holds {len(images)} images but {len(labels[0])} labels.")
    return images, places(labels[0], labels[1], str(file))


def download_cifar100(root: Path) -> None:
    """Fetch CIFAR-100 (169 MB) into ``root``/cifar-100-python with torchvision's downloader, which checks its MD5.

    Imports torch. Raises RequestError when it cannot be fetched.
    """
    from torchvision.datasets import CIFAR100  # type: ignore[import-untyped]

    try:
        CIFAR100(str(root), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise RequestError(f"CIFAR-100 could not be downloaded into {root}: {error}.") from error
