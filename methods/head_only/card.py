"""A new head on the frozen backbone, nothing else."""

from __future__ import annotations

from methods.card import FROZEN, PRETRAINED, Card, Look, Promises
from methods.settings import TrainSettings

HEAD_ONLY = Card(
    name="head-only",
    title="Head only",
    summary="a new head on the frozen backbone: the lower bound",
    strategy="methods.head_only.strategy:HeadOnly",
    settings=TrainSettings(),
    bn_policy=FROZEN,
    order=1,
    promises=Promises(frozen_backbone=True),
    protocols={
        "digits": {"epochs": 30, "lr": 0.05, "milestones": (15, 24)},
        "imagenet2sketch": {"epochs": 30, "lr": 1e-3, "nesterov": False, "weight_decay": 0.0, "milestones": (15,)},
        PRETRAINED: {"epochs": 30, "lr": 1e-2, "nesterov": False, "weight_decay": 0.0, "milestones": (15,)},
    },
    lower_bound=True,
    look=Look("#7b4a2d", "#cf9c7c", "X"),
)  # fmt: skip

CARDS = (HEAD_ONLY,)
