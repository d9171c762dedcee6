"""What of a method's settings is searched: dimensions of equal number for every method. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from methods.settings import MaskedSettings, Settings, TrainSettings

#: a rate is searched within this factor of the protocol's, both ways
REACH = 10.0


@dataclass(frozen=True)
class Scaled:
    """A number searched on a log scale, from ``1 / factor`` to ``factor`` times what the protocol has.

    ``knobs``: the first of them that the protocol sets is searched; where none is, ``base`` says what stands in.
    """

    knobs: tuple[str, ...]
    factor: float = REACH
    base: str = ""  #: the knob whose value counts where ``knobs`` have none


@dataclass(frozen=True)
class OneOf:
    """A knob that takes one of some values; that of the protocol need not be among them."""

    knob: str
    values: tuple[Any, ...]


#: a dimension of a search space; its knobs are the method's own, or ``mask.NAME``
Dimension = Scaled | OneOf

FALLING = OneOf("schedule", ("step", "cosine"))
#: masks on a frozen backbone: the rate of scores (or how far they reach), that of the head, the schedule
OF_MASKS: tuple[Dimension, ...] = (Scaled(("reach", "mask_lr", "lr")), Scaled(("head_lr",)), FALLING)
#: ordinary training
OF_WEIGHTS: tuple[Dimension, ...] = (Scaled(("lr",)), Scaled(("head_lr",), base="lr"), FALLING)


def usual_space(settings: Settings) -> tuple[Dimension, ...]:
    """The dimensions of a method that declares none: by what its settings derive from; none for others."""
    if isinstance(settings, MaskedSettings):
        return OF_MASKS
    return OF_WEIGHTS if isinstance(settings, TrainSettings) else ()
