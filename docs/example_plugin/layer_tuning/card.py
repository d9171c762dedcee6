"""What the suite may ask of the method; imports no torch."""

from dataclasses import dataclass

from methods.card import FROZEN, Card, Look, Promises
from methods.engine.knobs import knob
from methods.settings import TrainSettings


@dataclass(frozen=True)
class LayerSettings(TrainSettings):
    """Ordinary training, and how much of the network takes part."""

    layers: int = knob(1, "convolution or linear layers that train, counted from the last", "layers", at_least=1)


CARDS = (
    Card(
        name="layer-tuning",
        title="Layer tuning",
        summary="copies of the backbone's last layers and a head, trained for every task",
        strategy="layer_tuning.strategy:LayerTuning",
        settings=LayerSettings(lr=5e-3),
        bn_policy=FROZEN,
        promises=Promises(no_forgetting=True, frozen_backbone=True),
        protocols={"digits": {"epochs": 30, "lr": 0.05, "milestones": (15, 24)}},
        look=Look("#3d6b35", "#93c98a", "*"),
    ),
)
