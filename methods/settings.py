"""The knobs of every method: plain numbers with the papers' defaults, no torch.

A scenario may override any of these for its protocol, a user any of them with ``--set <method>.<knob>=value``.
Defaults are those of the twenty CIFAR-100 tasks (METHODS.md 1.1 b-1.4 b, 2.2); epochs count passes over the data.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

SettingsType = TypeVar("SettingsType", bound="Settings")


def scaled(epochs: int, factor: float) -> int:
    """A phase length or milestone scaled by ``factor``, rounded half up, at least 1 (0 stays 0)."""
    return max(1, int(epochs * factor + 0.5)) if epochs else 0


@dataclass(frozen=True)
class Settings:
    """Base: ``epochs`` is the main training phase; ``with_epochs`` scales everything else along with it."""

    epochs: int = 100

    #: fields that are lengths or positions in epochs, scaled with ``epochs``
    SCALED: ClassVar[tuple[str, ...]] = ("milestones",)

    def with_epochs(self: SettingsType, epochs: int) -> SettingsType:
        """These settings with the main phase ``epochs`` long and every other phase and milestone in proportion."""
        factor = epochs / self.epochs
        changed: dict[str, Any] = {"epochs": epochs}
        for name in self.SCALED:
            value = getattr(self, name)
            changed[name] = (
                tuple(scaled(item, factor) for item in value) if isinstance(value, tuple) else scaled(value, factor)
            )
        return dataclasses.replace(self, **changed)


@dataclass(frozen=True)
class WeightSettings(Settings):
    """Base of all methods that train weights: CPG's SGD (METHODS.md 1.1 b)."""

    lr: float = 1e-2
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 4e-5  #: on convolution and linear weights only, as CPG does by hand
    milestones: tuple[int, ...] = (50, 80)
    gamma: float = 0.1


@dataclass(frozen=True)
class TrainSettings(WeightSettings):
    """Ordinary training of weights: ``scratch``, ``finetune``, ``finetune-sequential``, ``head-only``."""

    optimizer: str = "sgd"  #: "sgd" (with ``momentum``, ``nesterov``) or "adam"
    schedule: str = "step"  #: "step" (``gamma`` after each milestone), "cosine" (per iteration) or "constant"


@dataclass(frozen=True)
class MaskedSettings(Settings):
    """Masks on a frozen backbone: Piggyback, KSM and everything between (METHODS.md 1.3, 2.2 row 15)."""

    epochs: int = 30
    lr: float = 1e-4  #: Adam, for mask scores and per-task BN
    head_lr: float = 1e-4  #: Adam, for the task's head
    schedule: str = "step"  #: "step" is the papers', "cosine" the KSM release's (with lr 2e-4)
    milestones: tuple[int, ...] = (15,)
    gamma: float = 0.1


@dataclass(frozen=True)
class PackNetSettings(WeightSettings):
    """CPG's PackNet: train, prune once per layer by magnitude, retrain (METHODS.md 1.2 b)."""

    prune_ratio: tuple[float, ...] = (0.6,)  #: one ratio for all tasks or one per task (last one repeats)
    equal_share: bool = False  #: leave every task the same share 1/N of each layer instead of ``prune_ratio``
    prune_last: bool = True  #: the original does not prune the last task, CPG's PackNet does
    ratio_of: str = "free"  #: ratio counted over "free" (current and free weights, CPG's) or "current" (original)
    initial_prune: float = 0.5  #: share of a pretrained backbone that is freed first (the original's ImageNet step)
    retrain_epochs: int = 30
    retrain_lr: float = 1e-3
    retrain_milestones: tuple[int, ...] = (25,)

    SCALED: ClassVar[tuple[str, ...]] = ("milestones", "retrain_epochs", "retrain_milestones")


@dataclass(frozen=True)
class CPGSettings(WeightSettings):
    """CPG without expansion: goal, train with picking, gradual prune, choose, retrain (METHODS.md 1.4)."""

    pick_lr: float = 5e-4  #: Adam, for the scores that pick among earlier tasks' weights
    pick_milestone: int = 50  #: pick_lr x ``pick_gamma`` after this epoch
    pick_gamma: float = 0.2
    pick_stop: int = 70  #: picks are fixed after this epoch, unless the task owns no weight at all
    min_train_accuracy: float = 0.95  #: below it a trained or pruned network is not kept
    prune_ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    prune_epochs: int = 20  #: epochs per ratio
    prune_ramp: int = 4  #: of which the first ones follow the cubic schedule
    prune_every: int = 10  #: iterations between two cuts within the ramp
    prune_lr: float = 1e-3
    retrain_epochs: int = 30
    retrain_lr: float = 1e-3
    retrain_pick_lr: float = 1e-4
    retrain_patience: int = 5  #: epochs without a better accuracy before retraining stops
    initial_prune: float = 0.5  #: share of a pretrained backbone that is freed before the first task
    goal_tolerance: float = 0.0  #: how far below the goal still counts as met

    SCALED: ClassVar[tuple[str, ...]] = (
        "milestones",
        "pick_milestone",
        "pick_stop",
        "prune_epochs",
        "prune_ramp",
        "retrain_epochs",
        "retrain_patience",
    )


@dataclass(frozen=True)
class MaskSettings:
    """One point of the mask grid: units x surrogate x soft values (METHODS.md 2.2)."""

    units: str = "kernel"  #: "element", "kernel", "channel" or "group" (METHODS.md 2.2: blocks of 8 input channels)
    surrogate: str = "sigmoid"  #: gradient of the binary mask: "straight-through" or "sigmoid"
    soft: str = "release"  #: values of dropped units: "none", "release", "min-max", "max-abs", "z-score"
    soft_scale: float = 0.5  #: factor on the soft values; 0.5 in the KSM release
    slope: float = 12.0  #: k/T of equations 6-10; the release's k = 1200 over T = 100
    initial: float = 0.01  #: starting score
    initial_spread: float = 0.0  #: > 0: scores start uniform within initial +- spread
    threshold: float = 0.005  #: tau
    strict: bool = False  #: True: kept where score > tau (Piggyback's code); False: >= (equation 1)
    noise: bool = False  #: Gumbel noise while training; off in the release
    values_dtype: str = "fp32"  #: how soft values are stored and used: "fp32", "fp16" or "int8" (a scale per layer)
    hidden_linear: str = "element"  #: hidden FC layers: "element" (masked), "unit" (per output) or "frozen"
