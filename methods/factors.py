"""The factors of the mask grid: what a plan may cross and a report may tell apart. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from methods.card import BN_POLICIES
from methods.engine.knobs import Knob, knobs_of, types_of
from methods.settings import MaskSettings

_KNOBS, _TYPES = knobs_of(MaskSettings), types_of(MaskSettings)


@dataclass(frozen=True)
class Factor:
    """One choice that a masked method makes, and the levels that it may have."""

    name: str  #: as users type it
    title: str  #: as tables print it
    key: str  #: in a run's specification, with dots
    knob: str  #: of ``MaskSettings``; empty: none of them
    about: Knob
    hint: Any  #: a level's type
    usual: tuple[Any, ...]  #: levels of the whole grid; the first is what others are compared with
    also: tuple[str, ...] = ()  #: other words that people have for it

    def place(self, level: Any) -> tuple[float, float, str]:
        """A sort key: the levels in their usual order, the reference first; others after them, by size or name."""
        known = (*self.usual, *(name for name in self.about.choices if name not in self.usual))
        first = known.index(level) if level in known else len(known)
        return first, float(level) if isinstance(level, int | float) else 0.0, str(level)


def _of_mask(knob: str, title: str, usual: tuple[Any, ...], also: tuple[str, ...] = ()) -> Factor:
    return Factor(knob, title, f"mask.{knob}", knob, _KNOBS[knob], _TYPES[knob], usual, also)


#: In the order in which tables show them. Every value that a knob may have can be a level.
FACTORS = (
    _of_mask("units", "Units", _KNOBS["units"].choices, ("unit", "granularity")),
    _of_mask("surrogate", "Surrogate", _KNOBS["surrogate"].choices, ("gradient", "estimator")),
    _of_mask("soft", "Soft values", ("none", "release"), ("soft_values",)),
    Factor(
        "bn", "BN", "bn_policy", "", Knob("what BN does while a task trains", choices=BN_POLICIES), str, BN_POLICIES,
        ("bn_policy", "batchnorm", "norm"),
    ),
    _of_mask(
        "initial", "Initial score", (MaskSettings().initial, 2 * MaskSettings().initial), ("initial_value", "init")
    ),
)  # fmt: skip
