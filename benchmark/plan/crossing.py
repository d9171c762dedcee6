"""The plan of ``--grid``: one request for every point of the cross product, each under the name that is nearest.

Several methods are points of one mask grid (``Card.mask_grid``). A point that is one of them, or differs from it in
little, runs under its name, so that the run is the very one that a plan without a grid has: nothing is trained twice,
and the names on the page say what a point is. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.errors import RequestError
from benchmark.plan.request import DEFAULT_METHODS, Request, method_names
from methods.card import Card
from methods.factors import FACTORS
from methods.registry import METHODS
from methods.settings import MaskSettings

#: in which of the mask's choices a point may differ least from the method whose name it gets, the gravest first
_NAMING = ("surrogate", "units", "soft", "initial")

#: the knob that says whether a score exactly at the threshold keeps its unit
STRICT = "strict"

#: factors that are knobs of the mask, by knob
_KNOBS = {factor.knob: factor for factor in FACTORS if factor.knob}

#: the one factor that is none
(_BN,) = (factor for factor in FACTORS if not factor.knob)


def bases(request: Request) -> tuple[str, ...]:
    """The methods that are varied: those chosen; by default the one that has the mask settings' own defaults.

    Raises:
        RequestError: an unknown method.
    """
    if request.grid is not None and request.methods == DEFAULT_METHODS:
        return tuple(card.name for card in METHODS.values() if card.mask_grid and card.mask == MaskSettings())[:1]
    return method_names(request.methods)


def points(request: Request) -> Iterator[Request]:
    """A request without a grid for every point of every base, all of them with the seeds of ``request``.

    What the grid does not cross stays as the base has it, or as ``--set`` and ``--bn-policy`` say. Settings of a base
    (``--set BASE.lr=…``) hold for all of its points, whatever their name.

    Raises:
        RequestError: a method has no masks, or a factor is set elsewhere too.
    """
    for card in _masked(request):
        for levels in _levels(request, card):
            yield _point(request, card, dict(levels))


def in_words(request: Request) -> str:
    """``grid of …: units (4) x surrogate (2) = 8 points``, for the terminal."""
    found = []
    for card in _masked(request):
        choices = {name: levels for name, levels in _choices(request, card).items() if len(levels) > 1}
        counts = " x ".join(f"{name} ({len(levels)})" for name, levels in choices.items()) or "one level of each factor"
        count = len(list(_levels(request, card)))
        found.append(f"grid of {card.name}: {counts} = {count} point{'s' if count != 1 else ''}")
    return "; ".join(found)


def _masked(request: Request) -> list[Card]:
    cards = [METHODS[name] for name in bases(request)]
    if bare := [card.name for card in cards if card.mask is None]:
        raise RequestError(f"--grid crosses choices of masks; leave out of --method what has none: {', '.join(bare)}.")
    return cards


def _choices(request: Request, card: Card) -> dict[str, tuple[Any, ...]]:
    """Every factor's levels: those of the grid, else what was set, else the base's own."""
    assert request.grid is not None
    assert card.mask is not None
    found = {}
    for factor in FACTORS:
        key = factor.key
        elsewhere = request.bn_policy if factor is _BN else request.overrides.get(key)
        if factor.name in request.grid:
            if elsewhere is not None:
                flag = "--bn-policy" if factor is _BN else f"--set {key}"
                raise RequestError(f"--grid varies {factor.name} itself; leave out {flag}.")
            found[factor.name] = request.grid[factor.name]
        elif elsewhere is not None:
            found[factor.name] = tuple(elsewhere) if isinstance(elsewhere, list) else (elsewhere,)
        else:
            found[factor.name] = (card.bn_policy if factor is _BN else getattr(card.mask, factor.knob),)
    return found


def _levels(request: Request, card: Card) -> Iterator[Mapping[str, Any]]:
    choices = _choices(request, card)
    for levels in itertools.product(*choices.values()):
        yield dict(zip(choices, levels, strict=True))


def _point(request: Request, base: Card, levels: Mapping[str, Any]) -> Request:
    wanted = {factor.knob: levels[factor.name] for factor in _KNOBS.values()}
    card = _nearest(base, wanted)
    overrides: dict[str, Any] = {}
    for key, value in request.overrides.items():
        section, _, name = key.partition(".")
        if key not in (factor.key for factor in FACTORS):
            overrides[f"{card.name}.{name}" if section == base.name else key] = value
    for knob, level in wanted.items():
        if level != getattr(card.mask, knob):
            overrides[f"mask.{knob}"] = level
    changes = {"methods": (card.name,), "bn_policy": levels[_BN.name], "overrides": overrides, "grid": None}
    return dataclasses.replace(request, **changes)


def _nearest(base: Card, wanted: Mapping[str, Any]) -> Card:
    """The method that differs from the point in the fewest choices; of several the one that shares the gravest."""
    if not base.mask_grid:
        return base

    def distance(card: Card) -> tuple[int, tuple[bool, ...]]:
        other = tuple(getattr(card.mask, knob) != wanted[knob] for knob in _NAMING)
        return sum(other), other

    return min((card for card in METHODS.values() if _alike(card, base)), key=distance)


def _alike(card: Card, base: Card) -> bool:
    """Both are points of one grid: they differ in factors alone, and in the rule at the threshold."""
    if not card.mask_grid or card.mask is None or base.mask is None:
        return False
    same = {knob: getattr(base.mask, knob) for knob in (*_KNOBS, STRICT)}
    trained = all(getattr(card, name) == getattr(base, name) for name in ("settings", "protocols", "family"))
    return trained and dataclasses.replace(card.mask, **same) == base.mask
