"""The method: what a task starts from. Training, keeping and restoring are what ``TaskStrategy`` does by itself."""

from layer_tuning.card import CARDS
from methods.engine.layers import weight_layers
from methods.engine.state import LearningTask
from methods.engine.task_strategy import TaskStrategy


class LayerTuning(TaskStrategy):
    """Every task trains its own copies of the last layers' weights on the frozen backbone."""

    card = CARDS[0]
    own_purpose = "the task's own last layers"

    def begin(self, task: LearningTask) -> None:
        """A fresh head, copies of the last layers, and what the BN policy says."""
        super().begin(task)
        last = dict(weight_layers(self.view.backbone)[-self.settings.layers :])
        parameters = dict(self.view.backbone.named_parameters())
        self.current.update(self.own_copies({name: parameters[name] for name in last}))
