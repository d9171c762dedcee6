"""PackNet (Mallya and Lazebnik, CVPR 2018), in CPG's re-implementation and with the original's options.

Per task: train all free weights; cut the smallest of them, layer by layer; retrain the rest. What was cut is free for
the next task.
"""

from __future__ import annotations

from methods.engine.optimise import Optimizers
from methods.engine.owned import OwnedWeights
from methods.engine.pruning import equal_share_ratio, prune_layers
from methods.engine.schedule import Schedule, plateau_of
from methods.engine.state import LearningTask, Plan
from methods.packnet.card import PACKNET, PackNetSettings


class PackNet(OwnedWeights):
    """Train, prune once, retrain.

    ``settings.prune_ratio`` gives the ratios (one for all tasks, or one per task with the last one repeating);
    ``settings.equal_share`` leaves each of ``task_count`` tasks the same share of every layer instead.
    """

    card = PACKNET
    settings: PackNetSettings

    def learn(self, task: LearningTask) -> None:
        """Train, cut, retrain."""
        settings = self.settings
        assert self.progress is not None
        falling = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)
        self.fit(task, "train", lambda: self._plan(task, "train", settings.epochs, settings.lr, falling))
        ratio = self.ratio(task)
        if ratio == 0:
            return
        self.progress.once("prune", lambda: self._prune(task, ratio))
        again = Schedule(settings.schedule, settings.retrain_epochs, settings.retrain_milestones, settings.gamma)
        self.fit(
            task, "retrain", lambda: self._plan(task, "retrain", settings.retrain_epochs, settings.retrain_lr, again)
        )

    def ratio(self, task: LearningTask) -> float:
        """The share of each layer's candidates that this task must give up."""
        settings = self.settings
        if settings.equal_share:
            return equal_share_ratio(self.position_of(task), self.positions)
        if not settings.prune_last and task.position == self.task_count:
            return 0.0
        return settings.prune_ratio[min(task.position, len(settings.prune_ratio)) - 1]

    def _prune(self, task: LearningTask, ratio: float) -> int:
        rule = "free" if self.settings.equal_share else self.settings.ratio_of
        with self.phase("prune"):
            return int(prune_layers(self.weights, self.owner, self.layout, self.position_of(task), ratio, rule))

    def _plan(self, task: LearningTask, phase: str, epochs: int, lr: float, schedule: Schedule) -> Plan:
        position = self.position_of(task)
        return Plan(
            phase,
            epochs,
            Optimizers(self.weight_groups(lr, schedule), self.settings.clip),
            after_backward=lambda: self.decay_and_mask(position),
            plateau=plateau_of(self.settings, lr, self.settings.schedule, self.settings.gamma),
        )
