"""Sizes in words, in the unit that fits."""

from __future__ import annotations

UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def in_units(count: float) -> str:
    """Bytes in the largest unit of which there is about one (powers of 1024): ``1 byte``, ``812 bytes``, ``1.5 KiB``,
    ``64 MiB``, ``-2.3 GiB``."""
    if abs(count) < 1000:
        return f"{round(count)} byte{'' if abs(round(count)) == 1 else 's'}"
    value, place = count / 1024, 0
    while abs(value) >= 999.5 and place < len(UNITS) - 1:
        value, place = value / 1024, place + 1
    text = f"{value:.1f}" if abs(value) < 99.95 else f"{value:,.0f}"
    return f"{text.removesuffix('.0')} {UNITS[place]}"
