"""Knobs: fields of a dataclass that know their help, unit, bounds and type, and the one way in which values are read.

Whatever a user or a file says, ``--set ksm.lr=2e-4``, an option, a key of a YAML file, an argument in Python or a field
of a record, goes through :func:`coerced`: text or value in, the field's type out, or one sentence on what it must be.
Imports no torch.
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
import operator
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Filled = TypeVar("Filled")


@dataclass(frozen=True)
class Knob:
    """What is known of a knob beside its type and default."""

    help: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    at_least: float | None = 0  #: None: any finite number
    above: float | None = None
    below: float | None = None
    at_most: float | None = None
    least_items: int = 0  #: of a tuple
    also: tuple[str, ...] = ()  #: other words that people have for it, for "did you mean"
    since: int = 1  #: the version of the record's naming that first knew the knob
    was: Any = None  #: what runs before that did; None: the default
    yields_to: tuple[str, ...] = ()  #: knobs that take its place where a user or a scenario sets them
    only_with: str = ""  #: what some other knob must be for this one to matter; reports leave it out elsewhere


def knob(default: Any, help: str, unit: str = "", **about: Any) -> Any:
    """A dataclass field with its help, unit and what else :class:`Knob` says of it; of a tuple every item is bounded.

    Knobs that come after a release say ``since=2``: runs named before them keep their names; and ``was``, where those
    runs did something else than the default.
    """
    return field(default=default, metadata={"knob": Knob(help, unit, **about)})


def knobs_of(settings: Any) -> dict[str, Knob]:
    """The knobs of a dataclass (or an instance of one), by name."""
    return {item.name: item.metadata["knob"] for item in dataclasses.fields(settings) if "knob" in item.metadata}


def idle_knobs(settings: Any, values: Mapping[str, Any]) -> set[str]:
    """Knobs of a dataclass that change nothing where its fields have these values."""
    return {name for name, about in knobs_of(settings).items() if about.only_with not in ("", *values.values())}


def done_before(settings: Any) -> dict[str, Any]:
    """What runs that are older than a knob did, by knob, where that is not the knob's default."""
    return {name: about.was for name, about in knobs_of(settings).items() if about.was is not None}


def types_of(kind: type) -> dict[str, Any]:
    """The type of every field of a dataclass, by name."""
    return _types_of(kind)


