"""Whether values read from JSON have the types that a dataclass annotates its fields with."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

Test = Callable[[Any], bool]


class ShapeError(TypeError):
    """A field has another type than its annotation; the message names it."""


def check_fields(kind: type, values: Mapping[str, Any]) -> None:
    """Every field of ``kind`` that is among ``values`` has its type; absent ones have their defaults.

    Whole numbers pass as float, tuples and lists as either; ``Any`` passes everything.

    Raises:
        ShapeError: one has not.
    """
    for name, (test, wanted) in _tests(kind).items():
        if name in values and not test(values[name]):
            raise ShapeError(f"{name} is {_shown(values[name])}, not {wanted}")


@functools.cache
def _tests(kind: type) -> dict[str, tuple[Test, str]]:
    hints = typing.get_type_hints(kind)
    fields = [item.name for item in dataclasses.fields(kind)]
    return {name: (_test(hints[name]), _named(hints[name])) for name in fields}


def _test(hint: Any) -> Test:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: True
    if origin in (types.UnionType, typing.Union):
        tests = [_test(argument) for argument in arguments]
        return lambda value: any(test(value) for test in tests)
    if origin in (dict, Mapping):
        of_value = _test(arguments[1])
        return lambda value: (
            isinstance(value, dict) and all(isinstance(key, str) and of_value(item) for key, item in value.items())
        )
    if origin is tuple:
        of_item = _test(arguments[0])
        return lambda value: isinstance(value, tuple | list) and all(map(of_item, value))
    if hint is float:
        return lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    return lambda value: isinstance(value, hint)


def _named(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_named(argument) for argument in arguments)
    if origin in (dict, Mapping):
        return "a mapping"
    if origin is tuple:
        return "a list"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "null"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
