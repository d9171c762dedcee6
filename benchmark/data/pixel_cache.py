"""Large images in the cache: of any size, written one by one, and gone on with where a process was stopped.

An entry is made in a folder of its own, under a lock, which becomes the entry when it is whole. Beside the pixels lies
an index with every image's size and checksum, so what a killed process left is known to be whole or is decoded again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.cache import Entry, cache_folder, describe, entry_folder, open_entry, require_room, unwritable
from benchmark.data.image_sizes import stored_bytes
from benchmark.data.images import Preparation
from benchmark.data.listing import SPLITS, Listing, check_listings
from benchmark.data.pixel_file import PixelFile
from benchmark.data.pixel_writing import HEADER, Writing, pixels_of, write_images
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress
from results.atomic import write_json
from results.units import in_units

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NEEDED = "needed.json"


@dataclass(frozen=True)
class Wanted:
    """One task's images, to be had from the cache. ``listings``: its splits, found when they must be decoded."""

    name: str
    kind: str
    key: str
    listings: Callable[[], Mapping[str, Listing]]
    preparation: Preparation
    skip_broken: bool = False
    advice: str = ""  #: what to do about broken images

    @property
    def folder(self) -> Path:
        """Where the finished entry lies."""
        return entry_folder(self.kind, self.key)

    @property
    def unfinished(self) -> Path:
        """Where it is made."""
        return self.folder.with_name(f"{self.folder.name}.unfinished")


def announce(all_wanted: Sequence[Wanted], progress: Progress) -> None:
    """Say how much room the images need that are not decoded yet, all of them together.

    Raises:
        RequestError: the disk has less, or the cache cannot be written.
    """
    absent = [wanted for wanted in all_wanted if open_entry(wanted.folder) is None]
    if not absent:
        return
    try:
        needed = sum(_still_needed(wanted, progress) for wanted in absent)
        free = require_room(needed, cache_folder())
    except OSError as error:
        raise unwritable(error) from error
    names = ", ".join(wanted.name for wanted in absent)
    progress(f"decoding {names}: {in_units(needed)} in {cache_folder()}, where {in_units(free)} are free", 0, 0)


def _still_needed(wanted: Wanted, progress: Progress) -> int:
    """Bytes to be written yet. The images' headers are read once, the result is kept beside what is made."""
    wanted.unfinished.mkdir(parents=True, exist_ok=True)
    told = wanted.unfinished / NEEDED
    try:
        needed = int(json.loads(told.read_text(encoding="utf-8"))["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        needed = 0
        for split, listing in wanted.listings().items():
            what = f"measuring {wanted.name} {split}"
            needed += stored_bytes(listing.encoded(), len(listing.labels), wanted.preparation, what, progress)
        write_json(told, {"bytes": needed})
    written = sum(pixels_of(wanted.unfinished, split).stat().st_size for split in SPLITS if _begun(wanted, split))
    return max(0, needed - written)


def _begun(wanted: Wanted, split: str) -> bool:
    return pixels_of(wanted.unfinished, split).is_file()


def opened(wanted: Wanted, progress: Progress) -> tuple[Entry, dict[str, PixelFile]]:
    """The entry and its images by split, decoded where it is absent or damaged.

    Raises:
        RequestError: images are broken, or the cache cannot be written.
    """
    found = open_entry(wanted.folder)
    if found is None:
        try:
            found = _made(wanted, progress)
        except OSError as error:
            raise unwritable(error) from error
    return found, {split: _pixel_file(wanted.folder, found, split) for split in SPLITS}


def _pixel_file(folder: Path, entry: Entry, split: str) -> PixelFile:
    index: Any = entry.arrays[f"{split}_index"]
    shapes = np.stack((index[:, 0], index[:, 1]), 1).astype(np.int64)
    checksums = index[:, 2].astype(np.uint32)
    forget = (folder / "entry.json").unlink
    return PixelFile(
        pixels_of(folder, split), HEADER, shapes, checksums, entry.meta["channels"], lambda: forget(missing_ok=True)
    )


def _made(wanted: Wanted, progress: Progress) -> Entry:
    """The entry, after this process has made it or another one has. Raises OSError."""
    with _locked(wanted.unfinished):
        if (found := open_entry(wanted.folder)) is not None:  # another process was at it
            shutil.rmtree(wanted.unfinished)
            return found
        listings = wanted.listings()
        check_listings(listings["train"], listings["test"])
        what = Writing(wanted.name, wanted.preparation, wanted.skip_broken, wanted.advice)
        try:
            arrays, meta = write_images(wanted.unfinished, what, listings, progress)
        except RequestError:  # what is to be repaired makes another entry
            shutil.rmtree(wanted.unfinished)
            raise
        describe(wanted.unfinished, arrays, meta)
        (wanted.unfinished / NEEDED).unlink(missing_ok=True)
        shutil.rmtree(wanted.folder, ignore_errors=True)  # a damaged one
        wanted.unfinished.rename(wanted.folder)
    found = open_entry(wanted.folder)
    if found is None:
        raise RequestError(f"The cache entry {wanted.folder} changed while it was written; delete it and try again.")
    return found


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder, ours alone; it waits for another process that is at it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            yield
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            ours = False
            with suppress(FileNotFoundError):  # it became the entry meanwhile
                ours = folder.stat().st_ino == os.fstat(handle).st_ino
            if ours:
                yield
                return
        finally:
            os.close(handle)
