"""What a method is, apart from Avalanche: what a task starts from, trains, keeps, and is restored from.

A method says what a task starts from (``begin``), how it trains (``learn``), what a training step sees
(``training_tensors``) and what must be kept (``keep``); its card names the pure function that makes a network of what
was kept. Phases run in the ``Trainer``; what a checkpoint must hold of the task under way is the ``TaskState``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.card import Card
from methods.engine import batchnorm
from methods.engine.layers import weight_layers
from methods.engine.layout import FlatLayout
from methods.engine.masks import Mask
from methods.engine.network import TaskView
from methods.engine.parts import (
    BACKBONE,
    HEAD_BIAS,
    HEAD_WEIGHT,
    KEPT,
    OVERRIDE,
    SHARED,
    MaskCount,
    Part,
    Parts,
    StoredItem,
    head_parts,
    items,
    overrides,
    own_parts,
    tensors_of,
    without_prefix,
)
from methods.engine.state import LearningTask, PhaseResult, Plan, Progress, Snapshot, TaskState
from methods.engine.trainer import Trainer
from methods.engine.weight_training import all_tensors, training_plan
from methods.settings import TrainSettings


class Method:
    """The part of every strategy that a method's author reads, and may override."""

    card: ClassVar[Card]
    #: standard deviation of a fresh head's weights (CPG: 0.01); None: ``nn.Linear``'s default
    head_std: ClassVar[float | None] = None
    #: the backbone or other shared tensors change with every task, so every checkpoint holds them
    shared_changes: ClassVar[bool] = False
    #: later tasks change what earlier ones keep: checkpoints hold it, and its files are written anew
    kept_changes: ClassVar[bool] = False
    #: what a task's own tensors are called in the itemised size; None: by the BN policy
    own_purpose: ClassVar[str | None] = None

    settings: Any  #: the method's knobs
    bn_policy: str
    scratch: TrainSettings  #: of task 1's network
    view: TaskView  #: the network that trains and evaluates
    fixed: frozenset[str]  #: parameters that the given backbone had frozen (``requires_grad=False``)
    device: torch.device
    optimizer: Any
    task_count: int | None
    pretrained: bool
    trainer: Trainer
    state: TaskState  #: the task under way
    learned: dict[int, Parts]  #: what every learned task keeps, by task label
    layout: FlatLayout | None  #: where masked or owned weights lie; None for methods without such

    def forget_view(self) -> None:
        """What the view looks through may have changed: unpack it again when it is next asked for."""
        raise NotImplementedError

    # ------------------------------------------------------------------ what a method defines

    def begin(self, task: LearningTask) -> None:
        """Put what ``task`` starts from into ``self.state.current``: a fresh head, and what the BN policy says."""
        self.state.current = self.own_copies(self.own_norms()) | self.new_head(task.classes)

    def learn(self, task: LearningTask) -> None:
        """Train: a sequence of ``self.fit`` and ``self.progress.once`` steps, each with its own key."""
        self.train_all(task, self.settings)

    def training_tensors(self) -> dict[str, Tensor]:
        """Replacements for the backbone's tensors in a training step, differentiable in what is trained."""
        return overrides(self.current)

    def current_tensors(self) -> dict[str, Tensor]:
        """Replacements for evaluating the task under way as it would be kept."""
        return self.training_tensors()

    def keep(self, task: LearningTask) -> Parts:
        """What must be stored of the finished task, by name; packed, detached, on the training device."""
        return self.own_kept()

    def mutable(self) -> Snapshot:
        """Every tensor that training may change: what the best epoch and a checkpoint must hold."""
        return self.current

    def shared(self) -> Snapshot:
        """What all tasks share, by name: the backbone's parameters and buffers."""
        state = self.view.backbone.state_dict()
        return {BACKBONE + name: item for name, item in state.items() if not name.endswith(batchnorm.COUNTER)}

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Put ``shared`` tensors back."""
        state = {name.removeprefix(BACKBONE): tensor for name, tensor in tensors.items()}
        self.view.backbone.load_state_dict(state, strict=False)
        self.forget_view()

    def stored_shared(self) -> Parts:
        """``shared`` as it is stored: packed, and without what no learned task needs."""
        purpose = "the weights and BN set that all tasks share"
        return {name: Part(tensor, "backbone", purpose) for name, tensor in self.shared().items()}

    def pretrained_tensors(self) -> dict[str, Tensor] | None:
        """What replaces a pretrained backbone's tensors to make that network as it is still kept; None: it is not."""
        return None if self.shared_changes else {}

    def mask_of(self, kept: Mapping[str, Tensor]) -> Mask | None:
        """The mask of a learned task over ``self.layout``; None without one."""
        return None

    @property
    def bn_trains(self) -> bool:
        """BN learns in the phase under way; it always does where the backbone is trained."""
        return self.trains_backbone or self.bn_policy == batchnorm.PER_TASK

    # ------------------------------------------------------------------ helpers for methods

    @property
    def current(self) -> Snapshot:
        """What the task under way trains or carries."""
        return self.state.current

    @property
    def progress(self) -> Progress | None:
        """How far the task under way, or the last one, has come."""
        return self.state.progress

    def fit(self, task: LearningTask, key: str, make_plan: Callable[[], Plan]) -> PhaseResult:
        """Run one phase (once, also over a resume) and leave the chosen epoch's tensors in place."""
        assert self.progress is not None
        return PhaseResult(**self.progress.once(key, lambda: self.trainer.run(task, key, make_plan()).__dict__))

    def train_all(self, task: LearningTask, settings: TrainSettings) -> PhaseResult:
        """One phase "train" of everything trainable in ``current``."""
        return self.fit(task, "train", lambda: training_plan(self.current, self.view.backbone, settings))

    def new_head(self, classes: int) -> Snapshot:
        """A fresh linear head, trainable; drawn from the global CPU generator."""
        head = nn.Linear(self.feature_dim, classes)
        if self.head_std is not None:
            nn.init.normal_(head.weight, 0.0, self.head_std)
            nn.init.zeros_(head.bias)
        return {
            HEAD_WEIGHT: head.weight.detach().to(self.device).requires_grad_(),
            HEAD_BIAS: head.bias.detach().to(self.device).requires_grad_(),
        }

    def own_norms(self) -> dict[str, Tensor]:
        """What of the backbone's normalisation a task gets a copy of: the BN set, under "frozen" loose buffers only."""
        backbone = self.view.backbone
        return batchnorm.bn_set(backbone) if self.bn_trains else batchnorm.loose_buffers(backbone)

    def own_copies(self, tensors: Mapping[str, Tensor]) -> Snapshot:
        """Copies to override the backbone's tensors with; parameters are trainable unless the backbone had them
        frozen, statistics are not."""
        return {
            OVERRIDE + name: tensor.detach()
            .clone()
            .requires_grad_(isinstance(tensor, nn.Parameter) and name not in self.fixed)
            for name, tensor in tensors.items()
        }

    @torch.no_grad()
    def own_kept(self) -> Parts:
        """Head and overrides of the task under way, without batch counters and without buffers that never changed."""
        shared = {OVERRIDE + name: tensor for name, tensor in self.shared_buffers().items()}
        kept = {
            name: tensor.detach().clone()
            for name, tensor in self.current.items()
            if not name.endswith(batchnorm.COUNTER) and not (name in shared and torch.equal(tensor, shared[name]))
        }
        own = self.own_purpose or ("the task's own BN set" if self.bn_trains else "the task's own biases")
        return head_parts(kept) | own_parts(kept, own)

    def shared_buffers(self) -> dict[str, Tensor]:
        """Buffers that a task need not keep where it left them as they are, by their name in the backbone."""
        return batchnorm.loose_buffers(self.view.backbone)

    @property
    def feature_dim(self) -> int:
        """Width of the backbone's output: its ``feature_dim``."""
        width = getattr(self.view.backbone, "feature_dim", None)
        if width is None:
            raise ValueError("the backbone needs an attribute feature_dim: the number of features it returns per image")
        return int(width)

    # ------------------------------------------------------------------ the first task

    @property
    def trains_backbone(self) -> bool:
        """The task under way is the one whose network becomes the backbone."""
        return self.card.needs.task1_network and not self.pretrained and not self.learned

    def _begin(self, task: LearningTask) -> None:
        if self.trains_backbone:
            self.state.current = self.own_copies(all_tensors(self.view.backbone)) | self.new_head(task.classes)
        else:
            self.begin(task)

    def _learn(self, task: LearningTask) -> None:
        if self.trains_backbone:
            self.train_all(task, self.scratch)
        else:
            self.learn(task)

    def _keep(self, task: LearningTask) -> Parts:
        if not self.trains_backbone:
            return self.keep(task)
        trained = {name: tensor for name, tensor in self.current.items() if not name.endswith(batchnorm.COUNTER)}
        self.view.backbone.load_state_dict(overrides(trained), strict=False)
        return head_parts({name: tensor.detach().clone() for name, tensor in trained.items()})

    def adopt(self, label: int, backbone: Snapshot, head: Snapshot) -> None:
        """Take a task-1 network trained before: ``backbone`` by parameter name, ``head`` as "head.weight/.bias"."""
        self.view.backbone.load_state_dict(backbone)
        self.learned[label] = head_parts({name: tensor.to(self.device) for name, tensor in head.items()})
        self.forget_view()

    # ------------------------------------------------------------------ the answers for a runner

    def storage(self) -> list[StoredItem]:
        """What must be stored so that every learned task can be restored, nothing else."""
        kept = [item for label, parts in self.learned.items() for item in items(parts, label)]
        return items(self.stored_shared(), None) + kept

    def mask_statistics(self) -> list[MaskCount]:
        """Ones, soft values and zeros by task and layer, in the network's order; a soft value of 0 is a zero."""
        counts = []
        place = {name: at for at, (name, _) in enumerate(weight_layers(self.view.backbone))}
        for label, parts in self.learned.items():
            mask = self.mask_of(tensors_of(parts))
            if mask is None or self.layout is None:
                continue
            for slot in sorted(self.layout.slots, key=lambda slot: place[slot.name]):
                ones = int(mask.bits[slot.unit_slice].sum())
                soft = int((mask.values[slot.unit_slice] != 0).sum())
                counts.append(MaskCount(label, slot.name, slot.units, ones, soft, slot.units - ones - soft))
        return counts

    def measures(self) -> dict[str, float]:
        """Numbers of the method's own after the last learned task, by the names of ``Card.measures``; finite ones."""
        return {}

    def trainable_parameters(self) -> int:
        """Numbers that a step of the task under way updates."""
        return sum(tensor.numel() for tensor in self.current.values() if tensor.requires_grad)

    # ------------------------------------------------------------------ checkpoints

    def training_state(self) -> Snapshot:
        """Everything of the task under way that a checkpoint must hold, by name."""
        tensors = self.state.tensors()
        if hasattr(self.optimizer, "tensors"):
            tensors |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.tensors().items()}
        if self.kept_changes:
            for label, parts in self.learned.items():
                tensors |= {f"{KEPT}{label}.{name}": part.tensor for name, part in parts.items()}
        if self.shared_changes:
            tensors |= {f"{SHARED}{name}": tensor.detach() for name, tensor in self.shared().items()}
        return tensors

    def load_training_state(
        self, tensors: Mapping[str, Tensor], trainable: Iterable[str], progress: Progress | None
    ) -> None:
        """Continue where ``training_state`` was taken; ``self`` is a fresh strategy brought to where the other stood.

        ``trainable``: names in ``current`` that required gradients; ``progress``: the task's, None between tasks.
        """
        if shared := without_prefix(tensors, SHARED):
            self.load_shared({name: tensor.to(self.device) for name, tensor in shared.items()})
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(SHARED)}
        self.state = TaskState.from_tensors(own, list(trainable), progress, self.device)
        self.forget_view()

    @torch.no_grad()
    def snapshot(self) -> Snapshot:
        """Copies of every tensor that training may change."""
        return {name: tensor.detach().clone() for name, tensor in self.mutable().items()}

    @torch.no_grad()
    def put_back(self, snapshot: Snapshot) -> None:
        """Put a snapshot back, in place."""
        for name, tensor in self.mutable().items():
            tensor.copy_(snapshot[name])
