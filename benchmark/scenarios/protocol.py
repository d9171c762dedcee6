"""What a user's scenario sets per method or family, checked against the methods' knobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.scenarios.yaml_values import as_number, known_keys, section


def checked_settings(settings: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """``{family: {knob: value}}`` with lists as tuples. Raises RequestError for unknown names and wrong types."""
    from methods.registry import METHODS

    defaults = {card.section: card.settings for card in METHODS.values()}
    checked: dict[str, dict[str, Any]] = {}
    for family in settings:
        if family not in defaults:
            known = ", ".join(defaults)
            raise RequestError(
                f"{where}: unknown method family {family!r}.{did_you_mean(family, defaults)} Known are {known}."
            )
        inside = f"{where}, {family}"
        knobs = {knob.name: getattr(defaults[family], knob.name) for knob in dataclasses.fields(defaults[family])}
        given = section(settings, family, where)
        known_keys(given, knobs, inside)
        checked[family] = {knob: _value(value, knobs[knob], f"{inside}, {knob}") for knob, value in given.items()}
    return checked


def _value(value: Any, default: Any, where: str) -> Any:
    """``value`` in the type of the knob's ``default``; an int serves as a float, one number as a tuple of one."""
    if isinstance(default, tuple):
        items = value if isinstance(value, list) else [value]
        number = default[0] if default else 0
        return tuple(_value(item, number, where) for item in items)
    if isinstance(default, bool) or isinstance(value, bool):
        fits = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        value = as_number(value)
        fits, value = isinstance(value, int | float), float(value) if isinstance(value, int | float) else value
    else:
        fits = isinstance(value, type(default))
    if not fits:
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise RequestError(f"{where} must be {words[type(default)]}, not {value!r}.")
    if isinstance(value, int | float) and not 0 <= value < float("inf"):
        raise RequestError(f"{where} must be a finite number of at least 0, not {value!r}.")
    return value
