"""What a task's images are before they are decoded: the files found, their labels and class names."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.data.images import Encoded
from benchmark.errors import RequestError

SPLITS = ("train", "test")


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
