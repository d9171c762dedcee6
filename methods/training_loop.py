"""The training loop: epochs of one phase, one pass over the images, one step.

Beyond the arithmetic of a plain PyTorch loop a step costs next to nothing: batches are cut on the device, plugins are
called only where they override something, and nothing waits for the device before the pass is over (AVALANCHE.md 3.7).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from methods import batchnorm
from methods.fitting import EpochReport, Fitted, Fitting, Plan
from methods.listeners import Events
from methods.tensor_data import batch_bounds

if TYPE_CHECKING:
    from methods.strategy import LearningTask, TaskStrategy

HEAD_WEIGHT, HEAD_BIAS = "head.weight", "head.bias"


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


def run_phase(strategy: TaskStrategy, task: LearningTask, key: str, plan: Plan) -> Fitted:
    """All epochs of a phase, from its beginning or from where a checkpoint stood; leaves the chosen epoch's tensors."""
    progress = strategy.progress
    assert progress is not None
    if progress.fitting is None or progress.fitting.key != key:
        progress.fitting = Fitting(key)
        if plan.reference is not None:
            progress.fitting.best, strategy.best = plan.reference
    elif strategy.resumed_optimizer is not None:
        plan.optimizers.load_tensors(strategy.resumed_optimizer)
    strategy.resumed_optimizer = None
    fitting = progress.fitting
    strategy.optimizer = plan.optimizers
    events = Events(strategy, strategy.plugins)
    while fitting.epoch < plan.epochs and not strategy._stop_training:
        if plan.patience is not None and fitting.since_best >= plan.patience:
            break
        _epoch(strategy, task, plan, fitting, events)
        if strategy.checkpoint:
            strategy.checkpoint()
    strategy._stop_training = False
    if strategy.best:
        strategy.restore(strategy.best)
    strategy.best = {}
    progress.fitting = None
    # release the optimizer's moments; the next phase brings its own
    strategy.optimizer = torch.optim.SGD([torch.zeros(1, device=strategy.device, requires_grad=True)], lr=0.0)
    kept = fitting.train if fitting.best_epoch is None else fitting.best_train
    return Fitted(kept, fitting.best, fitting.epoch, fitting.best_epoch)


def _epoch(strategy: TaskStrategy, task: LearningTask, plan: Plan, fitting: Fitting, events: Events) -> None:
    """One pass, the accuracy on the images to select on, and what follows from it."""
    progress = strategy.progress
    assert progress is not None
    with strategy.phase(plan.phase):
        events("before_training_epoch")
        trained = one_pass(strategy, task, plan, fitting.epoch, events)
        events("after_training_epoch")
    if not math.isfinite(trained.loss):
        raise FloatingPointError(
            f"training diverged: the loss of task {task.label} became {trained.loss} in epoch {fitting.epoch + 1} of "
            f"phase {plan.phase}; lower the learning rate"
        )
    fitting.train = trained.accuracy
    progress.epochs += 1
    progress.iterations += trained.steps
    progress.images += trained.images
    accuracy = strategy.selection_accuracy(task) if plan.select else None
    if accuracy is None and plan.reference is not None:
        accuracy = trained.accuracy  # nothing to select on: compared with a reference that is a training accuracy too
    fitting.epoch += 1
    fitting.since_best += accuracy is not None
    if plan.keep_best and accuracy is not None and (fitting.best is None or accuracy >= fitting.best):
        # among equals the later epoch: it has seen more; but patience only counts real gains
        if fitting.best is None or accuracy > fitting.best:
            fitting.since_best = 0
        fitting.best, fitting.best_epoch, fitting.best_train = accuracy, fitting.epoch, trained.accuracy
        strategy.best = strategy.snapshot()
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
    if strategy.listener:
        report = EpochReport(
            task.label, plan.phase, fitting.key, fitting.epoch, plan.epochs, trained.loss, fitting.train, accuracy
        )
        strategy.listener(report)


def one_pass(strategy: TaskStrategy, task: LearningTask, plan: Plan, epoch: int, events: Events) -> Pass:
    """One pass over the training images."""
    optimizers = plan.optimizers
    optimizers.set_rates(epoch)
    batchnorm.set_modes(strategy.view, training=True, bn_trains=strategy.bn_trains)
    tally = Tally(strategy.device)
    length = _steps_per_epoch(strategy, task)
    for steps, batch in enumerate(_training_batches(strategy, task)):
        strategy.mbatch = batch
        if plan.before_iteration is not None:
            plan.before_iteration(epoch, steps, length)
        if optimizers.per_iteration:
            optimizers.set_rates(epoch, steps / length)
        _step(strategy, plan, events)
        tally.add(strategy.loss, strategy.mb_output, strategy.mb_y)
    return tally.result()


def _step(strategy: TaskStrategy, plan: Plan, events: Events) -> None:
    """Forward, backward, update, with Avalanche's events around each."""
    events("before_training_iteration")
    plan.optimizers.zero_grad()
    events("before_forward")
    current = strategy.current
    strategy.view.look_through(strategy.training_tensors(), current[HEAD_WEIGHT], current[HEAD_BIAS])
    strategy.mb_output = strategy.forward()
    events("after_forward")
    strategy.loss = strategy.criterion()
    events("before_backward")
    strategy.backward()
    events("after_backward")
    if plan.after_backward is not None:
        plan.after_backward()
    events("before_update")
    plan.optimizers.step()
    events("after_update")
    events("after_training_iteration")


def _training_batches(strategy: TaskStrategy, task: LearningTask) -> Iterator[list[Tensor]]:
    """[images, labels, task labels] of every step."""
    if task.images is None:
        for batch in strategy.dataloader:
            yield [item.to(strategy.device, non_blocking=True) for item in batch]
        return
    size = strategy.train_mb_size
    label = torch.full((size + 1,), task.label, device=strategy.device)
    usual = label[:size]
    order, augmentation = strategy.generators["order"], strategy.generators["augmentation"]
    for images, labels in task.images.train.training_batches(size, order, augmentation):
        count = len(labels)
        yield [images, labels, usual if count == size else label[:count]]


def _steps_per_epoch(strategy: TaskStrategy, task: LearningTask) -> int:
    if task.images is None:
        return max(1, len(strategy.dataloader))
    return len(batch_bounds(len(task.images.train), strategy.train_mb_size))
