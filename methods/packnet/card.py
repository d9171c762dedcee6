"""PackNet (Mallya and Lazebnik, CVPR 2018), in CPG's re-implementation and with the original's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.card import FROZEN, PRETRAINED, Card, Look, Needs, SizeRule, Source
from methods.engine.knobs import knob
from methods.settings import OPTIMIZERS, SCHEDULES, PlateauSettings, WeightSettings
from methods.space import OF_WEIGHTS


@dataclass(frozen=True)
class PackNetSettings(PlateauSettings, WeightSettings):
    """CPG's PackNet: train, prune once per layer by magnitude, retrain."""

    optimizer: str = knob("sgd", "the optimizer; sgd takes momentum and nesterov", choices=OPTIMIZERS, since=2)
    schedule: str = knob(
        "step",
        "rate over epochs: step falls at the milestones, cosine every iteration, plateau where the loss stops falling",
        choices=SCHEDULES,
        since=2,
    )

    prune_ratio: tuple[float, ...] = knob(
        (0.6,),
        "share of each layer that a task gives up: one for all tasks or one per task (the last repeats)",
        below=1,
        least_items=1,
    )
    equal_share: bool = knob(False, "leave every task the same share 1/N of each layer instead of prune_ratio")
    prune_last: bool = knob(True, "prune the last task too, as CPG's PackNet does; the original does not")
    ratio_of: str = knob(
        "free",
        "what the ratio counts: current and free weights (CPG's), or current ones (the original's)",
        choices=("free", "current"),
    )
    initial_prune: float = knob(
        0.5, "share of a pretrained backbone that is freed first (the original's ImageNet step)", below=1
    )
    retrain_epochs: int = knob(30, "epochs of training after the cut", "epochs")
    retrain_lr: float = knob(1e-3, "learning rate after the cut")
    retrain_milestones: tuple[int, ...] = knob((25,), "epochs after which retrain_lr falls by gamma", "epochs")

    SCALED: ClassVar[tuple[str, ...]] = (*WeightSettings.SCALED, "retrain_epochs", "retrain_milestones")

    @property
    def all_epochs(self) -> int:
        """Training and retraining."""
        return self.epochs + self.retrain_epochs


PACKNET = Card(
    name="packnet",
    title="PackNet",
    summary="prune, keep, reuse the freed weights for the next task (CVPR 2018)",
    strategy="methods.packnet.strategy:PackNet",
    settings=PackNetSettings(),
    paper="Mallya and Lazebnik, PackNet, CVPR 2018",
    published="2018-06",
    groups=("paper",),
    needs=Needs(task1_network=False),
    size_rule=SizeRule(owner_index=True),
    restore="methods.engine.restore:owned_weights",
    protocols={
        "digits": {
            "epochs": 30, "lr": 0.05, "milestones": (15, 24),
            "retrain_epochs": 10, "retrain_lr": 0.01, "retrain_milestones": (8,),
        },
        # the original's
        "imagenet2sketch": {
            "epochs": 20, "lr": 1e-3, "nesterov": False, "weight_decay": 0.0, "milestones": (10,),
            "prune_ratio": (0.75,), "ratio_of": "current", "prune_last": False,
            "retrain_epochs": 10, "retrain_lr": 1e-4, "retrain_milestones": (),
        },
        # LeNet on the twenty superclasses, as WSN's authors ran it; an equal share for every task
        "cifar100-superclass": {
            "epochs": 50, "lr": 1e-2, "nesterov": False, "weight_decay": 0.0, "schedule": "plateau", "gamma": 0.5,
            "least_lr": 1e-5, "equal_share": True, "retrain_epochs": 25, "retrain_lr": 1e-3,
        },
        # as in imagenet2sketch, at ten times its rates, clipped
        PRETRAINED: {
            "epochs": 20, "lr": 1e-2, "head_lr": 1e-2, "clip": 1.0, "nesterov": False, "weight_decay": 0.0,
            "milestones": (10,), "prune_ratio": (0.75,), "ratio_of": "current", "prune_last": False,
            "retrain_epochs": 10, "retrain_lr": 1e-3, "retrain_milestones": (),
        },
    },
    # the original keeps biases and BN as ImageNet left them
    sources={"imagenet2sketch": Source(bn_policy=FROZEN)},
    space=OF_WEIGHTS,
    look=Look("#00785b", "#45c6a0", "D"),
)  # fmt: skip

CARDS = (PACKNET,)
