"""Learning-rate schedules as data, and the rate at which mask scores train. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from methods.settings import SCHEDULES, MaskedSettings, MaskSettings, PlateauSettings


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a phase of ``epochs``, as a factor on the group's base rate.

    "step": times ``gamma`` after each milestone (an epoch number, counted from 0, at which the lower rate starts);
    "cosine": half a cosine from 1 to 0, per step; "constant", and "plateau", which :class:`Plateau` lowers besides.
    From epoch ``stop`` on the factor is 0; in the first ``warm_up`` of the phase, a share, it rises from 0 besides.
    """

    kind: str = "constant"
    epochs: int = 1
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    stop: int | None = None
    warm_up: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise ValueError(f"schedule {self.kind!r} is unknown; choose one of {', '.join(SCHEDULES)}")

    def factor(self, epoch: int, fraction: float = 0.0) -> float:
        """The factor ``fraction`` of the way through ``epoch`` (counted from 0)."""
        if self.stop is not None and epoch >= self.stop:
            return 0.0
        share = min(1.0, (epoch + fraction) / max(self.epochs, 1))
        falling = self._falling(epoch, share)
        return falling * min(1.0, share / self.warm_up) if self.warm_up else falling

    @property
    def per_step(self) -> bool:
        """The factor changes within an epoch."""
        return self.kind == "cosine" or self.warm_up > 0

    def _falling(self, epoch: int, share: float) -> float:
        if self.kind == "step":
            return float(self.gamma ** sum(epoch >= milestone for milestone in self.milestones))
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * share))
        return 1.0

    def total(self, steps_per_epoch: int) -> float:
        """The sum of the factor over all steps of the phase: how many steps at the base rate it amounts to."""
        steps = range(steps_per_epoch if self.per_step else 1)
        share = steps_per_epoch / len(steps)
        return share * sum(self.factor(epoch, step / len(steps)) for epoch in range(self.epochs) for step in steps)


@dataclass(frozen=True)
class Plateau:
    """All rates of a phase fall by ``factor`` after ``patience`` epochs without a lower loss; it ends below ``least``.

    The loss is that of the images to select on, without such that of the training images. With ``of`` "accuracy" it is
    their accuracy that must become higher.
    """

    patience: int
    factor: float
    lr: float  #: the phase's rate, which ``least`` is compared with
    least: float
    of: str = "loss"
    most: int | None = None  #: the phase ends one epoch after so many falls; None: never for that

    def ends(self, scale: float) -> bool:
        """The rate has fallen too low: ``scale`` is what all rates are multiplied by now."""
        return self.lr * scale < self.least


def plateau_of(settings: PlateauSettings, lr: float, schedule: str, gamma: float) -> Plateau | None:
    """The plateau rule of a phase at ``lr``; None under another schedule."""
    if schedule != "plateau":
        return None
    return Plateau(settings.patience, gamma, lr, settings.least_lr, settings.plateau_of, settings.most_falls)


def score_schedule(settings: MaskedSettings) -> Schedule:
    """The schedule of mask scores; head and BN set have it without warm-up."""
    return Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma, warm_up=settings.warm_up)


def score_rate(settings: MaskedSettings, mask: MaskSettings, steps_per_epoch: int) -> float:
    """Adam's rate for mask scores.

    Adam moves a score by at most about its rate in a step. With ``settings.reach`` the rate is such that a score which
    moves one way all along comes ``reach`` times as far as its threshold lies: how far masks can move then depends on
    neither the number of images nor that of epochs.
    """
    if settings.reach is not None:
        total = score_schedule(settings).total(steps_per_epoch)
        return settings.reach * abs(mask.initial - mask.threshold) / total if total else 0.0
    return settings.lr if settings.mask_lr is None else settings.mask_lr


def score_travel(settings: MaskedSettings, mask: MaskSettings, steps_per_epoch: int) -> float:
    """How far a score can travel in all steps of a task, about."""
    return score_rate(settings, mask, steps_per_epoch) * score_schedule(settings).total(steps_per_epoch)


def driving_knob(settings: MaskedSettings) -> str:
    """The setting that decides how far scores travel."""
    if settings.reach is not None:
        return "reach"
    return "lr" if settings.mask_lr is None else "mask_lr"
