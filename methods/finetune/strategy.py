"""Fine-tuning: every task trains all weights of a copy of the backbone."""

from __future__ import annotations

from methods.engine import batchnorm
from methods.engine.parts import Parts, head_parts, overrides, tensors_of
from methods.engine.state import LearningTask
from methods.engine.task_strategy import TaskStrategy
from methods.engine.weight_training import all_tensors
from methods.finetune.card import FINETUNE, SEQUENTIAL


class FineTune(TaskStrategy):
    """Every task from the task-1 (or pretrained) network, one whole network per task.

    With BN policy "frozen" the BN set stays the backbone's.
    """

    card = FINETUNE
    head_std = 0.01
    own_purpose = "the task's whole network"

    def begin(self, task: LearningTask) -> None:
        """Copies of all weights, and of the BN set where that is trained."""
        backbone = self.view.backbone
        tensors = all_tensors(backbone)
        if not self.bn_trains:
            frozen = batchnorm.bn_set(backbone)
            tensors = {name: tensor for name, tensor in tensors.items() if name not in frozen} | self.own_norms()
        self.state.current = self.own_copies(tensors) | self.new_head(task.classes)


class FineTuneSequential(FineTune):
    """One network, its weights overwritten by every task: the baseline that forgets.

    BN policy "per-task" means that BN is trained; like the weights it is overwritten, not kept per task.
    """

    card = SEQUENTIAL
    shared_changes = True

    def keep(self, task: LearningTask) -> Parts:
        """Overwrite the shared network; keep the head."""
        kept = tensors_of(self.own_kept())
        self.view.backbone.load_state_dict(overrides(kept), strict=False)
        return head_parts(kept)
