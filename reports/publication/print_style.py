"""How configurations are told apart on paper, in grey as well: marker, dash pattern, hatch and lightness.

A method keeps the hue and the marker that it has on the page. Its lightness is moved so that no two configurations of
a figure have the same: steps of CIE L* from dark to light, the methods' own order kept. L* is 116 Y^(1/3) - 16 of the
relative luminance Y (IEC 61966-2-1 for sRGB).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D

from reports.configuration import Configuration

#: inches: one column and both columns of the usual two-column styles
COLUMN, PAGE = 3.3, 7.0
#: points of every letter in a figure
LETTERS = 8
#: lightness of the darkest and of the lightest line; white paper has 100
DARKEST, LIGHTEST = 15.0, 66.0

_MARKERS = "osD^vPX*hp<>dH8"
_DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.6)), (0, (1, 1.3)), (0, (5, 1.4, 1, 1.4)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)),
    (0, (2.5, 1)), (0, (9, 1.4, 1, 1.4)), (0, (1, 2.6)), (0, (5, 1.2, 5, 3)), (0, (9, 1.2, 3, 1.2)), (0, (4, 4)),
)  # fmt: skip
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "||||", "oooo", "++++", "//", "..", "xx")

_STYLE: Any = {
    "font.family": ["STIXGeneral", "DejaVu Sans"], "font.size": LETTERS, "axes.titlesize": LETTERS,
    "axes.labelsize": LETTERS, "xtick.labelsize": LETTERS, "ytick.labelsize": LETTERS, "legend.fontsize": LETTERS,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#d9d9d9", "grid.linewidth": 0.4, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.minor.width": 0.4, "ytick.minor.width": 0.4, "lines.linewidth": 1.0,
    "lines.markersize": 3.6, "lines.markeredgewidth": 0.8, "legend.frameon": False, "legend.handlelength": 2.3,
    "legend.columnspacing": 1.0, "legend.handletextpad": 0.5, "legend.labelspacing": 0.3, "hatch.linewidth": 0.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white", "pdf.fonttype": 42, "ps.fonttype": 42, "text.parse_math": False,
    "text.usetex": False,
}  # fmt: skip


@dataclass(frozen=True)
class Print:
    """How one configuration is printed; no two of a figure share a mark, dashes, a hatch or a lightness."""

    colour: str
    marker: str
    filled: bool  #: False: the marker is an outline
    dashes: Any  #: matplotlib's linestyle
    hatch: str

    @property
    def line(self) -> dict[str, Any]:
        """Options of a line with markers."""
        face = self.colour if self.filled else "white"
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dashes, "markerfacecolor": face}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw inside this: 8 pt letters, thin lines, fonts embedded as TrueType."""
    with matplotlib.rc_context(_STYLE):
        yield


def prints(items: Sequence[Configuration]) -> dict[str, Print]:
    """How each of ``items`` is printed, by label: as many as there are dash patterns stay apart in everything."""
    looks = [item.facts.look for item in items]
    by_lightness = sorted(range(len(items)), key=lambda place: (lightness(looks[place].light), place))
    steps = np.linspace(DARKEST, LIGHTEST, max(len(items), 2))
    targets = {place: float(steps[rank]) for rank, place in enumerate(by_lightness)}
    marks = _marks(items)
    return {
        item.label: Print(
            with_lightness(looks[place].light, targets[place]),
            *marks[place],
            _DASHES[place % len(_DASHES)],
            HATCHES[place % len(HATCHES)],
        )
        for place, item in enumerate(items)
    }


def _marks(items: Sequence[Configuration]) -> dict[int, tuple[str, bool]]:
    """Marker and whether it is filled, by place: a method's first configuration has its own, the second its outline."""
    found: dict[int, tuple[str, bool]] = {}
    others = [(mark, filled) for filled in (True, False) for mark in _MARKERS]
    for place in sorted(range(len(items)), key=lambda place: (items[place].variant, place)):
        own, variant = items[place].facts.look.marker, items[place].variant
        wanted = [(own, variant == 0)] if variant == 0 or (variant == 1 and own in Line2D.filled_markers) else []
        free = [mark for mark in (*wanted, *others) if mark not in found.values()]
        found[place] = free[0] if free else others[place % len(others)]
    return found


def lightness(colour: str) -> float:
    """CIE L* of ``#rrggbb``: 0 black, 100 white."""
    return _lightness(_channels(colour))


def with_lightness(colour: str, target: float) -> str:
    """``#rrggbb`` mixed with black or white until its L* is ``target`` (within 0.5)."""
    own = _channels(colour)
    end = (0.0, 0.0, 0.0) if _lightness(own) > target else (1.0, 1.0, 1.0)
    low, high = 0.0, 1.0  # share of black or white
    for _ in range(20):
        share = (low + high) / 2
        mixed = _lightness(_mixed(own, end, share))
        beyond = mixed < target if end[0] == 0 else mixed > target
        low, high = (low, share) if beyond else (share, high)
    return "#" + "".join(f"{round(255 * value):02x}" for value in _mixed(own, end, (low + high) / 2))


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _mixed(a: tuple[float, ...], b: tuple[float, ...], share: float) -> tuple[float, float, float]:
    red, green, blue = ((1 - share) * one + share * other for one, other in zip(a, b, strict=True))
    return red, green, blue


def _lightness(channels: tuple[float, float, float]) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * luminance ** (1 / 3) - 16 if luminance > 216 / 24389 else luminance * 24389 / 27
