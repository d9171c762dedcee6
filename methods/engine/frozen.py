"""Methods that train numbers of their own on weights that never change: these weights, rates, a phase of Adam."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from methods.engine.layers import warn_of_unmasked
from methods.engine.layout import FlatLayout
from methods.engine.optimise import Group, Optimizers
from methods.engine.parts import HEAD
from methods.engine.schedule import Schedule, plateau_of
from methods.engine.state import LearningTask, Plan, Snapshot
from methods.engine.task_strategy import TaskStrategy
from methods.settings import MaskedSettings


class Update(NamedTuple):
    """How a trained tensor is updated."""

    optimizer: str
    momentum: float = 0.0
    weight_decay: float = 0.0


ADAM = Update("adam")


class FrozenBackbone(TaskStrategy):
    """Base: the backbone's weights as one flat tensor; a method says what it makes of them."""

    layout: FlatLayout

    def use_layout(self, layout: FlatLayout) -> None:
        """Take these layers, and warn of weights in others."""
        self.layout = layout
        warn_of_unmasked(self.view.backbone, layout.names, "they stay as the backbone has them")
        self._frozen: Tensor | None = None

    @property
    def frozen_weights(self) -> Tensor:
        """The backbone's weights in the layout's layers, flat (elements,), copied once from the finished backbone."""
        if self._frozen is None:
            self._frozen = self.layout.flatten(dict(self.view.backbone.named_parameters()))
        return self._frozen

    def adopt(self, label: int, backbone: Snapshot, head: Snapshot) -> None:
        """See ``Method.adopt``."""
        super().adopt(label, backbone, head)
        self._frozen = None

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """See ``Method.load_shared``."""
        super().load_shared(tensors)
        self._frozen = None

    def begin(self, task: LearningTask) -> None:
        """A fresh head, and the backbone's BN set to start from."""
        self._frozen = None
        super().begin(task)

    def frozen_groups(
        self, how: Callable[[str], tuple[float, Schedule]], leave_out: Collection[str] = ()
    ) -> list[Group]:
        """What trains in ``current``, by rate and schedule; ``how`` gives both for a tensor's name."""
        parted: dict[tuple[float, Schedule, Update], list[Tensor]] = {}
        for name, tensor in self.current.items():
            if tensor.requires_grad and name not in leave_out:
                parted.setdefault((*how(name), self.update_of(name)), []).append(tensor)
        return [
            Group(tensors, update.optimizer, lr, schedule, update.momentum, weight_decay=update.weight_decay)
            for (lr, schedule, update), tensors in parted.items()
        ]

    def update_of(self, name: str) -> Update:
        """How a tensor of ``current`` is updated: by Adam."""
        return ADAM

    def frozen_plan(self, how: Callable[[str], tuple[float, Schedule]], **about: Any) -> Plan:
        """The phase "train" of ``settings.epochs``; ``about``: other fields of the plan."""
        settings = self.settings
        about.setdefault("plateau", plateau_of(settings, settings.lr, settings.schedule, settings.gamma))
        return Plan("train", settings.epochs, Optimizers(self.frozen_groups(how)), **about)

    def usual_rate(self, name: str) -> float:
        """Adam's rate for a tensor of the task's head or BN set, as ``MaskedSettings`` has them."""
        settings: MaskedSettings = self.settings
        if name.startswith(HEAD):
            return settings.head_lr
        return settings.lr if settings.bn_lr is None else settings.bn_lr
