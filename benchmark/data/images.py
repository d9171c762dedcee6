"""One image as a person sees it, as uint8 of the size asked for; and many of them, decoded into one array."""

from __future__ import annotations

import functools
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchmark.data.orientation import orientation
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent
from results.atomic import require_regular

EXACT, SHORT_SIDE = "exact", "short-side"
RESIZE_MODES = (EXACT, SHORT_SIDE)

#: Pillow's names of the formats that are read. Others may start a program, as EPS starts Ghostscript.
#: TGA comes last: it has no signature to be known by.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000", "PPM", "TGA")
MOST_PIXELS = 175_000_000  #: of an image, and of what the short side's resizing makes of it; cameras have 108, 151
LARGEST_RATIO = 100  #: of an image's longer side to its shorter one
ONE_AT_A_TIME = 20_000_000  #: pixels from which an image has the memory to itself
ROWS_AT_A_TIME = 1024

CHUNK = 256  #: images decoded between two calls of ``progress``; fewer where they are large
CHUNK_BYTES = 64 * 2**20  #: of encoded images held in memory, about
THREADS = min(8, os.cpu_count() or 1)
THREADED_BYTES = 16 * 1024  #: encoded size from which Pillow spends its time outside Python's lock

SHOWN = 10  #: broken images named in an error

Encoded = bytes | Path | None  #: an image's file or content; None: the source has a row for it, but no bytes

_large = threading.Lock()


class Refused(ValueError):
    """An image that is not decoded: what it has, and what it may have, to stand after its name."""


class BrokenImages(RequestError):
    """Images that do not decode. ``faults``: a sentence for each, naming it; ``total``: images among them."""

    def __init__(self, sentence: str, faults: Sequence[str] = (), total: int = 0) -> None:
        super().__init__(sentence)
        self.faults, self.total = tuple(faults), total


def broken(faults: Sequence[str], total: int, advice: str = "") -> BrokenImages:
    """The error that names the first ten of the ``faults`` among ``total`` images."""
    told = faults[0]
    if len(faults) > 1:
        told = f"{len(faults):,} of {total:,} images are broken: {shortened(faults)}."
    return BrokenImages(told + advice, faults, total)


def shortened(faults: Sequence[str]) -> str:
    """The first ten, and how many more there are."""
    more = f"; and {len(faults) - SHOWN:,} more" if len(faults) > SHOWN else ""
    return "; ".join(fault.rstrip(".") for fault in faults[:SHOWN]) + more


@dataclass(frozen=True)
class Preparation:
    """How images are stored: ``size`` x ``size`` pixels and 1 (grey) or 3 (RGB) ``channels``.

    ``exact`` squashes to that size; ``short-side`` brings the shorter side to it and keeps the centre square, or, of a
    ``whole`` image, all of it. Each is bilinear with antialiasing, as torchvision's Resize and CenterCrop on Pillow's.
    ``in_a_file``: the images stay in their file (``benchmark.data.pixel_file``); those that are whole always do.
    """

    size: int
    resize: str = SHORT_SIDE
    channels: int = 3
    whole: bool = False
    in_a_file: bool = False


def decode(encoded: Encoded, name: str, preparation: Preparation) -> NDArray[np.uint8]:
    """One image, uint8 (channels, size, size), a whole one (channels, height, width); of an animation the first frame.

    Raises RequestError naming ``name`` when it does not decode, is no ordinary file, or is too large.
    """
    if encoded is None:
        raise RequestError(f"{name} has no image bytes.")
    try:
        with opened(encoded) as image:
            check_size(*image.size)
            with _large if image.width * image.height > ONE_AT_A_TIME else nullcontext():
                seen = as_seen(image, preparation.channels)
                array = np.asarray(fit(seen, preparation.size, preparation.resize, preparation.whole))
    except Refused as error:
        raise RequestError(f"{name} {error}.") from error
    except UnidentifiedImageError as error:
        raise RequestError(f"{name} does not decode: not an image that can be read.") from error
    except Exception as error:  # a decoder raises nearly anything on a damaged file
        detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise RequestError(f"{name} does not decode: {detail}.") from error
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def opened(encoded: bytes | Path) -> Image.Image:
    """The image, its header read. Raises Refused for a pipe or a device, which is not opened; and what Pillow does."""
    if isinstance(encoded, Path):
        try:
            require_regular(encoded)
        except OSError as error:
            raise Refused(f"cannot be read: {error.strerror}") from error
    try:
        return Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded, "r", _formats())
    except Image.DecompressionBombError as error:  # Pillow's own bound, a little above ours
        pixels = "".join(f"{int(count):,}" for count in re.findall(r"\((\d+) pixels\)", str(error))) or "too many"
        raise Refused(f"has {pixels} pixels; an image may have at most {MOST_PIXELS:,}") from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow reads: AVIF came with 11.3."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_size(width: int, height: int) -> None:
    """Raises Refused for more pixels, or a longer side, than an image may have. Nothing is decoded for it."""
    if width * height > MOST_PIXELS:
        raise Refused(f"has {width:,} x {height:,} pixels; an image may have at most {MOST_PIXELS:,}")
    if max(width, height) > LARGEST_RATIO * min(width, height):
        raise Refused(
            f"has {width:,} x {height:,} pixels; its longer side may be at most {LARGEST_RATIO} times the shorter"
        )


