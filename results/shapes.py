"""Whether values read from JSON have the types and bounds that a dataclass annotates its fields with."""

from __future__ import annotations

import dataclasses
import functools
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any

Test = Callable[[Any], bool]
Fit = Callable[[Sequence[Any]], bool]

#: no number is larger, nor -number: all that a 32-bit float holds, and room left to square it
LARGEST = 1e40
#: no whole number is larger, nor -number
LARGEST_WHOLE = 2**63 - 1


class ShapeError(TypeError):
    """A field has another type than its annotation, or is out of its bounds; the message names it."""


@dataclasses.dataclass(frozen=True)
class Within:
    """Bounds of a number, both included: ``Annotated[float, Within(0, 1, "a fraction between 0 and 1")]``."""

    least: float
    most: float
    words: str  #: what a value within them is called


@dataclasses.dataclass(frozen=True)
class AtMost:
    """The length of a text: ``Annotated[str, AtMost(500)]``."""

    characters: int


def check_fields(kind: type, values: Mapping[str, Any]) -> None:
    """Every field of ``kind`` that is among ``values`` has its type and bounds; absent ones have their defaults.

    Whole numbers pass as float, tuples and lists as either; ``Any`` passes everything. Numbers are finite: those
    without bounds of their own lie within ``LARGEST`` or ``LARGEST_WHOLE``.

    Raises:
        ShapeError: one has not.
    """
    for name, (test, hint) in _tests(kind).items():
        if name in values and not test(values[name]):
            where, value, wanted = _offender(name, values[name], hint)
            raise ShapeError(f"{where} is {brief(value)}, not {_named(wanted)}")


def all_fit(kind: type, columns: Mapping[str, Sequence[Any]]) -> bool:
    """Whether ``check_fields`` would pass every row of a table of ``kind``, given as ``columns`` by field.

    Asks whole columns at once, many times faster than row after row. True is certain; False asks to look at each row.
    """
    fits = _fits(kind)
    return all(fits[name](column) for name, column in columns.items())


@functools.cache
def _fits(kind: type) -> dict[str, Fit]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {item.name: _fit(hints[item.name]) for item in dataclasses.fields(kind)}


def _fit(hint: Any) -> Fit:
    """Whether all values of a column are as annotated; False where it takes more than a glance to tell."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda column: True
    if origin in (types.UnionType, typing.Union):
        if len(arguments) != 2 or arguments[1] is not types.NoneType:
            return lambda column: False
        only = _fit(arguments[0])
        return lambda column: only([value for value in column if value is not None])
    if origin in (dict, Mapping):
        of_values = _fit(arguments[1])
        return lambda column: (
            set(map(type, column)) <= {dict}
            and set(map(type, chain.from_iterable(column))) <= {str}
            and of_values([value for mapping in column for value in mapping.values()])
        )
    if origin is tuple:
        of_items = _fit(arguments[0])
        return lambda column: set(map(type, column)) <= {tuple, list} and of_items(list(chain.from_iterable(column)))
    kind, bound = arguments if origin is Annotated else (hint, None)
    if isinstance(bound, AtMost):
        most = bound.characters
        return lambda column: set(map(type, column)) <= {str} and max(map(len, column), default=0) <= most
    if kind in (int, float):
        usual = (-LARGEST, LARGEST) if kind is float else (-LARGEST_WHOLE, LARGEST_WHOLE)
        return _numbers({kind, int}, *((bound.least, bound.most) if bound else usual))
    return lambda column: set(map(type, column)) <= {kind}


def _numbers(kinds: set[type], least: float, most: float) -> Fit:
    """The sum is NaN where one of the numbers is."""
    return lambda column: (
        not column
        or (
            set(map(type, column)) <= kinds
            and least <= min(column)
            and max(column) <= most
            and sum(column) == sum(column)
        )
    )


@functools.cache
def _tests(kind: type) -> dict[str, tuple[Test, Any]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {item.name: (_test(hints[item.name]), hints[item.name]) for item in dataclasses.fields(kind)}


def _offender(name: str, value: Any, hint: Any) -> tuple[str, Any, Any]:
    """The innermost part of a misshapen ``value`` that is not as its annotation says: its path, itself, and that."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and arguments[1] is types.NoneType:
        origin, arguments = typing.get_origin(arguments[0]), typing.get_args(arguments[0])
    parts: Iterable[tuple[Any, Any]] = ()
    if origin in (dict, Mapping) and isinstance(value, dict):
        parts, wanted = value.items(), arguments[1]
    elif origin is tuple and isinstance(value, tuple | list):
        parts, wanted = enumerate(value, start=1), arguments[0]
    for key, item in parts:
        if not _test(wanted)(item):
            return _offender(f"{name}.{str(key)[:40]}", item, wanted)
    return name, value, hint


def _test(hint: Any) -> Test:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: True
    if origin in (types.UnionType, typing.Union):
        return _either([_test(argument) for argument in arguments if argument is not types.NoneType], hint)
    if origin in (dict, Mapping):
        of_value = _test(arguments[1])
        return lambda value: (
            isinstance(value, dict) and all(isinstance(key, str) and of_value(item) for key, item in value.items())
        )
    if origin is tuple:
        of_item, fits = _test(arguments[0]), _fit(arguments[0])
        return lambda value: isinstance(value, tuple | list) and (fits(value) or all(map(of_item, value)))
    if origin is Annotated:
        return _bounded(*arguments)
    if hint is float:
        return _number(False, -LARGEST, LARGEST)
    if hint is int:
        return _number(True, -LARGEST_WHOLE, LARGEST_WHOLE)
    return lambda value: isinstance(value, hint)


def _either(tests: list[Test], hint: Any) -> Test:
    """One of ``tests`` holds, or the value is null where ``hint`` allows it."""
    null = types.NoneType in typing.get_args(hint)
    if len(tests) == 1:
        (only,) = tests
        return lambda value: (value is None and null) or only(value)
    return lambda value: (value is None and null) or any(test(value) for test in tests)


def _bounded(kind: type, bound: Within | AtMost) -> Test:
    if isinstance(bound, AtMost):
        most = bound.characters
        return lambda value: isinstance(value, str) and len(value) <= most
    return _number(kind is int, bound.least, bound.most)


def _number(whole: bool, least: float, most: float) -> Test:
    """NaN is never between two numbers, and Python compares whole numbers of any length with them."""
    if whole:
        return lambda value: isinstance(value, int) and least <= value <= most and not isinstance(value, bool)
    return lambda value: isinstance(value, float | int) and least <= value <= most and not isinstance(value, bool)


def _named(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_named(argument) for argument in arguments)
    if origin in (dict, Mapping):
        return "a mapping"
    if origin is tuple:
        return "a list"
    if origin is Annotated:
        bound = arguments[1]
        return bound.words if isinstance(bound, Within) else f"text of at most {bound.characters} characters"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "null"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def brief(value: Any) -> str:
    """A value of any size and depth in at most 40 characters."""
    text = "null" if value is None else _SHORT.repr(value)
    return text if len(text) <= 40 else text[:37] + "…"


#: never walks through the whole of a large or deep value
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong = 3, 60, 40
