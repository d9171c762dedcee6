"""Values out of a YAML mapping, their keys and types checked; every fault is a RequestError that names file and key."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from methods.engine.knobs import shown

NAME_LENGTH, TITLE_LENGTH, SUMMARY_LENGTH = 80, 120, 500  #: characters of a scenario's name, a task's, and a summary
#: YAML 1.1 reads ``2e-4`` as a text, since it has no point; people and YAML 1.2 mean a number.
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def known_keys(
    mapping: Mapping[str, Any], known: Iterable[str], where: str, also: Mapping[str, str] | None = None
) -> None:
    """Raises RequestError for a key that is not ``known``; ``also``: words for keys -> the keys."""
    known = tuple(known)
    for key in mapping:
        if key not in known:
            raise RequestError(
                f"{where}: unknown key {shown(key)}.{did_you_mean(str(key), known, also)} Known are {', '.join(known)}."
            )


def text(mapping: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    """A text that is not empty; required when there is no default."""
    value = mapping.get(key, default)
    if value is None:
        raise RequestError(f"{where}: the key {key!r} is missing.")
    if not isinstance(value, str) or not value:
        raise RequestError(f"{where}: {key} must be a text, not {shown(value)}.")
    return value


def choice(mapping: Mapping[str, Any], key: str, where: str, known: Iterable[str], default: str | None = None) -> str:
    """One of the ``known`` texts."""
    known = tuple(known)
    value = text(mapping, key, where, default)
    if value not in known:
        raise RequestError(
            f"{where}: {key} {shown(value)} is not known.{did_you_mean(value, known)} Known are {', '.join(known)}."
        )
    return value


def whole(
    mapping: Mapping[str, Any], key: str, where: str, default: int | None = None, least: int = 1, most: int = 10**6
) -> int:
    """A whole number from ``least`` to ``most``; required when there is no default."""
    value = mapping.get(key, default)
    if value is None:
        raise RequestError(f"{where}: the key {key!r} is missing.")
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RequestError(f"{where}: {key} must be a whole number of at least {least}, not {shown(value)}.")
    if value > most:
        raise RequestError(f"{where}: {key} must be at most {most:,}, not {value:,}.")
    return value


def flag(mapping: Mapping[str, Any], key: str, where: str, default: bool = False) -> bool:
    """true or false."""
    value = mapping.get(key, default)
    if not isinstance(value, bool):
        raise RequestError(f"{where}: {key} must be true or false, not {shown(value)}.")
    return value


def section(mapping: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """A mapping inside; empty when absent."""
    value = mapping.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RequestError(f"{where}: {key} must hold keys with values, not {shown(value)}.")
    return value


def as_number(value: Any) -> Any:
    """``2e-4``, which YAML 1.1 reads as a text, as the number it is; anything else as it is."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def plain_name(value: str, where: str) -> str:
    """A scenario's name, which becomes part of folder names. Raises RequestError unless it is a plain one."""
    plain = all(letter.isalnum() or letter in "._- " for letter in value) and ".." not in value
    if not plain or value != value.strip(" ") or value.startswith((".", "-")) or len(value.encode()) > NAME_LENGTH:
        raise RequestError(
            f"{where}: name (by default the file's) must be at most {NAME_LENGTH} letters, digits, '.', '_', '-' and "
            f"spaces, since folders are called after it, not {shown(value)}."
        )
    return value


def title(value: str, where: str) -> str:
    """A task's name. Raises RequestError when it holds control characters or is too long to be read."""
    if not value.isprintable() or len(value) > TITLE_LENGTH:
        raise RequestError(
            f"{where}: name must be at most {TITLE_LENGTH} characters that can be printed, not {shown(value)}."
        )
    return value


def one_line(value: str, where: str) -> str:
    """A summary, its line breaks as spaces. Raises RequestError when it cannot be printed or is too long for a line."""
    value = " ".join(value.split())
    if not value.isprintable() or len(value) > SUMMARY_LENGTH:
        raise RequestError(
            f"{where}: summary must be at most {SUMMARY_LENGTH} characters that can be printed, not {shown(value)}."
        )
    return value


def path_of(mapping: Mapping[str, Any], key: str, where: str, base: Path) -> Path:
    """A path relative to ``base``; ``~`` is the home folder."""
    value = text(mapping, key, where)
    if "\0" in value:
        raise RequestError(f"{where}: {key} must be a path, not {shown(value)}.")
    return base / os.path.expanduser(value)


def numbers(mapping: Mapping[str, Any], key: str, where: str, count: int) -> tuple[float, ...]:
    """A list of ``count`` numbers."""
    value = mapping.get(key)
    items = [as_number(item) for item in value] if isinstance(value, list) else []
    if len(items) != count or not all(_is_finite(item) for item in items):
        raise RequestError(f"{where}: {key} must be a list of {count} numbers, not {shown(value)}.")
    return tuple(float(item) for item in items)


def _is_finite(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item)
