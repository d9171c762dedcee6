"""What a user's scenario sets per method or family, checked against the methods' knobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.scenarios.yaml_values import known_keys, section
from methods.engine.knobs import WrongValue, coerced, knobs_of, other_words, types_of


def checked_settings(settings: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """``{family: {knob: value}}`` with lists as tuples. Raises RequestError for unknown names and wrong types."""
    from methods.registry import METHODS

    kinds = {card.section: type(card.settings) for card in METHODS.values()}
    found: dict[str, dict[str, Any]] = {}
    for family in settings:
        if family not in kinds:
            known = ", ".join(kinds)
            raise RequestError(
                f"{where}: unknown method family {family!r}.{did_you_mean(family, kinds)} Known are {known}."
            )
        knobs, hints = knobs_of(kinds[family]), types_of(kinds[family])
        given = section(settings, family, where)
        known_keys(given, knobs, f"{where}, {family}", other_words(knobs))
        found[family] = {}
        for name, value in given.items():
            try:
                found[family][name] = coerced(hints[name], knobs[name], value)
            except WrongValue as error:
                raise RequestError(f"{where}: {family}.{name} {error}.") from None
    return found
