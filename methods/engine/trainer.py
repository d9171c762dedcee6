"""The trainer: epochs of one phase, one pass over the images, one step.

Beyond the arithmetic of a plain PyTorch loop a step costs next to nothing: batches are cut on the device, plugins are
called only where they override something, and nothing waits for the device before the pass is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from methods.engine import batchnorm
from methods.engine.listeners import Events
from methods.engine.network import TaskView
from methods.engine.parts import HEAD_BIAS, HEAD_WEIGHT
from methods.engine.state import EpochReport, LearningTask, Phase, PhaseResult, PhaseState, Plan, Snapshot, TaskState
from methods.engine.tensor_data import batch_bounds

#: the name, among a task's remembered snapshots, of its best epoch's
BEST = "best"


class Learner(Protocol):
    """What the trainer asks of a strategy; the capitals of a step are Avalanche's, for its plugins."""

    view: TaskView
    state: TaskState
    device: torch.device
    train_mb_size: int
    plugins: list[Any]
    dataloader: Any
    optimizer: Any
    rate_handle: torch.optim.Optimizer
    mbatch: Any
    mb_output: Any
    mb_y: Any
    loss: Any
    phase: Phase
    listener: Callable[[EpochReport], None] | None
    checkpoint: Callable[[], None] | None
    _stop_training: bool

    @property
    def bn_trains(self) -> bool: ...
    def training_tensors(self) -> dict[str, Tensor]: ...
    def selection_accuracy(self, task: LearningTask) -> float | None: ...
    def selection_loss(self, task: LearningTask) -> float | None: ...
    def snapshot(self) -> Snapshot: ...
    def put_back(self, snapshot: Snapshot) -> None: ...
    def forward(self) -> Tensor: ...
    def criterion(self) -> Tensor: ...
    def backward(self) -> None: ...


class Pass(NamedTuple):
    """What one pass over the training images came to."""

    loss: float  #: mean over images
    accuracy: float  #: fraction of the images answered rightly while training
    images: int
    steps: int


