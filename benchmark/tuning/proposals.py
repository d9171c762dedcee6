"""Which settings each trial tries: a function of seed, method and trial number, and of nothing else.

Trial 0 has the protocol's own settings. The others are points of a scrambled Sobol sequence, which covers the space
more evenly than chance. Neither what other trials found nor how many processes there are changes a proposal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.errors import RequestError
from methods.card import Card
from methods.settings import Settings
from methods.space import Dimension, OneOf, usual_space

#: digits of a rate that is tried: what a file can hold and a person can read
DIGITS = 4


@dataclass(frozen=True)
class Axis:
    """One dimension with its bounds, or its values, worked out for a protocol."""

    key: str  #: as in ``--set``
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()

    def at(self, share: float) -> Any:
        """The value ``share`` (0 to 1) of the way along, on a log scale."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        return float(f"{self.low * (self.high / self.low) ** share:.{DIGITS}g}")

    @property
    def about(self) -> str:
        """The axis in words: ``ksm.lr 1e-05 to 0.001, log``."""
        if self.values:
            return f"{self.key} one of {', '.join(map(str, self.values))}"
        return f"{self.key} {self.low:g} to {self.high:g}, log"


def axes(card: Card, settings: Settings, mask: Any = None) -> tuple[Axis, ...]:
    """The search space of a method around the settings of a protocol.

    Raises:
        RequestError: the card declares none, or one whose knobs have no value to start from.
    """
    dimensions = card.space or usual_space(card.settings)
    if not dimensions:
        raise RequestError(
            f"{card.name} has no search space; its card must declare one (docs/add-a-method.md), or leave it out."
        )
    return tuple(_axis(card, settings, mask, one) for one in dimensions)


def _axis(card: Card, settings: Settings, mask: Any, one: Dimension) -> Axis:
    if isinstance(one, OneOf):
        return Axis(_key(card, one.knob), values=one.values)
    knobs = [knob for knob in one.knobs if _value(settings, mask, knob)]
    key = knobs[0] if knobs else one.knobs[-1]
    base = _value(settings, mask, key) or (_value(settings, mask, one.base) if one.base else None)
    if not base:
        raise RequestError(
            f"{_key(card, key)} is {_value(settings, mask, key)} in this protocol, which has no multiples to search; "
            f"set it, for example --set {_key(card, key)}=1e-3."
        )
    return Axis(_key(card, key), low=base / one.factor, high=base * one.factor)


def _key(card: Card, knob: str) -> str:
    return knob if "." in knob else f"{card.name}.{knob}"


def _value(settings: Settings, mask: Any, knob: str) -> Any:
    section, _, name = knob.rpartition(".")
    return getattr(mask if section else settings, name, None)


def proposal(space: tuple[Axis, ...], seed: int, method: str, number: int) -> Mapping[str, Any]:
    """What trial ``number`` of a method tries, as for ``--set``; trial 0 changes nothing."""
    if number == 0:
        return {}
    from scipy.stats import qmc

    digest = hashlib.sha256(f"tune/{seed}/{method}".encode()).digest()
    sequence = qmc.Sobol(len(space), scramble=True, seed=int.from_bytes(digest[:4], "big"))
    point = sequence.random_base2((number - 1).bit_length())[number - 1]
    return {axis.key: axis.at(float(share)) for axis, share in zip(space, point, strict=True)}
