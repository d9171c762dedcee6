"""CPG (Hung et al., NeurIPS 2019) without expansion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.card import PRETRAINED, Card, Look, Needs, SizeRule, Source
from methods.engine.knobs import knob
from methods.settings import PlateauSettings, WeightSettings
from methods.space import Scaled


@dataclass(frozen=True)
class CPGSettings(PlateauSettings, WeightSettings):
    """Goal, train with picking, gradual prune, choose, retrain."""

    pick_lr: float = knob(5e-4, "Adam's rate for the scores that pick among earlier tasks' weights")
    pick_milestone: int = knob(50, "epoch after which pick_lr falls by pick_gamma", "epochs")
    pick_gamma: float = knob(0.2, "factor on pick_lr at pick_milestone")
    pick_stop: int = knob(70, "picks are fixed after this epoch, unless the task owns no weight at all", "epochs")
    min_train_accuracy: float = knob(
        0.95, "below this training accuracy a trained or pruned network is not kept", at_most=1
    )
    prune_ratios: tuple[float, ...] = knob(
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95), "pruning ratios that are tried, in this order", below=1
    )
    prune_epochs: int = knob(20, "epochs per pruning ratio", "epochs")
    prune_ramp: int = knob(4, "of which the first ones follow the cubic schedule", "epochs")
    prune_every: int = knob(10, "iterations between two cuts within the ramp", "iterations", at_least=1)
    prune_lr: float = knob(1e-3, "learning rate while pruning")
    retrain_epochs: int = knob(30, "epochs of the last step", "epochs")
    retrain_lr: float = knob(1e-3, "learning rate of the last step")
    retrain_pick_lr: float = knob(1e-4, "Adam's rate for picks in the last step")
    retrain_patience: int = knob(5, "epochs without a better accuracy before the last step stops", "epochs")
    initial_prune: float = knob(0.5, "share of a pretrained backbone that is freed before the first task", below=1)
    goal_tolerance: float = knob(0.0, "how far below the goal still counts as met, a fraction", at_most=1)

    goal_epoch: str = knob(
        "last",
        "the reference's epoch whose accuracy is the goal: its last, as pruned networks count with theirs, or its best",
        choices=("last", "best"),
        since=2,
        was="best",
    )

    schedule: str = knob(
        "step",
        "rate over epochs of the main phase: step falls at the milestones, picks' at pick_milestone; plateau where "
        "accuracy or loss stops getting better, picks' by pick_gamma at the first fall alone",
        choices=("step", "plateau"),
        since=2,
    )
    pruned_epoch: str = knob(
        "last",
        "the epoch of a pruning ratio that counts: its last, or the best from the end of the ramp on",
        choices=("last", "best"),
        since=2,
    )

    SCALED: ClassVar[tuple[str, ...]] = (
        *WeightSettings.SCALED,
        "pick_milestone",
        "pick_stop",
        "prune_epochs",
        "prune_ramp",
        "retrain_epochs",
        "retrain_patience",
    )

    @property
    def all_epochs(self) -> int:
        """Training, every pruning ratio, and retraining; a task that meets its goal late prunes less."""
        return self.epochs + len(self.prune_ratios) * self.prune_epochs + self.retrain_epochs


CPG = Card(
    name="cpg",
    title="CPG",
    summary="compact, pick, (not) grow: PackNet plus picking among earlier weights (NeurIPS 2019)",
    strategy="methods.cpg.strategy:CPG",
    settings=CPGSettings(),
    paper="Hung et al., Compacting, Picking and Growing, NeurIPS 2019",
    published="2019-12",
    groups=("paper",),
    needs=Needs(task1_network=False, goal=True),
    # as printed, which leaves out the owner index
    size_rule=SizeRule(units="element"),
    restore="methods.engine.restore:owned_weights",
    protocols={
        "digits": {
            "epochs": 30, "lr": 0.05, "milestones": (15, 24),
            "pick_lr": 1e-3, "pick_milestone": 15, "pick_stop": 21,
            "prune_epochs": 4, "prune_ramp": 2, "prune_every": 3, "prune_lr": 5e-3,
            "retrain_epochs": 10, "retrain_lr": 5e-3, "retrain_pick_lr": 1e-3,
        },
        # picks never fixed, no bound on the training accuracy, half a point of tolerance, no retraining
        "imagenet2sketch": {
            "epochs": 100, "lr": 1e-3, "milestones": (50, 80),
            "pick_lr": 1e-4, "pick_milestone": 50, "pick_stop": 100,
            "min_train_accuracy": 0.0, "prune_every": 50, "retrain_epochs": 0, "goal_tolerance": 0.005,
        },
        # as there, at the rates of CPG's Cars, clipped
        PRETRAINED: {
            "epochs": 100, "lr": 1e-2, "head_lr": 1e-2, "clip": 1.0, "milestones": (50, 80),
            "pick_lr": 1e-4, "pick_milestone": 50, "pick_stop": 100,
            "min_train_accuracy": 0.0, "prune_every": 50, "retrain_epochs": 0, "goal_tolerance": 0.005,
        },
    },
    sources={
        "imagenet2sketch": Source(
            knobs={
                "epochs": 300, "schedule": "plateau", "plateau_of": "accuracy", "patience": 5, "most_falls": 3,
                "pruned_epoch": "best", "goal_epoch": "best", "initial_prune": 0.4,
            },
            tasks={"stanford_cars_cropped": {"lr": 1e-2}},
            goal={
                "epochs": 100, "lr": 1e-3, "nesterov": True, "weight_decay": 4e-5, "schedule": "plateau",
                "plateau_of": "accuracy", "patience": 10, "most_falls": 3,
            },
            goal_tasks={"stanford_cars_cropped": {"lr": 1e-2}},
            augmentation={"cutout": 16},
        ),
    },
    space=(Scaled(("lr",)), Scaled(("head_lr",), base="lr"), Scaled(("pick_lr",))),
    look=Look("#8b3a91", "#d594da", "p"),
)  # fmt: skip

CARDS = (CPG,)
