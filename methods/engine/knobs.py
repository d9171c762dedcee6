"""Knobs: the plain numbers that a method can be set to, each with its help, unit and bounds. Imports no torch.

A method's settings are a frozen dataclass whose fields are made by :func:`knob`. A scenario may override any of them
for its protocol, a user any with ``--set <method>.<knob>=value``. Defaults are those of the twenty CIFAR-100 tasks
in CPG's and KSM's code; epochs count passes over the data.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

SettingsType = TypeVar("SettingsType", bound="Settings")

SCHEDULES = ("step", "cosine", "constant")
OPTIMIZERS = ("sgd", "adam")
UNITS = ("element", "kernel", "group", "channel")
HIDDEN_LINEAR = ("element", "unit", "frozen")
SURROGATES = ("straight-through", "sigmoid")
SOFT_RULES = ("none", "release", "min-max", "max-abs", "z-score")
KEEP_RULES = ("threshold", "top")
VALUES_DTYPES = ("fp32", "fp16", "int8")


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
    since: int = 1  #: the version of the record's naming that first knew the knob
    was: Any = None  #: what runs before that did; None: the default
    kind: type | None = None  #: of its values, where the default is None


def knob(default: Any, help: str, unit: str = "", **about: Any) -> Any:
    """A dataclass field with its help, unit and what else :class:`Knob` says of it; of a tuple every item is bounded.

    Knobs that come after a release say ``since=2``: runs named before them keep their names; and ``was``, where those
    runs did something else than the default.
    """
    return field(default=default, metadata={"knob": Knob(help, unit, **about)})


def knobs_of(settings: Any) -> dict[str, Knob]:
    """The knobs of a settings dataclass (or an instance of one), by name."""
    return {item.name: item.metadata["knob"] for item in dataclasses.fields(settings) if "knob" in item.metadata}


def done_before(settings: Any) -> dict[str, Any]:
    """What runs that are older than a knob did, by knob, where that is not the knob's default."""
    return {name: about.was for name, about in knobs_of(settings).items() if about.was is not None}


class OutOfBounds(ValueError):
    """A value that a knob cannot take; the message says what it must be, without the knob's name."""


def check_knob(about: Knob, value: Any) -> None:
    """Raises OutOfBounds where ``value`` (of the right type; a tuple: each item) is none of the knob's."""
    for item in value if isinstance(value, tuple) else (value,):
        if about.choices and item not in about.choices:
            raise OutOfBounds(f"must be one of {', '.join(about.choices)}, not {item!r}")
        if isinstance(item, bool) or not isinstance(item, int | float):
            continue
        for holds, words in _bounds(about, item):
            if not holds:
                raise OutOfBounds(f"must be {words}, not {item}")


def _bounds(about: Knob, value: float) -> Iterable[tuple[bool, str]]:
    yield abs(value) < float("inf"), "a finite number"
    for bound, holds, words in (
        (about.above, operator.gt, "above"),
        (about.at_least if about.above is None else None, operator.ge, "a finite number of at least"),
        (about.below, operator.lt, "below"),
        (about.at_most, operator.le, "at most"),
    ):
        if bound is not None:
            yield holds(value, bound), f"{words} {bound:g}"


def check_settings(settings: Any) -> None:
    """Raises OutOfBounds, with the knob's name, for the first value that its knob cannot take."""
    for name, about in knobs_of(settings).items():
        try:
            check_knob(about, getattr(settings, name))
        except OutOfBounds as error:
            raise OutOfBounds(f"{name} {error}") from None


def scaled(epochs: int, factor: float) -> int:
    """A phase length or milestone scaled by ``factor``, rounded half up, at least 1 (0 stays 0)."""
    return max(1, int(epochs * factor + 0.5)) if epochs else 0


@dataclass(frozen=True)
class Settings:
    """Base: ``epochs`` is the main training phase; ``with_epochs`` scales everything else along with it."""

    epochs: int = knob(100, "length of the main training phase", "epochs", above=0)

    #: fields that are lengths or positions in epochs, scaled with ``epochs``
    SCALED: ClassVar[tuple[str, ...]] = ("milestones",)

    def with_epochs(self: SettingsType, epochs: int) -> SettingsType:
        """These settings with the main phase ``epochs`` long and every other phase and milestone in proportion."""
        factor = epochs / self.epochs
        changed: dict[str, Any] = {"epochs": epochs}
        for name in (name for name in self.SCALED if hasattr(self, name)):
            value = getattr(self, name)
            changed[name] = (
                tuple(scaled(item, factor) for item in value) if isinstance(value, tuple) else scaled(value, factor)
            )
        return dataclasses.replace(self, **changed)


