"""How specification keys, values and tasks are called on the page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

#: Specification keys whose plain name reads badly in a label.
KEY_TITLES: dict[str, str] = {
    "bn_policy": "BN",
    "initial_task": "initial task",
    "batch_size": "batch",
    "train_limit": "training images",
    "test_limit": "test images",
    "backbone.width": "width",
    "backbone.name": "backbone",
    "mask.units": "units",
    "mask.surrogate": "surrogate",
    "mask.soft": "soft",
    "mask.initial": "initial",
}


def key_title(key: str) -> str:
    """A dotted specification key as words: ``mask.soft_scale`` is ``mask soft scale``, ``settings.lr`` is ``lr``."""
    return KEY_TITLES.get(key, key.removeprefix("settings.").replace(".", " ").replace("_", " "))


def value_title(value: Any, most: int = 40) -> str:
    """A specification value as a word of at most ``most`` letters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= most else text[: most - 3] + "…"


def task_title(name: str) -> str:
    """A task's name for people: underscores are spaces."""
    return name.replace("_", " ")


def short(text: str, most: int = 34) -> str:
    """A label for a figure: cut where it would push everything else aside, and never hidden from a legend."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return f"\N{WORD JOINER}{cut}" if cut.startswith("_") else cut  # matplotlib hides labels with a leading underscore


def in_lines(text: str, width: int = 30, lines: int = 2) -> str:
    """A heading for a part of a figure: at most so many lines of so many letters, the last one cut."""
    found = textwrap.wrap(text, width, max_lines=lines, placeholder=" …", break_on_hyphens=False) or [""]
    return short("\n".join(found), width * lines + lines)


def slug(text: str) -> str:
    """Letters, digits and single hyphens: safe as a file name and as an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "unnamed"


def plural(number: int, noun: str) -> str:
    """``1 task``, ``1,000 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str], most: int) -> str:
    """``a, b and c``; beyond ``most`` of them ``a, b and 3 more``. Words with a comma of their own: ``a; b, c; d``."""
    comma, last = ("; ", "; and ") if any("," in word for word in words[:most]) else (", ", " and ")
    if len(words) > most:
        return f"{comma.join(words[:most])}{last}{len(words) - most} more"
    return last.join(filter(None, [comma.join(words[:-1]), words[-1] if words else ""]))
