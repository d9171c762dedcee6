"""From the cache to tasks: several tasks as slices of one entry, or one entry per task."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.data.cache import Create, Entry, key_of, open_or_build
from benchmark.data.digest import content_digest
from benchmark.data.images import BrokenImages, Encoded, Preparation, broken, decode_into, find_broken, shortened
from benchmark.data.pixel_statistics import mean_and_std
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, Progress, ScenarioData, Split, Task

SPLITS = ("train", "test")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ADVICE = " Repair or remove what is broken; skip_broken: true in a scenario file of your own leaves it out."

#: Per-channel (mean, std), or None for those of the task's own training images.
Normalisation = tuple[tuple[float, ...], tuple[float, ...]] | None


@dataclass(frozen=True)
class LabelledTask:
    """A task before its images: its classes are numbered on from those of the task before it."""

    name: str
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """One split of one task, found but not decoded."""

    where: str  #: the folder or file, for messages
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]  #: (n,), indices into ``class_names``
    encoded: Callable[[], Iterator[tuple[str, Encoded]]]  #: n pairs (what to call it, image) in the labels' order

    def without(self, places: Collection[int]) -> Listing:
        """The same, the images at these places left out."""
        return dataclasses.replace(
            self,
            labels=np.delete(self.labels, sorted(places)),
            encoded=lambda: (pair for place, pair in enumerate(self.encoded()) if place not in places),
        )


@dataclass(frozen=True)
class TaskSource:
    """Where one task's images come from. ``options``: what besides the files' content decides what is listed;
    ``recorded``: what of that the fingerprint tells too; ``notes``: what ``check`` should say of it."""

    root: Path
    files: tuple[Path, ...]
    listing: Callable[[str], Listing]  #: of "train" or "test"; raises RequestError for what is wrong in it
    options: tuple[object, ...] = ()
    recorded: tuple[object, ...] = ()
    notes: tuple[str, ...] = ()


def normal(name: str) -> str:
    """A class name with its letters composed (Unicode NFC): ``e`` and an accent are ``é``, whoever wrote the file."""
    return unicodedata.normalize("NFC", name)


# --- one entry per task -----------------------------------------------------------------------------------------------


def read_task(
    index: int,
    name: str,
    source: TaskSource,
    preparation: Preparation,
    normalisation: Normalisation,
    augmentation: Augmentation,
    progress: Progress,
    skip_broken: bool = False,
) -> tuple[Task, str]:
    """One task and its fingerprint, decoded on first use. Raises RequestError naming the files and the fault.

    ``skip_broken``: images that do not decode are left out and told in the task's notes.
    """
    content = content_digest(source.root, source.files, progress)
    options = (*source.options, "skip broken") if skip_broken else source.options
    key = key_of(content, options, preparation.size, preparation.resize, preparation.channels)
    kind = "".join(letter if letter.isalnum() else "_" for letter in name)[:40]
    build = _build_without_broken if skip_broken else _build_task
    entry = open_or_build(kind, key, lambda create: build(create, name, source, preparation, progress))
    class_names = tuple(normal(class_name) for class_name in entry.meta["class_names"])
    mean, std = normalisation or (tuple(entry.meta["mean"]), tuple(entry.meta["std"]))
    splits = [Split(entry.arrays[f"{split}_images"], np.array(entry.arrays[f"{split}_labels"])) for split in SPLITS]
    notes = source.notes
    if left_out := entry.meta.get("left_out"):
        notes = (*notes, f"broken images were left out, {len(left_out):,} in all: {shortened(left_out)}")
    task = Task(index, name, class_names, splits[0], splits[1], mean, std, augmentation, notes, preparation.resize)
    return task, _sha256([name, class_names, sorted(entry.digests.items()), *source.recorded])


def _build_task(
    create: Create, name: str, source: TaskSource, preparation: Preparation, progress: Progress
) -> dict[str, Any]:
    listings = {split: source.listing(split) for split in SPLITS}
    check_listings(listings["train"], listings["test"])
    return _write_task(create, name, listings, preparation, progress)


def _build_without_broken(
    create: Create, name: str, source: TaskSource, preparation: Preparation, progress: Progress
) -> dict[str, Any]:
    """As ``_build_task``; every image is decoded once before, to know how many there are."""
    listings = {split: source.listing(split) for split in SPLITS}
    check_listings(listings["train"], listings["test"])
    left_out: list[str] = []
    for split, listing in listings.items():
        what = f"looking for broken images in {name} {split}"
        faults = find_broken(listing.encoded(), len(listing.labels), preparation, what, progress)
        listings[split] = listing.without(faults)
        left_out += faults.values()
    try:
        check_listings(listings["train"], listings["test"])
    except RequestError as error:
        raise RequestError(f"{error} Broken images were left out: {shortened(left_out)}.") from error
    return {**_write_task(create, name, listings, preparation, progress), "left_out": left_out}


def _write_task(
    create: Create, name: str, listings: Mapping[str, Listing], preparation: Preparation, progress: Progress
) -> dict[str, Any]:
    """Decode both splits into the entry; returns its meta. Raises BrokenImages for the broken ones of both."""
    shape = (preparation.channels, preparation.size, preparation.size)
    images = {split: create(f"{split}_images", (len(it.labels), *shape), np.uint8) for split, it in listings.items()}
    faults: list[str] = []
    for split, listing in listings.items():
        create(f"{split}_labels", listing.labels.shape, np.int64)[:] = listing.labels
        try:
            decode_into(images[split], listing.encoded(), preparation, f"decoding {name} {split}", progress)
        except BrokenImages as error:
            faults += error.faults
    if faults:
        raise broken(faults, sum(len(listing.labels) for listing in listings.values()), ADVICE)
    mean, std = mean_and_std(images["train"])
    return {"class_names": list(listings["train"].class_names), "mean": mean, "std": std}


def check_listings(train: Listing, test: Listing) -> None:
    """Raises RequestError unless both splits have the same classes, an image of each, and every label names one."""
    for listing, other in ((test, train), (train, test)):
        for name in listing.class_names:
            if name not in other.class_names:
                raise RequestError(f"Class {name!r} is in {listing.where} but not in {other.where}.")
    if train.class_names != test.class_names:
        raise RequestError(f"The class names in {test.where} stand in another order than in {train.where}.")
    for listing in (train, test):
        outside = (listing.labels < 0) | (listing.labels >= len(listing.class_names))
        if outside.any():
            row = int(outside.argmax())
            raise RequestError(
                f"{listing.where}, row {row}: label {listing.labels[row]} is out of range; there are "
                f"{len(listing.class_names)} classes, 0 to {len(listing.class_names) - 1}."
            )
        absent = set(range(len(listing.class_names))) - set(np.unique(listing.labels).tolist())
        if absent:
            raise RequestError(f"{listing.where} has no image of class {listing.class_names[min(absent)]!r}.")


# --- several tasks in one entry ---------------------------------------------------------------------------------------


def write_sliced(
    create: Create,
    tasks: Sequence[LabelledTask],
    images: Mapping[str, NDArray[np.uint8]],
    labels: Mapping[str, NDArray[np.int64]],
) -> dict[str, Any]:
    """Write both splits ordered by task, class and, within a class, as given; returns the entry's meta.

    ``images`` (n, channels, height, width) and ``labels`` (n,) by split; labels count classes through all tasks.
    """
    meta: list[dict[str, Any]] = [{"name": task.name, "class_names": list(task.class_names)} for task in tasks]
    first = np.concatenate([[0], np.cumsum([len(task.class_names) for task in tasks])])
    digests = [hashlib.sha256() for _ in tasks]
    for split in SPLITS:
        order = np.argsort(labels[split], kind="stable")
        ordered = labels[split][order]
        kept_images = create(f"{split}_images", (len(order), *images[split].shape[1:]), np.uint8)
        kept_images[:] = images[split][order]
        kept_labels = create(f"{split}_labels", (len(order),), np.int64)
        for at in range(len(tasks)):
            start, stop = (int(bound) for bound in np.searchsorted(ordered, first[at : at + 2]))
            kept_labels[start:stop] = ordered[start:stop] - first[at]
            meta[at][split] = [start, stop]
            digests[at].update(kept_images[start:stop].tobytes())
            digests[at].update(kept_labels[start:stop].tobytes())
            if split == "train" and stop > start:
                meta[at]["mean"], meta[at]["std"] = mean_and_std(kept_images[start:stop])
    for about, digest in zip(meta, digests, strict=True):
        about["sha256"] = digest.hexdigest()
    return {"tasks": meta}


def sliced_tasks(
    entry: Entry,
    indices: Sequence[int],
    augmentation: Augmentation,
    where: str,
    normalisation: Normalisation = None,
    notes: tuple[str, ...] = (),
) -> ScenarioData:
    """The tasks with these 1-based indices of an entry that :func:`write_sliced` wrote, normalised by their own
    training images unless ``normalisation`` is given.

    Raises:
        RequestError: a class of one of them has no image in ``where``.
    """
    tasks: list[Task] = []
    digests: list[str] = []
    for index in indices:
        about = entry.meta["tasks"][index - 1]
        splits = {split: _slice(entry, split, about[split]) for split in SPLITS}
        for split, part in splits.items():
            absent = set(range(len(about["class_names"]))) - set(np.unique(part.labels).tolist())
            if absent:
                name = about["class_names"][min(absent)]
                raise RequestError(f"{where} has no {split} image of class {name!r} (task {about['name']!r}).")
        names = tuple(about["class_names"])
        mean, std = normalisation or (tuple(about["mean"]), tuple(about["std"]))
        train, test = splits["train"], splits["test"]
        tasks.append(Task(index, about["name"], names, train, test, mean, std, augmentation, notes))
        digests.append(_sha256([about["name"], names, about["sha256"]]))
    return ScenarioData(tuple(tasks), fingerprint(digests))


def _slice(entry: Entry, split: str, bounds: Sequence[int]) -> Split:
    part = slice(*bounds)
    return Split(entry.arrays[f"{split}_images"][part], np.array(entry.arrays[f"{split}_labels"][part]))


def fingerprint(task_fingerprints: Iterable[str]) -> str:
    """sha256 (hex) of the tasks read, in their order."""
    return _sha256(list(task_fingerprints))


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
