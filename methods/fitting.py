"""What a phase of training is, how far a task has come, and what came out: data that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from methods.optimise import Optimizers

#: tensors by name
Snapshot = dict[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """One phase: so many epochs with these optimizers, and what happens besides the plain step.

    Attributes:
        phase: the clock's name: "train", "prune", "retrain" or "goal".
        keep_best: end with the best epoch's tensors (needs images to select on), else with the last epoch's.
        patience: stop after so many epochs without a better accuracy.
        reference: accuracy that counts as the best before the first epoch, and the tensors it was reached with.
        after_backward: called between backward and update, to mask gradients.
        before_iteration: called with (epoch, iteration, iterations per epoch), for gradual pruning.
        select: evaluate on the selection images after each epoch at all.
    """

    phase: str
    epochs: int
    optimizers: Optimizers
    keep_best: bool = True
    patience: int | None = None
    reference: tuple[float, Snapshot] | None = None
    after_backward: Callable[[], None] | None = None
    before_iteration: Callable[[int, int, int], None] | None = None
    select: bool = True


@dataclass(frozen=True)
class Fitted:
    """The outcome of a phase, of the epoch whose tensors were kept: accuracies are fractions; ``selection`` is None
    without images to select on."""

    train: float
    selection: float | None
    epochs: int
    best_epoch: int | None


@dataclass
class Fitting:
    """A phase under way: ``epoch`` epochs are done, ``best`` is the best accuracy so far."""

    key: str
    epoch: int = 0
    train: float = 0.0
    best: float | None = None
    best_epoch: int | None = None
    best_train: float = 0.0  #: training accuracy of the best epoch
    since_best: int = 0


@dataclass
class Progress:
    """How far the current task has come.

    Learning a task is a sequence of named steps; a resumed run walks through the same sequence, and steps whose
    result stands in ``done`` give that result at once instead of being repeated.
    """

    task: int
    done: dict[str, Any] = field(default_factory=dict)
    fitting: Fitting | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    epochs: int = 0
    iterations: int = 0
    images: int = 0
    trainable: int = 0  #: numbers that a step updates

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """The result (a JSON value) of ``work``, done now or, if a checkpoint already holds it, before."""
        if key not in self.done:
            self.done[key] = work()
        return self.done[key]

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Progress:
        """Read it back."""
        fitting = value.get("fitting")
        return cls(**{**value, "fitting": Fitting(**fitting) if fitting else None})


@dataclass(frozen=True)
class EpochReport:
    """What a listener hears after every epoch (rates in images per second are the listener's to compute)."""

    task: int
    phase: str
    key: str
    epoch: int
    epochs: int
    loss: float
    train: float
    selection: float | None
