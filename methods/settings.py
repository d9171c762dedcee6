"""The settings that methods are made of: frozen dataclasses of knobs. Imports no torch.

A method's own settings derive from one of these, beside its card. A protocol may set any knob otherwise, and so may a
scenario and a user with ``--set <method>.<knob>=value``. Defaults are those of the twenty CIFAR-100 tasks in CPG's and
KSM's code; epochs count passes over the data.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from methods.engine.knobs import knob

SettingsType = TypeVar("SettingsType", bound="Settings")

#: what people call ``lr``
RATE_WORDS = ("learning_rate", "rate", "base_lr", "eta")
#: and ``epochs``
EPOCH_WORDS = ("num_epochs", "n_epochs", "train_epochs")

#: schedules that are known before the training; a plateau rule follows the loss
FIXED_SCHEDULES = ("step", "cosine", "constant")
SCHEDULES = (*FIXED_SCHEDULES, "plateau")
OPTIMIZERS = ("sgd", "adam")
UNITS = ("element", "kernel", "group", "channel", "block")
HIDDEN_LINEAR = ("element", "unit", "frozen", "block")
#: weights of a block, unless a knob says otherwise
BLOCK_ROWS = 72
SURROGATES = ("straight-through", "sigmoid")
SOFT_RULES = ("none", "release", "min-max", "max-abs", "z-score")
KEEP_RULES = ("threshold", "top", "top-magnitude")
STARTS = ("constant", "fan-in")
VALUES_DTYPES = ("fp32", "fp16", "int8")


def scaled(epochs: int, factor: float) -> int:
    """A phase length or milestone scaled by ``factor``, rounded half up, at least 1 (0 stays 0)."""
    return max(1, int(epochs * factor + 0.5)) if epochs else 0


@dataclass(frozen=True)
class Settings:
    """Base: ``epochs`` is the main training phase; ``with_epochs`` scales everything else along with it."""

    epochs: int = knob(100, "length of the main training phase", "epochs", above=0, also=EPOCH_WORDS)

    #: fields that are lengths or positions in epochs, scaled with ``epochs``
    SCALED: ClassVar[tuple[str, ...]] = ("milestones",)

    @property
    def all_epochs(self) -> int:
        """Epochs of all phases of a task, at most."""
        return self.epochs

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
class NothingTrained(Settings):
    """Base of methods that only make something of networks that another method trained."""

    epochs: int = knob(0, "none: nothing trains; those of the networks are the other method's", "epochs", at_most=0)

    def with_epochs(self: SettingsType, epochs: int) -> SettingsType:
        """The same: there is no phase to lengthen."""
        return self


@dataclass(frozen=True)
class WeightSettings(Settings):
    """Base of all methods that train weights: CPG's SGD."""

    lr: float = knob(1e-2, "learning rate of the main phase", also=RATE_WORDS)
    momentum: float = knob(0.9, "momentum of SGD", below=1)
    nesterov: bool = knob(True, "Nesterov's form of momentum")
    weight_decay: float = knob(
        4e-5, "weight decay on convolution and linear weights only, as CPG does by hand", also=("wd", "l2", "decay")
    )
    milestones: tuple[int, ...] = knob((50, 80), "epochs after which the rate falls by gamma", "epochs")
    gamma: float = knob(0.1, "factor on the rate at each milestone")
    head_lr: float | None = knob(
        None,
        "learning rate of the task's head in the main phase, in later phases in proportion; none: lr",
        since=2,
        yields_to=("lr",),
    )
    clip: float | None = knob(
        None,
        "largest norm of all gradients together; where it is larger, all are scaled down; none: any",
        above=0,
        since=2,
    )

    def head_rate(self, lr: float) -> float:
        """The head's rate in a phase whose rate is ``lr``."""
        if self.head_lr is None:
            return lr
        return self.head_lr * (lr / self.lr if self.lr else 1.0)


