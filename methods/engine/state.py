"""A task under way: what it trains, how far it has come, and what a phase of training is and comes to.

Everything that a checkpoint must hold of a task is in :class:`TaskState`; what tasks share is the strategy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from methods.engine.optimise import Optimizers
from methods.engine.schedule import Plateau
from methods.engine.tensor_data import TaskImages

#: tensors by name
Snapshot = dict[str, Tensor]

#: ``phase(name)``: a context manager around work of that kind ("train", "eval", ...); a runner passes a clock.
Phase = Callable[[str], AbstractContextManager[object]]


def untimed(name: str) -> AbstractContextManager[object]:
    """The Phase that does nothing: what a strategy uses unless a runner passes a clock."""
    return nullcontext()


@dataclass(frozen=True)
class LearningTask:
    """The task that is learned."""

    label: int  #: Avalanche's task label
    position: int  #: how many tasks were learned before it, plus one
    classes: int
    images: TaskImages | None  #: None: the images come through Avalanche's own loader


@dataclass(frozen=True)
class Plan:
    """One phase: so many epochs with these optimizers, and what happens besides the plain step.

    Attributes:
        phase: the clock's name: "train", "prune", "retrain" or "goal".
        keep_best: end with the best epoch's tensors (needs images to select on), else with the last epoch's.
        best_from: the first epoch, counted from 0, that can be the best.
        patience: stop after so many epochs without a better accuracy.
        reference: accuracy that counts as the best before the first epoch, and the tensors it was reached with.
        after_backward: called between backward and update, to mask gradients.
        before_iteration: called with (epoch, iteration, iterations per epoch), for gradual pruning.
        select: evaluate on the selection images after each epoch at all.
        plateau: lowers all rates where the loss stops falling.
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
    plateau: Plateau | None = None
    best_from: int = 0


@dataclass(frozen=True)
class PhaseResult:
    """The outcome of a phase, of the epoch whose tensors were kept: accuracies are fractions; ``selection`` is None
    without images to select on."""

    train: float
    selection: float | None
    epochs: int
    best_epoch: int | None


@dataclass
class PhaseState:
    """A phase under way: ``epoch`` epochs are done, ``best`` is the best accuracy so far."""

    key: str
    epoch: int = 0
    train: float = 0.0
    best: float | None = None
    best_epoch: int | None = None
    best_train: float = 0.0  #: training accuracy of the best epoch
    since_best: int = 0
    lowest_loss: float | None = None  #: under a plateau rule
    since_lowest: int = 0
    scale: float = 1.0  #: what the plateau rule multiplies all rates by
    falls: int = 0  #: how often it has
    plateau_over: bool = False  #: its last epoch is done

    def follow(self, plateau: Plateau, loss: float) -> None:
        """Lower the rates where the loss, or what is to be the lower the better, has not fallen for long enough."""
        self.plateau_over = plateau.most is not None and self.falls >= plateau.most
        if self.lowest_loss is None or loss < self.lowest_loss:
            self.lowest_loss, self.since_lowest = loss, 0
            return
        self.since_lowest += 1
        if self.since_lowest >= plateau.patience and not self.plateau_over:
            self.scale, self.since_lowest, self.falls = self.scale * plateau.factor, 0, self.falls + 1

    def plateau_ends(self, plateau: Plateau) -> bool:
        """Nothing is left to train under the plateau rule."""
        return self.plateau_over or plateau.ends(self.scale)


@dataclass
class Progress:
    """How far the current task has come.

    Learning a task is a sequence of named steps; a resumed run walks through the same sequence, and steps whose
    result stands in ``done`` give that result at once instead of being repeated.
    """

    task: int
    done: dict[str, Any] = field(default_factory=dict)
    fitting: PhaseState | None = None
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
        return cls(**{**value, "fitting": PhaseState(**fitting) if fitting else None})


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
    rate: float | None = None  #: learning rate of the first group at the end of the epoch


@dataclass
class TaskState:
    """The task under way.

    Attributes:
        current: what the task trains or carries, by name: "head.weight", "override.NAME" (in place of the backbone's
            tensor NAME), and whatever a method adds.
        progress: None before the first task.
        generators: random streams by name.
        remembered: snapshots by name: "best", the best epoch's tensors so far, and what a method remembers.
        resumed_optimizer: of the phase in which a checkpoint was taken, until that phase goes on.
    """

    current: Snapshot = field(default_factory=dict)
    progress: Progress | None = None
    generators: dict[str, torch.Generator] = field(default_factory=dict)
    remembered: dict[str, Snapshot] = field(default_factory=dict)
    resumed_optimizer: Snapshot | None = None

    def trainable(self) -> list[str]:
        """Names in ``current`` that require gradients."""
        return [name for name, tensor in self.current.items() if tensor.requires_grad]

    def tensors(self) -> Snapshot:
        """All of it as named tensors, for a checkpoint."""
        parts: dict[str, Mapping[str, Tensor]] = {"current": self.current, **self.remembered}
        parts["generator"] = {name: generator.get_state() for name, generator in self.generators.items()}
        return {f"{part}.{name}": item.detach() for part, items in parts.items() for name, item in items.items()}

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        trainable: Sequence[str],
        progress: Progress | None,
        device: torch.device,
    ) -> TaskState:
        """Read ``tensors`` back, onto ``device``; "optimizer.*" among them is kept for the phase that goes on."""
        parts: dict[str, Snapshot] = {}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            parts.setdefault(part, {})[rest] = tensor
        current, generators = parts.pop("current", {}), parts.pop("generator", {})
        optimizer = parts.pop("optimizer", None)
        state = cls(progress=progress, resumed_optimizer=optimizer)
        for name, tensor in current.items():
            state.current[name] = tensor.to(device, copy=True).requires_grad_(name in trainable)
        for name, tensor in generators.items():
            state.generators[name] = torch.Generator(device)
            state.generators[name].set_state(tensor.cpu())
        for part, items in parts.items():
            state.remembered[part] = {name: tensor.to(device, copy=True) for name, tensor in items.items()}
        return state
