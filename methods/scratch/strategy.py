"""Every task alone, from random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from methods.engine.batchnorm import own_state
from methods.engine.parts import Parts
from methods.engine.state import LearningTask, Snapshot
from methods.engine.task_strategy import TaskStrategy
from methods.engine.weight_training import all_tensors
from methods.scratch.card import SCRATCH


class Scratch(TaskStrategy):
    """A new network for every task: CPG's accuracy goal.

    Args:
        make_backbone: builds a freshly initialised backbone (from torch's global generator); without it every task
            starts from the weights of ``backbone``.
    """

    card = SCRATCH
    head_std = 0.01
    own_purpose = "the task's whole network"

    def __init__(self, *, make_backbone: Callable[[], nn.Module] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.make_backbone = make_backbone

    @property
    def bn_trains(self) -> bool:
        """There is no other BN set than the one being trained."""
        return True

    def begin(self, task: LearningTask) -> None:
        """A whole new network."""
        fresh = own_state(self.make_backbone()).to(self.device) if self.make_backbone else self.view.backbone
        self.state.current = self.own_copies(all_tensors(fresh)) | self.new_head(task.classes)

    def shared(self) -> Snapshot:
        """Nothing is shared."""
        return {}

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Nothing is shared."""

    def stored_shared(self) -> Parts:
        """Nothing is shared."""
        return {}