@functools.cache
def _types_of(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {item.name: hints[item.name] for item in dataclasses.fields(kind)}


class WrongValue(ValueError):
    """A value that a knob cannot take; the message says what it must be, without the knob's name."""


def coerced(hint: Any, about: Knob, value: Any) -> Any:
    """``value``, a text or a plain value, in the type ``hint`` and within the knob's bounds.

    Raises:
        WrongValue: it is none of the knob's, as in "must be above 0, not -1".
    """
    value = _typed(hint, about, value)
    check_knob(about, value)
    return value


def filled(kind: type[Filled], values: Mapping[str, Any]) -> Filled:
    """An instance of the settings ``kind`` from plain values; knobs that are not there do as was done before them.

    Raises:
        WrongValue: a value that its knob cannot take, or one that no knob has; the message names it.
    """
    if not isinstance(values, Mapping):
        raise WrongValue(f"{kind.__name__} must be settings by name, not {type(values).__name__}")
    hints, knobs = types_of(kind), knobs_of(kind)
    found = dict(done_before(kind))
    for name, value in values.items():
        if name not in knobs:
            raise WrongValue(f"{name} is no setting of {kind.__name__}")
        try:
            found[name] = coerced(hints[name], knobs[name], value)
        except WrongValue as error:
            raise WrongValue(f"{name} {error}") from None
    return kind(**found)


def inner_type(hint: Any) -> tuple[Any, bool]:
    """``float | None`` -> (float, True); a type that is not optional -> (itself, False)."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (inner,) = (item for item in typing.get_args(hint) if item is not types.NoneType)
        return inner, True
    return hint, False


def _typed(hint: Any, about: Knob, value: Any) -> Any:
    hint, optional = inner_type(hint)
    if optional and (value is None or (isinstance(value, str) and value.strip().lower() in ("", "none", "null"))):
        return None
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, str):
            value = [word for word in value.split(",") if word.strip()] if item is str else _items(value)
        found = tuple(_typed(item, about, one) for one in items_of(value))
        if len(found) < about.least_items:
            raise WrongValue(f"must name at least {about.least_items}")
        return found
    if isinstance(value, str):
        value = value.strip()
    return _READERS[hint](about, value)


def items_of(value: Any) -> list[Any]:
    """The items of a list, a tuple, an array or a generator; anything else is an item by itself."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _items(text: str) -> list[str]:
    return text.split(",") if text.strip() else []


def _bool(about: Knob, value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise WrongValue(f"must be true or false, not {shown(value)}")


def _int(about: Knob, value: Any) -> int:
    try:
        if isinstance(value, str):
            return int(value)
        if not isinstance(value, bool):
            return operator.index(value)  # numpy's, too
    except (ValueError, TypeError):
        pass
    raise WrongValue(f"must be a whole number, not {shown(value)}")


def _float(about: Knob, value: Any) -> float:
    try:
        if isinstance(value, numbers.Real | str) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise WrongValue(f"must be a number, not {shown(value)}")


def _str(about: Knob, value: Any) -> str:
    if isinstance(value, bool):  # YAML reads off and no as false, on and yes as true
        words = ("on", "yes") if value else ("off", "no")
        value = next((word for word in words if word in about.choices), value)
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise WrongValue(f"must be text, not {shown(value)}")


def _path(about: Knob, value: Any) -> Path:
    if isinstance(value, str | Path) and str(value) and "\0" not in str(value):
        return Path(os.path.expanduser(value))
    raise WrongValue(f"must be a path, not {shown(value)}")


_READERS: Mapping[Any, typing.Callable[[Knob, Any], Any]] = {
    bool: _bool, int: _int, float: _float, str: _str, Path: _path,
}  # fmt: skip


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


#: the most that a whole number may be; what runs so often or holds so many never ends
LARGEST_WHOLE = 10**12


def check_knob(about: Knob, value: Any) -> None:
    """Raises WrongValue where ``value`` (of the right type; a tuple: each item) is none of the knob's."""
    for item in value if isinstance(value, tuple) else (value,):
        if about.choices and item is not None and item not in about.choices:
            raise WrongValue(f"must be one of {', '.join(about.choices)}, not {shown(item)}")
        if isinstance(item, bool) or not isinstance(item, int | float):
            continue
        for holds, words in _bounds(about, item):
            if not holds:
                raise WrongValue(f"must be {words}, not {shown(item)}")


def _bounds(about: Knob, value: float) -> Iterable[tuple[bool, str]]:
    yield abs(value) < float("inf"), "a finite number"
    if isinstance(value, int):
        yield abs(value) <= LARGEST_WHOLE, f"at most {LARGEST_WHOLE:,}"
    for bound, holds, words in (
        (about.above, operator.gt, "above"),
        (about.at_least if about.above is None else None, operator.ge, "at least"),
        (about.below, operator.lt, "below"),
        (about.at_most, operator.le, "at most"),
    ):
        if bound is not None:
            yield holds(value, bound), f"{words} {bound:,.10g}"


def bounds_in_words(about: Knob) -> str:
    """``above 0, at most 1``; empty where any number will do."""
    least = [("above", about.above)] if about.above is not None else [("at least", about.at_least)]
    bounds = [*least, ("below", about.below), ("at most", about.at_most)]
    return ", ".join(f"{words} {bound:,.10g}" for words, bound in bounds if bound is not None)


def check_settings(settings: Any) -> None:
    """Raises WrongValue, with the knob's name, for the first value that its knob cannot take."""
    for name, about in knobs_of(settings).items():
        try:
            check_knob(about, getattr(settings, name))
        except WrongValue as error:
            raise WrongValue(f"{name} {error}") from None


def other_words(knobs: Mapping[str, Knob]) -> dict[str, str]:
    """Words that people may have for a knob -> the knob's name."""
    return {word: name for name, about in knobs.items() for word in about.also}
