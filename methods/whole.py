"""Methods that train whole networks: ``scratch``, ``finetune``, ``finetune-sequential`` (METHODS.md 1.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from methods import batchnorm
from methods.fitting import Fitted, Plan, Snapshot
from methods.layout import weight_layers
from methods.optimise import Group, Optimizers, Schedule
from methods.settings import TrainSettings
from methods.strategy import OVERRIDE, LearningTask, TaskStrategy


def training_groups(tensors: Snapshot, backbone: nn.Module, settings: TrainSettings) -> list[Group]:
    """The trainable tensors of a task in two groups: convolution and linear weights decay, everything else does not."""
    decaying = {OVERRIDE + name for name, _ in weight_layers(backbone)}
    trained = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    schedule = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)

    def group(members: list[Tensor], decay: float) -> Group:
        return Group(members, settings.optimizer, settings.lr, schedule, settings.momentum, settings.nesterov, decay)

    return [
        group([tensor for name, tensor in trained.items() if name in decaying], settings.weight_decay),
        group([tensor for name, tensor in trained.items() if name not in decaying], 0.0),
    ]


def train_weights(strategy: TaskStrategy, task: LearningTask, settings: TrainSettings) -> Fitted:
    """One phase "train" of everything trainable in ``strategy.current``."""

    def plan() -> Plan:
        groups = training_groups(strategy.current, strategy.view.backbone, settings)
        return Plan("train", settings.epochs, Optimizers(groups))

    return strategy.fit(task, "train", plan)


class InitialTraining(TaskStrategy):
    """A strategy whose first task trains the backbone unless that came pretrained.

    That network is what CPG and KSM call task 1: trained from scratch with ``scratch`` settings, its weights and BN
    set become the backbone, and the task keeps its head. ``adopt`` takes one that was trained before. Without
    ``scratch`` the defaults hold, scaled to ``train_epochs`` where that is given.
    """

    def __init__(self, *, scratch: TrainSettings | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        epochs = arguments.get("train_epochs")
        default = TrainSettings() if epochs is None else TrainSettings().with_epochs(epochs)
        self.scratch = default if scratch is None else scratch
        self.initial: int | None = None

    @property
    def trains_backbone(self) -> bool:
        """The task under way is the one that trains the backbone."""
        return not self.pretrained and not self.learned

    @property
    def bn_trains(self) -> bool:
        """BN always learns where the backbone is trained."""
        return self.trains_backbone or super().bn_trains

    def begin(self, task: LearningTask) -> None:
        """Copies of all of the backbone for the initial task; what the method says for every other."""
        if self.trains_backbone:
            self.initial = task.label
            self.current = self.own_copies(_all_tensors(self.view.backbone)) | self.new_head(task.classes)
        else:
            self.begin_on_backbone(task)

    def learn(self, task: LearningTask) -> None:
        """One phase "train" for the initial task, the method's own phases for every other."""
        if not self.trains_backbone:
            self.learn_on_backbone(task)
            return
        train_weights(self, task, self.scratch)

    def training_tensors(self) -> dict[str, Tensor]:
        """The initial task trains plain copies; other tasks as the method says."""
        return self.overrides(self.current) if self.trains_backbone else self.backbone_training_tensors()

    def keep(self, task: LearningTask) -> Snapshot:
        """The initial task's network becomes the backbone and only its head is kept apart."""
        kept = super().keep(task)
        if not self.trains_backbone:
            return self.keep_on_backbone(task, kept)
        self.view.backbone.load_state_dict(self.overrides(kept), strict=False)
        return {name: tensor for name, tensor in kept.items() if not name.startswith(OVERRIDE)}

    def adopt(self, label: int, backbone: Snapshot, head: Snapshot) -> None:
        """Take a task-1 network trained before: ``backbone`` by parameter name, ``head`` as "head.weight/.bias"."""
        self.view.backbone.load_state_dict(backbone)
        self.learned[label] = {name: tensor.to(self.device) for name, tensor in head.items()}
        self.initial = label
        self._viewed = None

    def begin_on_backbone(self, task: LearningTask) -> None:
        """``begin`` for a task that starts from the finished backbone."""
        raise NotImplementedError

    def learn_on_backbone(self, task: LearningTask) -> None:
        """``learn`` for such a task."""
        raise NotImplementedError

    def backbone_training_tensors(self) -> dict[str, Tensor]:
        """``training_tensors`` for such a task."""
        return self.overrides(self.current)

    def keep_on_backbone(self, task: LearningTask, kept: Snapshot) -> Snapshot:
        """``keep`` for such a task; ``kept``: everything in ``current``, detached."""
        return kept


