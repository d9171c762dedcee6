"""Images in folders: ``<root>/{train,test}/CLASS/*.jpg``, classes sorted by name as torchvision's ImageFolder does.

Where there are only ``<root>/CLASS/*.jpg``, a share of every class can be drawn as its test images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmark.data.listing import SPLITS, Listing, TaskSource, check_listings, normal
from benchmark.data.walk import EXTENSIONS, Walk, by_ending, loose_images, subfolders
from benchmark.errors import RequestError

SEED = 0  #: of the drawn test images

ByClass = Mapping[str, Sequence[Path]]  #: image paths by class, classes and paths sorted


def folder_source(root: Path, share: float | None = None) -> TaskSource:
    """A task from a folder with ``train`` and ``test`` inside; with ``share``, from a folder of class folders, of
    which that share is test images. Raises RequestError naming what is missing or wrong."""
    walk = Walk()
    places = [_given(root, split) for split in SPLITS] if share is None else [root]
    found = [_classes(place, walk) for place in places]
    by_split = dict(zip(SPLITS, found, strict=True)) if share is None else _drawn(root, found[0], share)
    recorded = () if share is None else ("split", share, SEED)
    where = "{}/{}" if share is None else "{} ({})"
    listings = {split: _listing(where.format(root, split), paths) for split, paths in by_split.items()}
    check_listings(listings["train"], listings["test"])
    composed = ("NFC",) if any(normal(name) != name for place in places for name in subfolders(place)) else ()
    return TaskSource(
        root.absolute(),
        tuple(path for paths in found for images in paths.values() for path in images),
        listings.__getitem__,
        ("folders", *recorded, *composed),
        recorded,
        _notes(root, share, [path for place in places for path in loose_images(place)], walk.left_out),
    )


def _notes(root: Path, share: float | None, loose: Sequence[Path], left_out: Sequence[Path]) -> tuple[str, ...]:
    notes = []
    if share is not None:
        notes.append(f"{100 * share:g} % of every class in {root} are its test images, drawn with seed {SEED}")
    if loose:
        notes.append(f"images in no class folder were left out: {len(loose):,} (such as {loose[0]})")
    if left_out:
        notes.append(f"files whose ending is not that of an image were left out: {by_ending(left_out)}")
    return tuple(notes)


def _given(root: Path, split: str) -> Path:
    """The folder of a split. Raises RequestError when it is not there, with what may be there instead."""
    folder = root / split
    if folder.is_dir():
        return folder
    told = f"There is no folder {folder}; expected is {root}/{{train,test}}/CLASS/*.jpg."
    base = root / "train" if split == "test" else root
    if base.is_dir() and not (root / "test").is_dir() and (names := sorted(subfolders(base))):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        told += (
            f" {base} holds {shown}: if these are the classes, give the task folder: {base} and split: 0.2, and a "
            "fifth of every class is taken as test images."
        )
    raise RequestError(told)


def _classes(folder: Path, walk: Walk) -> ByClass:
    """Image paths by class. Names that differ only in how their letters are composed (NFC, NFD) are one class.

    Raises RequestError when there is no class, or a class without images.
    """
    names: dict[str, list[str]] = {}
    for name in sorted(subfolders(folder)):
        names.setdefault(normal(name), []).append(name)
    if not names:
        raise RequestError(f"{folder} holds no class folders; expected is {folder}/CLASS/*.jpg.")
    paths: dict[str, list[Path]] = {}
    for name in sorted(names):
        paths[name] = [path for spelled in names[name] for path in walk.images_below(folder / spelled)]
        if not paths[name]:  # before the next class is walked through: this may be half a disk, and no data set
            others = walk.left_out_below(folder / name)
            only = f", only {by_ending(others)}" if others else ""
            raise RequestError(f"Class folder {folder / name} holds no images ({', '.join(EXTENSIONS)}){only}.")
    return paths


def _listing(where: str, paths: ByClass) -> Listing:
    """A split from its image paths by class, in the order given."""
    labels = np.repeat(np.arange(len(paths), dtype=np.int64), [len(images) for images in paths.values()])
    flat = [path for images in paths.values() for path in images]
    return Listing(where, tuple(paths), labels, lambda: ((str(path), path) for path in flat))


def _drawn(root: Path, whole: ByClass, share: float) -> dict[str, ByClass]:
    """``share`` of every class, rounded, at least one image and never all, is test; by split.

    Drawn by numpy's frozen generator (MT19937) from ``SEED``, for every class afresh: a class that grows leaves the
    others' split as it was. Raises RequestError when there is a split already, or a class too small for one.
    """
    if all((root / split).is_dir() for split in SPLITS):
        raise RequestError(f"{root} holds train and test already: leave out split.")
    parts: dict[str, dict[str, Sequence[Path]]] = {split: {} for split in SPLITS}
    for name, images in whole.items():
        if len(images) < 2:
            raise RequestError(f"Class folder {root / name} holds 1 image, too few to split into train and test.")
        count = min(max(int(share * len(images) + 0.5), 1), len(images) - 1)
        test = set(np.random.RandomState(SEED).permutation(len(images))[:count].tolist())
        parts["train"][name] = [path for at, path in enumerate(images) if at not in test]
        parts["test"][name] = [path for at, path in enumerate(images) if at in test]
    return dict(parts)
