"""One colour and one marker per method, everywhere: figures, legends, tables; readable by colour-blind people.

Every colour has a light-page and a dark-page shade with a contrast of at least 3:1 against its page. Figures are drawn
in the light shades; the page swaps them through CSS variables, so the same SVG serves both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    name: str  #: CSS variable without dashes: ``m-packnet``
    light: str
    dark: str
    marker: str  #: matplotlib's


@dataclass(frozen=True)
class Ink:
    """A colour of the page that figures share with it."""

    name: str
    light: str
    dark: str


INK = Ink("ink", "#1c2127", "#e3e7ec")
MUTED = Ink("muted", "#59636e", "#9aa4af")
GRID = Ink("rule", "#d8dde3", "#2f3740")
PAPER = Ink("paper", "#ffffff", "#12161b")
INKS = (INK, MUTED, GRID, PAPER)

#: The parts of a training step, cool for the network's own arithmetic, warm for what masks add.
PART_INKS: dict[str, Ink] = {
    "data": Ink("p-data", "#3f8f76", "#6fc0a3"),
    "forward": Ink("p-forward", "#5388b6", "#8ab6dd"),
    "backward": Ink("p-backward", "#2a5784", "#5c93c9"),
    "masks": Ink("p-masks", "#cc6a12", "#f0a25e"),
    "optimizer": Ink("p-optimizer", "#8d62a6", "#c49bd8"),
    "loop": Ink("p-loop", "#79828c", "#a3abb4"),
}

#: For methods of which no look is known; chosen by name, so a method keeps its colour from report to report.
SPARE: tuple[Look, ...] = (
    Look("m-spare-1", "#5f7d16", "#aacb5c", "*"),
    Look("m-spare-2", "#b03a9c", "#ee92df", "8"),
    Look("m-spare-3", "#7a1f3d", "#d98aa6", "H"),
    Look("m-spare-4", "#77528f", "#c3a0da", "s"),
    Look("m-spare-5", "#946046", "#dcae95", "D"),
    Look("m-spare-6", "#3f6f9f", "#8fbbe6", "^"),
)

LINES = ("-", "--", ":", "-.")


def spare_look(method: str) -> Look:
    """The look of a method of which none is known: always the same for one name."""
    return SPARE[hashlib.sha256(method.encode()).digest()[0] % len(SPARE)]


def line_style(variant: int) -> str:
    """A method's second configuration keeps its colour and changes its line."""
    return LINES[variant % len(LINES)]


def shades(looks: Iterable[Look]) -> tuple[Look | Ink, ...]:
    """Every colour of a page that draws methods in ``looks``."""
    return tuple(dict.fromkeys([*INKS, *PART_INKS.values(), *looks, *SPARE]))


def css_variables(looks: Iterable[Look]) -> str:
    """``:root`` rules with every colour, light first, dark by ``prefers-color-scheme``; print is always light."""
    every = shades(looks)
    light = "".join(f"--{item.name}:{item.light};" for item in every)
    dark = "".join(f"--{item.name}:{item.dark};" for item in every)
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
