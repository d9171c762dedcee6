"""SupSup (Wortsman et al., NeurIPS 2020): supermasks on a random backbone."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import PRETRAINED, SIGNED_CONSTANT, Card, Look, Needs, Promises, SizeRule
from methods.engine.knobs import knob
from methods.settings import EPOCH_WORDS, OPTIMIZERS, RATE_WORDS, SCHEDULES, MaskedSettings, MaskSettings

#: SupSup's point of the mask grid: the half of each layer's weights with the largest scores by magnitude
MASK = MaskSettings(units="element", surrogate="straight-through", soft="none", keep="top-magnitude", start="fan-in")


@dataclass(frozen=True)
class SupSupSettings(MaskedSettings):
    """SupSup's training of scores."""

    epochs: int = knob(100, "length of the main training phase", "epochs", above=0, also=EPOCH_WORDS)
    lr: float = knob(1e-3, "learning rate of mask scores and of a BN set per task", also=RATE_WORDS)
    head_lr: float = knob(1e-3, "learning rate of the task's head")
    schedule: str = knob("cosine", "rate over epochs, as other masks have it", choices=SCHEDULES)
    optimizer: str = knob("adam", "the optimizer; sgd takes momentum", choices=OPTIMIZERS)
    momentum: float = knob(0.9, "momentum of SGD", below=1)
    score_decay: float = knob(0.0, "weight decay on mask scores; 1e-4 in the authors' code")
    bn_affine: bool = knob(False, "train BN's affine parameters too; else only its statistics are the task's own")


SUPSUP = Card(
    name="supsup",
    title="SupSup",
    summary="the top half of a random network's weights, chosen per task (NeurIPS 2020)",
    strategy="methods.supsup.strategy:SupSup",
    settings=SupSupSettings(),
    mask=MASK,
    paper="Wortsman et al., Supermasks in Superposition, NeurIPS 2020",
    published="2020-12",
    groups=("masks",),
    needs=Needs(task1_network=False, backbone=SIGNED_CONSTANT),
    promises=Promises(frozen_backbone=True),
    size_rule=SizeRule(units="element"),
    protocols={
        "digits": {"epochs": 30, "lr": 1e-2, "head_lr": 1e-2},
        PRETRAINED: {"epochs": 30, "lr": 1e-2, "head_lr": 1e-2},
        # LeNet on the twenty superclasses, as WSN's authors ran it
        "cifar100-superclass": {
            "epochs": 50, "lr": 1e-2, "head_lr": 1e-2, "optimizer": "sgd", "schedule": "plateau", "gamma": 0.5,
            "patience": 6, "least_lr": 1e-5,
        },
    },
    look=Look("#7a4fa3", "#c39be8", "*"),
)  # fmt: skip

CARDS = (SUPSUP,)
