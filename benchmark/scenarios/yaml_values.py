"""Values out of a YAML mapping, their keys and types checked; every fault is a RequestError that names file and key."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError, did_you_mean

NAME_LENGTH, TITLE_LENGTH = 80, 120  #: characters of a scenario's and of a task's name
#: YAML 1.1 reads ``2e-4`` as a text, since it has no point; people and YAML 1.2 mean a number.
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def load_mapping(path: Path) -> Mapping[str, Any]:
    """The mapping that a YAML file holds."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RequestError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise RequestError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise RequestError(f"{path} must hold keys with values, such as 'tasks:'.")
    return content


def known_keys(
    mapping: Mapping[str, Any], known: Iterable[str], where: str, also: Mapping[str, str] | None = None
) -> None:
    """Raises RequestError for a key that is not ``known``; ``also``: words for keys -> the keys."""
    known = tuple(known)
    for key in mapping:
        if key not in known:
            raise RequestError(
                f"{where}: unknown key {key!r}.{did_you_mean(str(key), known, also)} Known are {', '.join(known)}."
            )


def text(mapping: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    """A text that is not empty; required when there is no default."""
    value = mapping.get(key, default)
    if value is None:
        raise RequestError(f"{where}: the key {key!r} is missing.")
    if not isinstance(value, str) or not value:
        raise RequestError(f"{where}: {key} must be a text, not {value!r}.")
    return value


def choice(mapping: Mapping[str, Any], key: str, where: str, known: Iterable[str], default: str | None = None) -> str:
    """One of the ``known`` texts."""
    known = tuple(known)
    value = text(mapping, key, where, default)
    if value not in known:
        raise RequestError(
            f"{where}: {key} {value!r} is not known.{did_you_mean(value, known)} Known are {', '.join(known)}."
        )
    return value


def whole(mapping: Mapping[str, Any], key: str, where: str, default: int | None = None, least: int = 1) -> int:
    """A whole number of at least ``least``; required when there is no default."""
    value = mapping.get(key, default)
    if value is None:
        raise RequestError(f"{where}: the key {key!r} is missing.")
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RequestError(f"{where}: {key} must be a whole number of at least {least}, not {value!r}.")
    return value


def flag(mapping: Mapping[str, Any], key: str, where: str, default: bool = False) -> bool:
    """true or false."""
    value = mapping.get(key, default)
    if not isinstance(value, bool):
        raise RequestError(f"{where}: {key} must be true or false, not {value!r}.")
    return value


def section(mapping: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """A mapping inside; empty when absent."""
    value = mapping.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RequestError(f"{where}: {key} must hold keys with values, not {value!r}.")
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


def shown(value: str) -> str:
    """A text for a message, quoted, its middle left out where it is long."""
    return repr(value) if len(value) <= 60 else f"{value[:50]!r}… ({len(value)} characters)"


def path_of(mapping: Mapping[str, Any], key: str, where: str, base: Path) -> Path:
    """A path relative to ``base``; ``~`` is the home folder."""
    value = text(mapping, key, where)
    if "\0" in value:
        raise RequestError(f"{where}: {key} must be a path, not {value!r}.")
    return base / os.path.expanduser(value)


def numbers(mapping: Mapping[str, Any], key: str, where: str, count: int) -> tuple[float, ...]:
    """A list of ``count`` numbers."""
    value = mapping.get(key)
    items = [as_number(item) for item in value] if isinstance(value, list) else []
    if len(items) != count or not all(_is_finite(item) for item in items):
        raise RequestError(f"{where}: {key} must be a list of {count} numbers, not {value!r}.")
    return tuple(float(item) for item in items)


def _is_finite(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item)