def _all_tensors(backbone: nn.Module) -> dict[str, Tensor]:
    return {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}


class Scratch(TaskStrategy):
    """Every task alone, from random weights: CPG's accuracy goal (METHODS.md 1.1 b).

    Args:
        make_backbone: builds a freshly initialised backbone (from torch's global generator); without it every task
            starts from the weights of ``backbone``.
    """

    head_std = 0.01

    def __init__(self, *, make_backbone: Callable[[], nn.Module] | None = None, **arguments: Any) -> None:
        arguments.setdefault("settings", TrainSettings())
        super().__init__(**arguments)
        self.make_backbone = make_backbone

    @property
    def bn_trains(self) -> bool:
        """There is no other BN set than the one being trained."""
        return True

    def begin(self, task: LearningTask) -> None:
        """A whole new network."""
        fresh = self.make_backbone().to(self.device) if self.make_backbone else self.view.backbone
        self.current = self.own_copies(_all_tensors(fresh)) | self.new_head(task.classes)

    def learn(self, task: LearningTask) -> None:
        """One phase "train"."""
        train_weights(self, task, self.settings)

    def shared(self) -> Snapshot:
        """Nothing is shared."""
        return {}

    def load_shared(self, tensors: Any) -> None:
        """Nothing is shared."""

    def _own_purpose(self) -> str:
        return "the task's whole network"


class FineTune(InitialTraining):
    """Every task from the task-1 (or pretrained) network, one whole network per task.

    With BN policy "frozen" the BN set stays the backbone's.
    """

    head_std = 0.01

    def __init__(self, **arguments: Any) -> None:
        arguments.setdefault("settings", TrainSettings(lr=5e-3))
        super().__init__(**arguments)

    def begin_on_backbone(self, task: LearningTask) -> None:
        """Copies of all weights, and of the BN set where that is trained."""
        tensors = _all_tensors(self.view.backbone)
        if not self.bn_trains:
            frozen = batchnorm.bn_set(self.view.backbone)
            tensors = {name: tensor for name, tensor in tensors.items() if name not in frozen}
        self.current = self.own_copies(tensors) | self.new_head(task.classes)

    def learn_on_backbone(self, task: LearningTask) -> None:
        """One phase "train"."""
        train_weights(self, task, self.settings)

    def _own_purpose(self) -> str:
        return "the task's whole network"


class FineTuneSequential(FineTune):
    """One network, its weights overwritten by every task: the baseline that forgets.

    BN policy "per-task" means that BN is trained; like the weights it is overwritten, not kept per task.
    """

    promises_no_forgetting = False
    shared_changes = True

    def keep_on_backbone(self, task: LearningTask, kept: Snapshot) -> Snapshot:
        """Overwrite the shared network; keep the head."""
        self.view.backbone.load_state_dict(self.overrides(kept), strict=False)
        return {name: tensor for name, tensor in kept.items() if not name.startswith(OVERRIDE)}


class HeadOnly(InitialTraining):
    """A new head on the frozen backbone, nothing else (with BN policy "per-task" also a BN set): the lower bound."""

    def __init__(self, **arguments: Any) -> None:
        arguments.setdefault("settings", TrainSettings())
        arguments.setdefault("bn_policy", batchnorm.FROZEN)
        super().__init__(**arguments)

    def begin_on_backbone(self, task: LearningTask) -> None:
        """A fresh head, and the task's own BN set where that is trained."""
        own = batchnorm.bn_set(self.view.backbone) if self.bn_trains else {}
        self.current = self.own_copies(own) | self.new_head(task.classes)

    def learn_on_backbone(self, task: LearningTask) -> None:
        """One phase "train"."""
        train_weights(self, task, self.settings)
