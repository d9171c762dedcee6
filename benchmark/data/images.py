"""One image as a person sees it, as uint8 of the size asked for; and many of them, decoded into one array."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent

EXACT, SHORT_SIDE = "exact", "short-side"
RESIZE_MODES = (EXACT, SHORT_SIDE)

CHUNK = 256  #: images decoded between two calls of ``progress``
THREADS = min(8, os.cpu_count() or 1)
THREADED_BYTES = 16 * 1024  #: encoded size from which Pillow spends its time outside Python's lock

Encoded = bytes | Path


@dataclass(frozen=True)
class Preparation:
    """How images are stored: ``size`` x ``size`` pixels and 1 (grey) or 3 (RGB) ``channels``.

    ``exact`` squashes to that size; ``short-side`` brings the shorter side to it and keeps the centre square.
    Both are bilinear with antialiasing, as torchvision's Resize and CenterCrop on PIL images.
    """

    size: int
    resize: str = SHORT_SIDE
    channels: int = 3


def decode(encoded: Encoded, name: str, preparation: Preparation) -> NDArray[np.uint8]:
    """One image, uint8 (channels, size, size). Raises RequestError naming ``name`` when it does not decode."""
    try:
        with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
            seen = as_seen(image, preparation.channels)
        array = np.asarray(fit(seen, preparation.size, preparation.resize))
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, Image.DecompressionBombError) as error:
        detail = "not an image that can be read" if isinstance(error, UnidentifiedImageError) else str(error)
        raise RequestError(f"{name} does not decode: {detail.rstrip('.') or type(error).__name__}.") from error
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def as_seen(image: Image.Image, channels: int) -> Image.Image:
    """``image`` upright (EXIF), on white where it is transparent, 16 bit scaled to 8, as RGB or grey.

    Raises ValueError for pixels that have no one meaning as 8 bit (floating point, 32-bit integers).
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bit(image)
    elif image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        image = Image.alpha_composite(white, colours)
    return image.convert("RGB" if channels == 3 else "L")


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey (modes I;16* and, from some formats, I) scaled to 8 bit: 65535 becomes 255."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"its pixels are {pixels.dtype}, not 8 or 16 bit")
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))


def fit(image: Image.Image, size: int, resize: str) -> Image.Image:
    """``image`` as ``size`` x ``size``; see :class:`Preparation`."""
    width, height = image.size
    if (width, height) == (size, size):
        return image
    if resize == EXACT:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    short = min(width, height)
    scaled = (size * width // short, size * height // short)  # torchvision truncates the longer side
    if scaled != (width, height):
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def decode_into(
    target: NDArray[np.uint8],
    encoded: Iterable[tuple[str, Encoded]],
    preparation: Preparation,
    what: str,
    progress: Progress = silent,
) -> None:
    """Decode (name, image) pairs into ``target``, uint8 (n, channels, size, size), in their order.

    Large images are decoded by several threads. Raises RequestError naming the first image that does not decode.
    """
    done, total = 0, len(target)
    progress(what, done, total)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(THREADS)) if THREADS > 1 else None
        for chunk in _chunks(encoded):
            work = map if pool is None or _encoded_size(chunk[0][1]) < THREADED_BYTES else pool.map
            for image in work(lambda pair: decode(pair[1], pair[0], preparation), chunk):
                target[done] = image
                done += 1
            progress(what, done, total)


def _chunks(pairs: Iterable[tuple[str, Encoded]]) -> Iterator[list[tuple[str, Encoded]]]:
    remaining = iter(pairs)
    while chunk := list(itertools.islice(remaining, CHUNK)):
        yield chunk


def _encoded_size(encoded: Encoded) -> int:
    return len(encoded) if isinstance(encoded, bytes) else encoded.stat().st_size
