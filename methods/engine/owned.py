"""Shared weights with one owner each: what PackNet and CPG have in common.

``owner`` gives, per weight, the position (1, 2, ...) of the task that owns it, 0 where it is free. A task trains the
weights it owns and sees those of earlier tasks; gradients of others' weights are zeroed after weight decay was added
by hand, so a frozen weight does not move by a single bit, whatever decay or momentum do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.engine import batchnorm
from methods.engine.layers import warn_of_unmasked
from methods.engine.layout import FlatLayout, layout_of
from methods.engine.masks import Mask
from methods.engine.optimise import Group
from methods.engine.packing import bits_for, pack_numbers
from methods.engine.parts import OVERRIDE, Part, Parts, head_parts, overrides, tensors_of, without_prefix
from methods.engine.pruning import FREE, prune_layers
from methods.engine.restore import LATEST, OWNER, POSITION, WEIGHTS, visible
from methods.engine.schedule import Schedule
from methods.engine.state import LearningTask, Snapshot
from methods.engine.task_strategy import TaskStrategy
from methods.engine.weight_training import all_tensors, by_rate


class OwnedWeights(TaskStrategy):
    """Base of PackNet and CPG: flat shared weights, an owner per weight, biases and BN per task.

    Biases and (BN policy "per-task") the BN set go on from the previous task's values and are stored per task; with
    BN policy "frozen" both stay as task 1 left them. A pretrained backbone is owner 1; ``settings.initial_prune`` of
    it is freed first, without the retraining on its own data that the original does.
    """

    layout: FlatLayout
    head_std: ClassVar[float | None] = 0.01
    shared_changes = True
    own_purpose = "the task's own biases and BN set"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.layout = layout_of(self.view.backbone, leave_out=self.fixed)
        warn_of_unmasked(self.view.backbone, self.layout.names, "every task keeps its own")
        self.weights = self.layout.flatten(dict(self.view.backbone.named_parameters())).requires_grad_()
        self.owner = torch.zeros(self.layout.elements, dtype=torch.int16, device=self.device)
        #: biases and BN set that the next task starts from, by name in the backbone
        self.latest: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in self._task_specific().items()
        }
        self._own_cache: tuple[tuple[int, int], Tensor] | None = None
        if self.pretrained:
            self.own_pretrained()

    def own_pretrained(self) -> None:
        """Give the weights of a pretrained backbone to owner 1, all but those that are freed first."""
        self.owner.fill_(1)
        prune_layers(self.weights, self.owner, self.layout, 1, self.settings.initial_prune, "current")

    def pretrained_tensors(self) -> dict[str, Tensor] | None:
        """The weights of owner 1, what was freed at the beginning being zero; biases and BN as they came."""
        if not (self.owner == 1).any():  # a method that gives nothing to the network it starts from
            return None
        return self.layout.views(self.weights.detach() * (self.owner == 1))

    @property
    def bn_trains(self) -> bool:
        """BN learns with task 1 in any case, later under policy "per-task" only."""
        first = not self.learned and not self.pretrained
        return first or super().bn_trains

    def _task_specific(self) -> dict[str, Tensor]:
        """Everything in the backbone but the owned weights: biases and the BN set."""
        owned = set(self.layout.names)
        return {name: tensor for name, tensor in all_tensors(self.view.backbone).items() if name not in owned}

    def position_of(self, task: LearningTask) -> int:
        """The task's number among the owners: pretrained weights are number 1, the first task then 2."""
        return task.position + int(self.pretrained)

    @property
    def current_position(self) -> int:
        """``position_of`` the task under way."""
        return len(self.learned) + 1 + int(self.pretrained)

    @property
    def positions(self) -> int:
        """How many owners there will be.

        Raises:
            ValueError: the number of tasks is not known.
        """
        if self.task_count is None:
            raise ValueError(f"{type(self).__name__} divides capacity between tasks: pass task_count")
        return self.task_count + int(self.pretrained)

    def begin(self, task: LearningTask) -> None:
        """All free weights become the task's; biases and BN continue from the task before."""
        self.owner.masked_fill_(self.owner == FREE, self.position_of(task))
        backbone = self.view.backbone
        parameters = dict(backbone.named_parameters())
        self.state.current = self.new_head(task.classes)
        for name in self.latest if self.bn_trains else batchnorm.loose_buffers(backbone):
            self.current[OVERRIDE + name] = (
                self.latest[name].clone().requires_grad_(name in parameters and name not in self.fixed)
            )

    def training_tensors(self) -> dict[str, Tensor]:
        """Every weight, pruned ones being zero, and the task's biases and BN set."""
        return self.layout.views(self.weights) | self._frozen_specific() | overrides(self.current)

    def _frozen_specific(self) -> dict[str, Tensor]:
        return {} if self.bn_trains else self.latest

    def shared_buffers(self) -> dict[str, Tensor]:
        """None where biases and buffers go on from task to task: the next one changes them."""
        loose = batchnorm.loose_buffers(self.view.backbone)
        return {} if self.bn_trains else {name: self.latest[name] for name in loose}

    def mutable(self) -> Snapshot:
        """What the task trains, the shared weights, and their owners."""
        return self.current | {WEIGHTS: self.weights, OWNER: self.owner}

    def shared(self) -> Snapshot:
        """Flat weights, owners, and the biases and BN set to go on from."""
        latest = {LATEST + name: tensor for name, tensor in self.latest.items()}
        return {WEIGHTS: self.weights, OWNER: self.owner} | latest

    def stored_shared(self) -> Parts:
        """Weights, the owner index in as few bits as the tasks need, and what BN policy "frozen" shares."""
        elements, bits = self.layout.elements, self._owner_bits()
        packed = pack_numbers(self.owner, bits)
        owners = Part(packed, "owner index", "which task owns each weight", bits, elements, f"uint{bits}")
        return {**self.stored_weights(), OWNER: owners, **self.stored_latest()}

    def stored_weights(self) -> Parts:
        """The shared weights as they are stored."""
        return {WEIGHTS: Part(self.weights.detach(), "backbone", "the weights that all tasks share")}

    def stored_latest(self) -> Parts:
        """The biases and BN set that all tasks share under BN policy "frozen"."""
        if self.bn_policy == batchnorm.PER_TASK:
            return {}
        purpose = "the biases and BN set that all tasks share"
        return {
            LATEST + name: Part(item, "backbone", purpose)
            for name, item in self.latest.items()
            if not name.endswith(batchnorm.COUNTER)
        }

    def _owner_bits(self) -> int:
        return bits_for(max((int(parts[POSITION].tensor) for parts in self.learned.values()), default=1))

    @torch.no_grad()
    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Put ``shared`` tensors back."""
        self.weights.copy_(tensors[WEIGHTS])
        self.owner.copy_(tensors[OWNER])
        latest = without_prefix(tensors, LATEST)
        self.latest = {name: tensor.to(self.device, copy=True) for name, tensor in latest.items()}
        self.forget_view()

    def keep(self, task: LearningTask) -> Parts:
        """The head, biases and BN set, and the task's position among the owners."""
        kept = self.own_kept()
        if self.bn_trains:
            self.latest |= {name: tensor.clone() for name, tensor in overrides(tensors_of(kept)).items()}
            if self.bn_policy == batchnorm.FROZEN:  # task 1: its biases and BN set are everybody's, kept once
                kept = head_parts(tensors_of(kept))
        position = torch.tensor([self.position_of(task)], dtype=torch.int16)
        kept[POSITION] = Part(position, "position", "the task's number among the owners", 16)
        return kept

    def mask_of(self, kept: Mapping[str, Tensor]) -> Mask:
        """The weights that a learned task's network uses."""
        used = visible(self.shared(), kept, self.layout)
        return Mask(used, torch.zeros(len(used), device=used.device))

    def decay_and_mask(self, position: int) -> None:
        """After backward: add weight decay by hand, then zero the gradient of every weight of another owner."""
        assert self.weights.grad is not None
        gradient = self.weights.grad
        if self.settings.weight_decay:
            gradient.add_(self.weights.detach(), alpha=self.settings.weight_decay)
        gradient.mul_(self._own(position))

    def _own(self, position: int) -> Tensor:
        """float32 (elements,): 1 where ``position`` owns the weight, else 0; computed when owners have changed only."""
        state = position, self.owner._version
        if self._own_cache is None or self._own_cache[0] != state:
            self._own_cache = state, (self.owner == position).to(self.weights.dtype)
        return self._own_cache[1]

    def weight_groups(self, lr: float, schedule: Schedule) -> list[Group]:
        """Shared weights (decay by hand), and the task's head, biases and BN without decay.

        A weight of another owner has no gradient, and no moment from an earlier phase: Adam leaves it alone too.
        """
        settings = self.settings
        own = {
            name: tensor for name, tensor in self.current.items() if tensor.requires_grad and not self.is_score(name)
        }
        return [
            Group(tensors, self.optimizer_kind, rate, schedule, settings.momentum, settings.nesterov)
            for rate, tensors in ((lr, [self.weights]), *by_rate(own, settings, lr).items())
        ]

    @property
    def optimizer_kind(self) -> str:
        """What updates weights: the settings' ``optimizer`` where they have one."""
        return getattr(self.settings, "optimizer", "sgd")

    @staticmethod
    def is_score(name: str) -> bool:
        """Tensors in ``current`` that are mask scores, trained apart."""
        return name == "scores"

    def trainable_parameters(self) -> int:
        """The task's own weights, head, biases and BN."""
        return super().trainable_parameters() + int((self.owner == self.current_position).sum())
