"""Fine-tuning of all weights, per task and in sequence."""

from __future__ import annotations

from methods.card import FROM_PRETRAINED, PRETRAINED, Card, Look, Promises, SizeRule
from methods.settings import TrainSettings

#: rates half an order below those of training from scratch
SETTINGS = TrainSettings(lr=5e-3)

PROTOCOLS = {
    "digits": {"epochs": 30, "lr": 0.02, "milestones": (15, 24)},
    # Piggyback's "individual networks"
    "imagenet2sketch": {"epochs": 30, "lr": 1e-3, "nesterov": False, "weight_decay": 0.0, "milestones": (15,)},
    # as there, at a rate that trains in few steps; clipped, so that networks without BN survive it (docs/departures.md)
    PRETRAINED: {
        "epochs": 30, "lr": 1e-2, "head_lr": 1e-2, "clip": 1.0, "nesterov": False, "weight_decay": 0.0,
        "milestones": (15,),
    },
}  # fmt: skip

FINETUNE = Card(
    name="finetune",
    title="Fine-tune",
    summary="a whole network per task, each from the task-1 network",
    strategy="methods.finetune.strategy:FineTune",
    settings=SETTINGS,
    order=2,
    groups=("paper",),
    size_rule=SizeRule(whole_networks=True),
    protocols=PROTOCOLS,
    whole_networks=True,
    reference=FROM_PRETRAINED,
    look=Look("#646d79", "#aab3be", "s"),
)

SEQUENTIAL = Card(
    name="finetune-sequential",
    title="Fine-tune, in sequence",
    summary="one network overwritten by every task: forgetting made visible",
    strategy="methods.finetune.strategy:FineTuneSequential",
    settings=SETTINGS,
    family="finetune",
    order=3,
    promises=Promises(no_forgetting=False),
    protocols=PROTOCOLS,
    look=Look("#a8324a", "#f0899b", "v"),
)

CARDS = (FINETUNE, SEQUENTIAL)
