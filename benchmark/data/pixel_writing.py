"""Writing images of any size one after another, so that a process that was stopped is gone on with.

Beside the pixels lies an index with every image's size and checksum: what a killed process left is known to be whole,
or is decoded again.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.data.cache import BY_IMAGE, checksum, file_digest
from benchmark.data.images import Preparation, broken, decode, decoded, shortened
from benchmark.data.listing import SPLITS, Listing, check_listings
from benchmark.data.pixel_statistics import Moments
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress

INDEX = np.dtype([("height", "<u4"), ("width", "<u4"), ("crc32", "<u4")])  #: zeros: an image that does not decode
HEADER = 128  #: bytes of a .npy file before its content, for one dimension


@dataclass(frozen=True)
class Writing:
    """What is written: one task's images, by ``preparation``."""

    name: str
    preparation: Preparation
    skip_broken: bool
    advice: str  #: what to do about broken images


def pixels_of(folder: Path, split: str) -> Path:
    """The file of a split's images."""
    return folder / f"{split}_images.npy"


def write_images(
    folder: Path, wanted: Writing, listings: Mapping[str, Listing], progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode both splits into ``folder``, from where an earlier process was stopped.

    Returns:
        The descriptions of all arrays, and what is to be kept beside them.

    Raises:
        RequestError: images are broken.
        OSError: the folder cannot be written.
    """
    faults: dict[str, dict[int, str]] = {}
    for split, listing in listings.items():
        faults[split] = _append(folder, wanted, split, listing, progress)
    told = [fault for of_split in faults.values() for fault in of_split.values()]
    if told and not wanted.skip_broken:
        raise broken(told, sum(len(listing.labels) for listing in listings.values()), wanted.advice)
    kept = {split: listing.without(faults[split]) for split, listing in listings.items()}
    try:
        check_listings(kept["train"], kept["test"])
    except RequestError as error:
        raise RequestError(f"{error} Broken images were left out: {shortened(told)}.") from error
    arrays: dict[str, Any] = {}
    meta: dict[str, Any] = {"class_names": list(kept["train"].class_names), "channels": wanted.preparation.channels}
    for split, listing in kept.items():
        index = _index(folder, split)
        index = index[index["height"] > 0]
        digest, moments = _finish(folder, wanted, split, index, progress)
        arrays[f"{split}_images"] = {
            "shape": [_size(index, wanted)],
            "dtype": "uint8",
            "sha256": digest,
            BY_IMAGE: True,
        }
        table = np.stack([index[name].astype(np.int64) for name in ("height", "width", "crc32")], 1)
        arrays[f"{split}_index"] = _saved(folder / f"{split}_index.npy", table)
        arrays[f"{split}_labels"] = _saved(folder / f"{split}_labels.npy", listing.labels)
        if split == "train":
            meta["mean"], meta["std"] = moments.mean_and_std()
    for split in SPLITS:
        (folder / f"{split}.index").unlink()
    return arrays, {**meta, "left_out": told} if wanted.skip_broken else meta


def _append(folder: Path, wanted: Writing, split: str, listing: Listing, progress: Progress) -> dict[int, str]:
    """Decode what is not there yet; places of the broken images and a sentence for each."""
    what = f"decoding {wanted.name} {split}"
    faults: dict[int, str] = {}
    pixels, places = pixels_of(folder, split), folder / f"{split}.index"
    with pixels.open("ab+") as file, places.open("ab+") as index:
        done = _whole(file, index, wanted)
        total = len(listing.labels)
        for place, (name, image) in enumerate(islice(listing.encoded(), len(done))):
            if not done[place]["height"]:
                with _sentence_of(faults, place):
                    decode(image, name, wanted.preparation)
        rest = islice(listing.encoded(), len(done), None)
        found = decoded(rest, total, wanted.preparation, what, progress, len(done))
        for place, decoded_image in enumerate(found, start=len(done)):
            about = np.zeros((), dtype=INDEX)
            if isinstance(decoded_image, RequestError):
                faults[place] = str(decoded_image)
            else:
                content = np.ascontiguousarray(decoded_image.transpose(1, 2, 0))
                about["height"], about["width"] = content.shape[:2]
                about["crc32"] = zlib.crc32(content.data)
                file.write(content.data)
            file.flush()  # before the index, which a killed process must not leave ahead of it
            index.write(about.tobytes())
            index.flush()
    return faults


@contextmanager
def _sentence_of(faults: dict[int, str], place: int) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        faults[place] = str(error)


def _whole(file: IO[bytes], index: IO[bytes], wanted: Writing) -> NDArray[Any]:
    """The index as far as its images are there and right; both files are cut to that."""
    index.seek(0)
    content = index.read()
    found = np.frombuffer(content[: len(content) // INDEX.itemsize * INDEX.itemsize], dtype=INDEX)
    file.seek(HEADER)
    end, count = HEADER, 0
    for about in found:
        size = int(about["height"]) * int(about["width"]) * wanted.preparation.channels
        image = file.read(size)
        if len(image) < size or (size and zlib.crc32(image) != about["crc32"]):
            break
        end, count = end + size, count + 1
    if not count:
        end = HEADER
    file.truncate(end)  # also makes room for the header
    index.truncate(count * INDEX.itemsize)
    return found[:count]


def _index(folder: Path, split: str) -> NDArray[Any]:
    return np.frombuffer((folder / f"{split}.index").read_bytes(), dtype=INDEX)


def _size(index: NDArray[Any], wanted: Writing) -> int:
    return int((index["height"].astype(np.int64) * index["width"] * wanted.preparation.channels).sum())


def _finish(folder: Path, wanted: Writing, split: str, index: NDArray[Any], progress: Progress) -> tuple[str, Moments]:
    """Write the header, flush; sha256 (hex) of the whole file, and the mean of its pixels."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (_size(index, wanted),)}
    )
    assert len(header.getvalue()) == HEADER
    digest, moments = hashlib.sha256(header.getvalue()), Moments(wanted.preparation.channels)
    with pixels_of(folder, split).open("rb+") as file:
        file.write(header.getvalue())
        what = f"checking {wanted.name} {split}"
        for place, about in enumerate(index):
            if place % 500 == 0:
                progress(what, place, len(index))
            image = file.read(int(about["height"]) * int(about["width"]) * wanted.preparation.channels)
            if zlib.crc32(image) != about["crc32"]:
                raise OSError(f"image {place} of {wanted.name} {split} is not as it was written")
            digest.update(image)
            if split == "train":
                moments.add(np.frombuffer(image, dtype=np.uint8).reshape(-1, wanted.preparation.channels))
        progress(what, len(index), len(index))
        os.fsync(file.fileno())
    return digest.hexdigest(), moments


def _saved(path: Path, array: NDArray[Any]) -> dict[str, Any]:
    np.save(path, array)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": file_digest(path),
        "crc32": checksum(path),
    }