@dataclass(frozen=True)
class WeightSettings(Settings):
    """Base of all methods that train weights: CPG's SGD."""

    lr: float = knob(1e-2, "learning rate of the main phase")
    momentum: float = knob(0.9, "momentum of SGD", below=1)
    nesterov: bool = knob(True, "Nesterov's form of momentum")
    weight_decay: float = knob(4e-5, "weight decay on convolution and linear weights only, as CPG does by hand")
    milestones: tuple[int, ...] = knob((50, 80), "epochs after which the rate falls by gamma", "epochs")
    gamma: float = knob(0.1, "factor on the rate at each milestone")


@dataclass(frozen=True)
class TrainSettings(WeightSettings):
    """Ordinary training of weights: a whole network, or a head."""

    optimizer: str = knob("sgd", "the optimizer; sgd takes momentum and nesterov", choices=OPTIMIZERS)
    schedule: str = knob(
        "step", "rate over epochs: step falls at the milestones, cosine falls every iteration", choices=SCHEDULES
    )


@dataclass(frozen=True)
class MaskedSettings(Settings):
    """Masks on a frozen backbone: Piggyback, KSM and everything between."""

    epochs: int = knob(30, "length of the main training phase", "epochs", above=0)
    lr: float = knob(1e-4, "Adam's rate for mask scores and a BN set per task")
    mask_lr: float | None = knob(None, "Adam's rate for mask scores; none: lr", kind=float, since=2)
    bn_lr: float | None = knob(None, "Adam's rate for a BN set per task; none: lr", kind=float, since=2)
    head_lr: float = knob(1e-4, "Adam's rate for the task's head")
    schedule: str = knob("step", "step is the papers', cosine the KSM release's (with lr 2e-4)", choices=SCHEDULES)
    milestones: tuple[int, ...] = knob((15,), "epochs after which the rate falls by gamma", "epochs")
    gamma: float = knob(0.1, "factor on the rate at each milestone")


#: what Piggyback and KSM run with where that is not the default: scenario -> knobs of ``MaskedSettings``. On the
#: embedded digits (nine steps an epoch) a rate at which scores cross their threshold in 30 epochs.
MASKED_PROTOCOLS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 30, "lr": 1e-3, "head_lr": 1e-2, "milestones": (20,)},
}


@dataclass(frozen=True)
class MaskSettings:
    """One point of the mask grid: units x surrogate x soft values; the equations are in ``methods.engine.masks``."""

    units: str = knob("kernel", "weights of a convolution that share one score", choices=UNITS)
    surrogate: str = knob("sigmoid", "what stands in for the derivative of the binary mask", choices=SURROGATES)
    soft: str = knob("release", "values of dropped units", choices=SOFT_RULES)
    soft_scale: float = knob(0.5, "factor on the soft values; 0.5 in the KSM release")
    slope: float = knob(12.0, "k/T of equations 6 to 10; the release's k = 1200 over T = 100", above=0)
    initial: float = knob(0.01, "starting score", at_least=None)
    initial_spread: float = knob(0.0, "above 0: scores start uniform within initial +- spread")
    threshold: float = knob(0.005, "tau: the score at which a unit is kept", at_least=None)
    strict: bool = knob(False, "keep a unit where score > tau (Piggyback's code), not >= (equation 1)")
    noise: bool = knob(False, "Gumbel noise while training; off in the release")
    values_dtype: str = knob(
        "fp32", "how soft values are stored and used; int8 has a scale per layer", choices=VALUES_DTYPES
    )
    hidden_linear: str = knob("element", "masks of hidden linear layers: unit is one per output", choices=HIDDEN_LINEAR)
    keep: str = knob(
        "threshold",
        "which units a mask keeps: scores above tau, or the top share of each layer",
        choices=KEEP_RULES,
        since=2,
    )
    top: float = knob(0.5, "share of each layer's units that keep=top keeps", above=0, at_most=1, since=2)
