"""From the cache to tasks: several tasks as slices of one entry, or one entry per task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.data.cache import Create, Entry, key_of, open_or_build
from benchmark.data.digest import content_digest
from benchmark.data.images import BrokenImages, Preparation, broken, decode_into, find_broken, shortened
from benchmark.data.listing import SPLITS, Listing, TaskSource, check_listings, normal
from benchmark.data.pixel_cache import Wanted, announce, opened
from benchmark.data.pixel_statistics import mean_and_std
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, Progress, ScenarioData, Split, Task

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


# --- one entry per task -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskPlan:
    """One task to be read: from where, how its images are stored, and what runs do with them."""

    index: int  #: 1-based, in the scenario
    name: str
    source: TaskSource
    preparation: Preparation
    normalisation: Normalisation
    augmentation: Augmentation
    skip_broken: bool = False  #: images that do not decode are left out and told in the task's notes


def read_tasks(plans: Sequence[TaskPlan], progress: Progress) -> ScenarioData:
    """The tasks, decoded on first use; of large images it is said before how much room they take.

    Raises:
        RequestError: naming the files and the fault; or the disk has no room for the images.
    """
    in_a_file = [_in_a_file(plan, progress) for plan in plans]
    announce([wanted for wanted in in_a_file if wanted is not None], progress)
    found = [_read(plan, wanted, progress) for plan, wanted in zip(plans, in_a_file, strict=True)]
    return ScenarioData(tuple(task for task, _ in found), fingerprint(mark for _, mark in found))


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
    """One task and its fingerprint, decoded on first use. Raises RequestError naming the files and the fault."""
    plan = TaskPlan(index, name, source, preparation, normalisation, augmentation, skip_broken)
    return _read(plan, _in_a_file(plan, progress), progress)


def _read(plan: TaskPlan, in_a_file: Wanted | None, progress: Progress) -> tuple[Task, str]:
    name, source, preparation = plan.name, plan.source, plan.preparation
    images: Mapping[str, Any]
    if in_a_file is not None:
        entry, images = opened(in_a_file, progress)
    else:
        build = _build_without_broken if plan.skip_broken else _build_task
        key = _key(plan, progress)
        entry = open_or_build(_kind(name), key, lambda create: build(create, name, source, preparation, progress))
        images = {split: entry.arrays[f"{split}_images"] for split in SPLITS}
    class_names = tuple(normal(class_name) for class_name in entry.meta["class_names"])
    mean, std = plan.normalisation or (tuple(entry.meta["mean"]), tuple(entry.meta["std"]))
    train, test = (Split(images[split], np.array(entry.arrays[f"{split}_labels"])) for split in SPLITS)
    notes = source.notes
    if left_out := entry.meta.get("left_out"):
        notes = (*notes, f"broken images were left out, {len(left_out):,} in all: {shortened(left_out)}")
    resize, augmentation = preparation.resize, plan.augmentation
    task = Task(plan.index, name, class_names, train, test, mean, std, augmentation, notes, resize, preparation.whole)
    return task, _sha256([name, class_names, sorted(entry.digests.items()), *source.recorded])


def _in_a_file(plan: TaskPlan, progress: Progress) -> Wanted | None:
    """What to ask the cache for where the images stay in a file, else None."""
    if not (plan.preparation.whole or plan.preparation.in_a_file):
        return None
    return Wanted(
        plan.name,
        _kind(plan.name),
        _key(plan, progress),
        lambda: {split: plan.source.listing(split) for split in SPLITS},
        plan.preparation,
        plan.skip_broken,
        ADVICE,
    )


def _key(plan: TaskPlan, progress: Progress) -> str:
    how = plan.preparation
    content = content_digest(plan.source.root, plan.source.files, progress)
    options = (*plan.source.options, "skip broken") if plan.skip_broken else plan.source.options
    kept = ("whole",) if how.whole else ("in a file",) if how.in_a_file else ()
    return key_of(content, options, how.size, how.resize, how.channels, *kept)


def _kind(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)[:40]


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