def as_seen(image: Image.Image, channels: int) -> Image.Image:
    """``image`` upright (EXIF), on white where it is transparent, 16 bit scaled to 8, as RGB or grey.

    Raises ValueError for pixels that have no one meaning as 8 bit (floating point, 32-bit integers).
    """
    image.load()
    if (turn := orientation(image)) is not None:
        image = image.transpose(turn)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bit(image)
    mode = "RGB" if channels == 3 else "L"
    if image.has_transparency_data:
        return _on_white(image, mode)
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image, mode: str) -> Image.Image:
    """``image`` on white, some rows after others: four copies of a large one would not fit."""
    seen = Image.new(mode, image.size)
    for top in range(0, image.height, ROWS_AT_A_TIME):
        colours = image.crop((0, top, image.width, min(top + ROWS_AT_A_TIME, image.height))).convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        seen.paste(Image.alpha_composite(white, colours).convert(mode), (0, top))
    return seen


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey (modes I;16* and, from some formats, I) scaled to 8 bit: 65535 becomes 255."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"its pixels are {pixels.dtype}, not 8 or 16 bit")
    scaled = pixels.astype(np.uint32)
    scaled += 128
    scaled //= 257
    return Image.fromarray(scaled.astype(np.uint8))


def fit(image: Image.Image, size: int, resize: str, whole: bool = False) -> Image.Image:
    """``image`` as ``size`` x ``size``, or with that shorter side; see :class:`Preparation`."""
    width, height = image.size
    if (width, height) == (size, size):
        return image
    if resize == EXACT:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    scaled = scaled_size(width, height, size)
    if scaled[0] * scaled[1] > MOST_PIXELS:
        raise Refused(
            f"has {width:,} x {height:,} pixels; with a shorter side of {size:,} they would be {scaled[0]:,} x "
            f"{scaled[1]:,}, more than {MOST_PIXELS:,}"
        )
    if scaled != (width, height):
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    if whole:
        return image
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height with that shorter side; torchvision truncates the longer one."""
    short = min(width, height)
    return short_side * width // short, short_side * height // short


def decode_into(
    target: NDArray[np.uint8],
    encoded: Iterable[tuple[str, Encoded]],
    preparation: Preparation,
    what: str,
    progress: Progress = silent,
) -> None:
    """Decode (name, image) pairs into ``target``, uint8 (n, channels, size, size), in their order.

    Raises BrokenImages, at the end, naming those that do not decode.
    """
    faults: list[str] = []
    for place, image in enumerate(decoded(encoded, len(target), preparation, what, progress)):
        if isinstance(image, RequestError):
            faults.append(str(image))
        else:
            target[place] = image
    if faults:
        raise broken(faults, len(target))


def find_broken(
    encoded: Iterable[tuple[str, Encoded]], total: int, preparation: Preparation, what: str, progress: Progress = silent
) -> dict[int, str]:
    """Places of the images that do not decode, with a sentence for each; nothing is kept of the others."""
    found = enumerate(decoded(encoded, total, preparation, what, progress))
    return {place: str(image) for place, image in found if isinstance(image, RequestError)}


def decoded(
    encoded: Iterable[tuple[str, Encoded]],
    total: int,
    preparation: Preparation,
    what: str,
    progress: Progress,
    done: int = 0,
) -> Iterator[NDArray[np.uint8] | RequestError]:
    """Every image or what is wrong with it, in order. Large ones are decoded by several threads.

    Args:
        done: how many of ``total`` an earlier process has decoded, which are not among ``encoded``.
    """

    def attempt(pair: tuple[str, Encoded]) -> NDArray[np.uint8] | RequestError:
        try:
            return decode(pair[1], pair[0], preparation)
        except RequestError as error:
            return error

    progress(what, done, total)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(THREADS)) if THREADS > 1 else None
        for chunk in _chunks(encoded):
            work = map if pool is None or _encoded_size(chunk[0][1]) < THREADED_BYTES else pool.map
            yield from work(attempt, chunk)
            done += len(chunk)
            progress(what, done, total)


def _chunks(pairs: Iterable[tuple[str, Encoded]]) -> Iterator[list[tuple[str, Encoded]]]:
    chunk: list[tuple[str, Encoded]] = []
    held = 0
    for pair in pairs:
        chunk.append(pair)
        held += len(pair[1]) if isinstance(pair[1], bytes) else 0
        if len(chunk) == CHUNK or held > CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _encoded_size(encoded: Encoded) -> int:
    if isinstance(encoded, Path):
        try:
            return encoded.stat().st_size
        except OSError:  # told when it is decoded
            return 0
    return len(encoded or b"")
