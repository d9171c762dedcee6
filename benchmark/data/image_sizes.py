"""How much room images will take when they are decoded, from their headers alone."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.data.images import EXACT, Encoded, Preparation, opened, scaled_size
from benchmark.scenarios.contract import Progress

REPORT_EVERY = 500  #: images between two calls of ``progress``


def stored_bytes(
    encoded: Iterable[tuple[str, Encoded]], total: int, preparation: Preparation, what: str, progress: Progress
) -> int:
    """Bytes of all images as ``preparation`` has them; those whose header cannot be read count for nothing."""
    size, needed = preparation.size, 0
    for place, (_, image) in enumerate(encoded):
        if place % REPORT_EVERY == 0:
            progress(what, place, total)
        if preparation.resize == EXACT or not preparation.whole:
            needed += size * size * preparation.channels
        elif image is not None:
            needed += _pixels_at(image, size) * preparation.channels
    progress(what, total, total)
    return needed


def _pixels_at(image: Encoded, size: int) -> int:
    """Turning an image upright changes nothing about it."""
    assert image is not None
    try:
        with opened(image) as header:
            wide, tall = scaled_size(header.width, header.height, size)
            return wide * tall
    except Exception:  # told when it is decoded
        return 0