class Tally:
    """Losses and right answers of a pass, added up on the device in blocks of steps and read once, at the end."""

    #: steps between two additions: their logits are all that is held
    BLOCK = 64

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._right = torch.zeros((), dtype=torch.int64, device=device)
        self._images = self._steps = 0
        self._losses: list[Tensor] = []
        self._sizes: list[int] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count one step: mean loss (), logits (n, classes), labels (n,)."""
        self._losses.append(loss.detach())
        self._logits.append(logits.detach())
        self._labels.append(labels)
        self._sizes.append(len(labels))
        if len(self._losses) == self.BLOCK:
            self._add_block()

    def _add_block(self) -> None:
        if not self._losses:
            return
        sizes = torch.tensor(self._sizes, dtype=torch.float64).to(self._loss.device, non_blocking=True)
        self._loss += torch.stack(self._losses).double().mul_(sizes).sum()
        self._right += (torch.cat(self._logits).argmax(1) == torch.cat(self._labels)).sum()
        self._images += sum(self._sizes)
        self._steps += len(self._sizes)
        for held in (self._losses, self._sizes, self._logits, self._labels):
            held.clear()

    def result(self) -> Pass:
        """Waits for the device.

        Raises:
            ValueError: nothing was counted.
        """
        self._add_block()
        if not self._images:
            raise ValueError("the task has no training images")
        return Pass(float(self._loss) / self._images, int(self._right) / self._images, self._images, self._steps)


class Trainer:
    """Runs the phases of a strategy's tasks over its ``state``."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def run(self, task: LearningTask, key: str, plan: Plan) -> PhaseResult:
        """All epochs of a phase, from its beginning or from where a checkpoint stood; leaves the chosen epoch's
        tensors in place."""
        learner, state = self._learner, self._learner.state
        progress = state.progress
        assert progress is not None
        if progress.fitting is None or progress.fitting.key != key:
            progress.fitting = PhaseState(key)
            if plan.reference is not None:
                progress.fitting.best, state.remembered[BEST] = plan.reference
        elif state.resumed_optimizer is not None:
            plan.optimizers.load_tensors(state.resumed_optimizer)
        state.resumed_optimizer = None
        fitting = progress.fitting
        learner.optimizer = plan.optimizers
        events = self.events()
        while fitting.epoch < plan.epochs and not learner._stop_training:
            if plan.patience is not None and fitting.since_best >= plan.patience:
                break
            if plan.plateau is not None and fitting.plateau_ends(plan.plateau):
                break
            plan.optimizers.reduced, plan.optimizers.falls = fitting.scale, fitting.falls
            with learner.phase(plan.phase):
                events("before_training_epoch")
            if learner._stop_training:
                break
            self._epoch(task, plan, fitting, events)
            if learner.checkpoint:
                learner.checkpoint()
        learner._stop_training = False
        if best := state.remembered.pop(BEST, None):
            learner.put_back(best)
        progress.fitting = None
        learner.optimizer = learner.rate_handle  # releases the phase's moments; the next phase brings its own
        plan.optimizers.zero_grad()  # a phase that does not train all of these tensors would not drop their gradients
        kept = fitting.train if fitting.best_epoch is None else fitting.best_train
        return PhaseResult(kept, fitting.best, fitting.epoch, fitting.best_epoch)

    def events(self) -> Events:
        """Avalanche's plugin events, for the plugins as they are now."""
        return Events(self._learner, self._learner.plugins)

    def _epoch(self, task: LearningTask, plan: Plan, fitting: PhaseState, events: Events) -> None:
        """One pass, the accuracy on the images to select on, and what follows from it."""
        learner, progress = self._learner, self._learner.state.progress
        assert progress is not None
        with learner.phase(plan.phase):
            trained = self.one_pass(task, plan, fitting.epoch, events)
            events("after_training_epoch")
        if not math.isfinite(trained.loss):
            raise FloatingPointError(
                f"training diverged: the loss of task {task.label} became {trained.loss} in epoch {fitting.epoch + 1} "
                f"of phase {plan.phase}; lower the learning rate"
            )
        fitting.train = trained.accuracy
        progress.epochs += 1
        progress.iterations += trained.steps
        progress.images += trained.images
        accuracy = learner.selection_accuracy(task) if plan.select else None
        if plan.plateau is not None and plan.plateau.of == "accuracy":
            fitting.follow(plan.plateau, -(trained.accuracy if accuracy is None else accuracy))
        elif plan.plateau is not None:
            loss = learner.selection_loss(task)
            fitting.follow(plan.plateau, trained.loss if loss is None else loss)
        if accuracy is None and plan.reference is not None:
            accuracy = trained.accuracy  # nothing to select on: the reference is a training accuracy too
        fitting.epoch += 1
        fitting.since_best += accuracy is not None
        may_be_best = plan.keep_best and fitting.epoch > plan.best_from
        if may_be_best and accuracy is not None and (fitting.best is None or accuracy >= fitting.best):
            # among equals the later epoch: it has seen more; but patience only counts real gains
            if fitting.best is None or accuracy > fitting.best:
                fitting.since_best = 0
            fitting.best, fitting.best_epoch, fitting.best_train = accuracy, fitting.epoch, trained.accuracy
            learner.state.remembered[BEST] = learner.snapshot()
        elif not plan.keep_best:
            fitting.best = accuracy
        progress.curve.append(
            {
                "phase": plan.phase,
                "epoch": progress.epochs,
                "lr": plan.optimizers.param_groups[0]["lr"],
                "loss": trained.loss,
                "train": fitting.train,
                "selection": accuracy,
            }
        )
        if learner.listener:
            rate = plan.optimizers.param_groups[0]["lr"]
            about = (task.label, plan.phase, fitting.key, fitting.epoch, plan.epochs)
            learner.listener(EpochReport(*about, trained.loss, fitting.train, accuracy, rate))

    def one_pass(self, task: LearningTask, plan: Plan, epoch: int, events: Events) -> Pass:
        """One pass over the training images."""
        learner, optimizers = self._learner, plan.optimizers
        optimizers.handle = learner.rate_handle
        optimizers.set_rates(epoch)
        batchnorm.set_modes(learner.view, training=True, bn_trains=learner.bn_trains)
        tally = Tally(learner.device)
        length = self.steps_per_epoch(task)
        for steps, batch in enumerate(self._batches(task)):
            learner.mbatch = batch
            if plan.before_iteration is not None:
                plan.before_iteration(epoch, steps, length)
            if optimizers.per_iteration:
                optimizers.set_rates(epoch, steps / length)
            self._step(plan, events)
            tally.add(learner.loss, learner.mb_output, learner.mb_y)
        return tally.result()

    def _step(self, plan: Plan, events: Events) -> None:
        """Forward, backward, update, with Avalanche's events around each."""
        learner = self._learner
        events("before_training_iteration")
        plan.optimizers.zero_grad()
        events("before_forward")
        current = learner.state.current
        learner.view.activate(learner.training_tensors(), current[HEAD_WEIGHT], current[HEAD_BIAS])
        learner.mb_output = learner.forward()
        events("after_forward")
        learner.loss = learner.criterion()
        events("before_backward")
        learner.backward()
        events("after_backward")
        if plan.after_backward is not None:
            plan.after_backward()
        events("before_update")
        plan.optimizers.step()
        events("after_update")
        events("after_training_iteration")

    def _batches(self, task: LearningTask) -> Iterator[list[Tensor]]:
        """[images, labels, task labels] of every step."""
        learner = self._learner
        if task.images is None:
            for batch in learner.dataloader:
                yield [item.to(learner.device, non_blocking=True) for item in batch]
            return
        size, generators = learner.train_mb_size, learner.state.generators
        label = torch.full((size + 1,), task.label, device=learner.device)
        usual = label[:size]
        batches = task.images.train.training_batches(size, generators["order"], generators["augmentation"])
        for images, labels in batches:
            count = len(labels)
            yield [images, labels, usual if count == size else label[:count]]

    def steps_per_epoch(self, task: LearningTask) -> int:
        """Steps of one pass over the training images, at least 1."""
        if task.images is None:
            return max(1, len(self._learner.dataloader))
        return len(batch_bounds(len(task.images.train), self._learner.train_mb_size))
