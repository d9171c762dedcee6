"""``--grid factor=level,level …``: which factors and levels a value names, and what a wrong one is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.errors import did_you_mean
from methods.engine.knobs import Knob, WrongValue, bounds_in_words, coerced, items_of, shown
from methods.factors import FACTORS, Factor

#: by the name that users type
BY_NAME = {factor.name: factor for factor in FACTORS}

#: factor -> its levels, each once; in the order of ``FACTORS``
Grid = dict[str, tuple[Any, ...]]


def read_grid(value: Any) -> Grid | None:
    """The factors that are crossed, with their levels; None: no grid.

    Args:
        value: ``"units=element,kernel"`` or several of these; a mapping of factors to levels; nothing at all (an empty
            list) or true: every factor at its usual levels; None or false: no grid.

    Raises:
        WrongValue: an unknown factor or level, one without levels, or one that is named twice.
    """
    if value is None or value is False:
        return None
    if value is True or (not isinstance(value, str) and not value):
        return {factor.name: factor.usual for factor in FACTORS}
    found: Grid = {}
    for name, levels in _named(value):
        if name not in BY_NAME:
            also = {word: one.name for one in FACTORS for word in (one.key, *one.also)}
            word = name.lower().replace("-", "_")
            raise WrongValue(
                f"has no factor {shown(name)}.{did_you_mean(word, BY_NAME, also)} Its factors are {', '.join(BY_NAME)}"
            )
        if name in found:
            raise WrongValue(f"names {name} twice; give all of its levels at once, as in {_example(BY_NAME[name])}")
        found[name] = _levels(BY_NAME[name], levels)
    return {name: found[name] for name in BY_NAME if name in found}


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """Factors with what is said of their levels."""
    if isinstance(value, Mapping):
        yield from ((str(name), levels) for name, levels in value.items())
        return
    for word in items_of(value):
        if not isinstance(word, str):
            raise WrongValue(f"must name factors and levels, such as {_example(FACTORS[0])}, not {shown(word)}")
        for part in word.split():
            name, equals, levels = part.partition("=")
            if not equals:
                known = BY_NAME.get(name, FACTORS[0])
                raise WrongValue(f"{shown(part)} names no levels: write factor=level,level, as in {_example(known)}")
            yield name, levels


def _levels(factor: Factor, value: Any) -> tuple[Any, ...]:
    words = [word for word in value.split(",") if word.strip()] if isinstance(value, str) else items_of(value)
    found = tuple(dict.fromkeys(_level(factor, word) for word in words))
    if not found:
        raise WrongValue(f"{factor.name} must name at least 1 level, as in {_example(factor)}")
    return found


def _level(factor: Factor, value: Any) -> Any:
    try:
        return coerced(factor.hint, factor.about, value)
    except WrongValue as error:
        if not factor.about.choices or not isinstance(value, str):
            raise WrongValue(f"{factor.name} {error}") from None
        raise WrongValue(
            f"{factor.name} has no level {shown(value.strip())}.{did_you_mean(value.strip(), factor.about.choices)} "
            f"Its levels are {', '.join(factor.about.choices)}"
        ) from None


def _example(factor: Factor) -> str:
    return f"{factor.name}={','.join(map(str, factor.usual[:2]))}"


def grid_help() -> str:
    """Every factor with the levels of the whole grid and what else it may be, one line each."""
    return "\n".join(
        f"  {factor.name:<36} {factor.about.help} (whole grid: {', '.join(map(str, factor.usual))}{_besides(factor)})"
        for factor in FACTORS
    )


def _besides(factor: Factor) -> str:
    others = [level for level in factor.about.choices if level not in factor.usual]
    if not factor.about.choices:
        return f"; any number{_bounded(factor.about)}"
    return f"; also {', '.join(others)}" if others else ""


def _bounded(about: Knob) -> str:
    words = bounds_in_words(about)
    return f" {words}" if words else ""