@dataclass(frozen=True)
class PlateauSettings(Settings):
    """What schedule "plateau" needs beside a rate and gamma."""

    patience: int = knob(
        6,
        "with schedule plateau: epochs without a lower loss on the images to select on (without such: on the training "
        "images) after which the rate falls by gamma",
        "epochs",
        at_least=1,
        since=2,
    )
    least_lr: float = knob(0.0, "with schedule plateau: training ends when the rate falls below", since=2)
    plateau_of: str = knob(
        "loss", "with schedule plateau: what has to get better, the loss or the accuracy", choices=("loss", "accuracy"),
        since=2,
    )  # fmt: skip
    most_falls: int | None = knob(
        None, "with schedule plateau: training ends one epoch after the rate has fallen so often; none: never",
        at_least=1, since=2,
    )  # fmt: skip


@dataclass(frozen=True)
class TrainSettings(PlateauSettings, WeightSettings):
    """Ordinary training of weights: a whole network, or a head."""

    optimizer: str = knob("sgd", "the optimizer; sgd takes momentum and nesterov", choices=OPTIMIZERS)
    schedule: str = knob(
        "step",
        "rate over epochs: step falls at the milestones, cosine every iteration, plateau where the loss stops falling",
        choices=SCHEDULES,
    )


@dataclass(frozen=True)
class MaskedSettings(PlateauSettings):
    """Masks on a frozen backbone: Piggyback, KSM and everything between."""

    epochs: int = knob(30, "length of the main training phase", "epochs", above=0, also=EPOCH_WORDS)
    lr: float = knob(1e-4, "learning rate (Adam's) of mask scores and of a BN set per task", also=RATE_WORDS)
    mask_lr: float | None = knob(None, "Adam's rate for mask scores; none: lr", since=2)
    bn_lr: float | None = knob(None, "Adam's rate for a BN set per task; none: lr", since=2, yields_to=("lr",))
    head_lr: float = knob(1e-4, "Adam's rate for the task's head")
    schedule: str = knob(
        "step",
        "step is the papers', cosine the KSM release's (with lr 2e-4), plateau falls where the loss stops falling",
        choices=SCHEDULES,
    )
    milestones: tuple[int, ...] = knob((15,), "epochs after which the rate falls by gamma", "epochs")
    gamma: float = knob(0.1, "factor on the rate at each milestone")
    reach: float | None = knob(
        None,
        "how far a score can travel in all steps of a task, in multiples of its distance to the threshold: sets the "
        "rate of mask scores from the number of steps; none: mask_lr",
        above=1,
        since=2,
        yields_to=("lr", "mask_lr"),
    )

    warm_up: float = knob(
        0.0,
        "share of the training in which the rate of mask scores rises from 0, as the head learns",
        below=1,
        since=2,
    )


#: what Piggyback and KSM run with where that is not the default: scenario -> knobs of ``MaskedSettings``. On the
#: embedded digits (nine steps an epoch) a rate at which scores cross their threshold in 30 epochs.
MASKED_PROTOCOLS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 30, "lr": 1e-3, "head_lr": 1e-2, "milestones": (20,)},
    # pretrained weights, perhaps without BN: scores move as far as activations survive (docs/departures.md)
    "pretrained": {"epochs": 30, "schedule": "cosine", "reach": 3.0, "warm_up": 0.3, "head_lr": 3e-3, "bn_lr": 1e-3},
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
    rows: int = knob(
        BLOCK_ROWS,
        "consecutive weights of one output (in, kh, kw) that share a score in units=block and hidden_linear=block",
        "weights",
        at_least=1,
        since=2,
        only_with="block",
    )
    keep: str = knob(
        "threshold",
        "which units a mask keeps: scores above tau, the top share of each layer, or the top share by magnitude",
        choices=KEEP_RULES,
        since=2,
    )
    top: float = knob(
        0.5,
        "share of each layer's units that keep=top and top-magnitude keep",
        above=0,
        at_most=1,
        since=2,
        also=("density", "sparsity"),
    )
    er: float | None = knob(
        None,
        "with keep=top-magnitude, Erdos-Renyi densities in place of top: a layer keeps the share "
        "min(0.5, er (out + in) / weights)",
        above=0,
        since=2,
    )
    start: str = knob(
        "constant",
        "starting scores: constant is initial for all, fan-in uniform within 1 / sqrt(fan-in) of the layer",
        choices=STARTS,
        since=2,
    )
