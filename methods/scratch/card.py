"""Training from random weights, task by task; it also trains task-1 networks, and sets CPG's accuracy goals."""

from __future__ import annotations

from methods.card import FROM_SCRATCH, Card, Look, Needs, SizeRule
from methods.settings import TrainSettings

SCRATCH = Card(
    name="scratch",
    title="Scratch",
    summary="every task alone from random weights: CPG's accuracy goal",
    strategy="methods.scratch.strategy:Scratch",
    settings=TrainSettings(),
    order=0,
    needs=Needs(task1_network=False, fresh_backbone=True),
    size_rule=SizeRule(whole_networks=True),
    protocols={
        "digits": {"epochs": 30, "lr": 0.05, "milestones": (15, 24)},
        # CPG's goal maker; its plateau rule becomes two fixed milestones
        "imagenet2sketch": {"epochs": 100, "lr": 1e-3, "milestones": (50, 80)},
    },
    whole_networks=True,
    reference=FROM_SCRATCH,
    look=Look("#8a6a00", "#d6b544", "P"),
)

CARDS = (SCRATCH,)
