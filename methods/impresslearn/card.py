"""ImpressLearn (Bhardwaj et al., arXiv 2210.01987): linear combinations of a few masks on a random backbone."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import PRETRAINED, SIGNED_CONSTANT, Card, Look, Needs
from methods.engine.knobs import knob
from methods.supsup.card import MASK, SupSupSettings

HETEROGENEOUS, HOMOGENEOUS, RANDOM = "heterogeneous", "homogeneous", "random"
LAYER, NETWORK = "layer", "network"


@dataclass(frozen=True)
class ImpressLearnSettings(SupSupSettings):
    """SupSup's training of the impressions, and that of the coefficients."""

    impressions: int = knob(5, "K: masks that all further tasks combine", at_least=1)
    kind: str = knob(
        HETEROGENEOUS,
        "where the masks come from: the first K tasks, K trainings of the first task, or chance",
        choices=(HETEROGENEOUS, HOMOGENEOUS, RANDOM),
    )
    per: str = knob(
        LAYER, "a coefficient of every mask for each layer, or for the whole network", choices=(LAYER, NETWORK)
    )
    coefficient_lr: float = knob(1e-2, "learning rate (Adam's) of the coefficients")
    bn_affine: bool = knob(True, "train BN's affine parameters too; else only its statistics are the task's own")


IMPRESSLEARN = Card(
    name="impresslearn",
    title="ImpressLearn",
    summary="a few masks on a random network; each further task learns how to add them up (2022)",
    strategy="methods.impresslearn.strategy:ImpressLearn",
    settings=ImpressLearnSettings(),
    mask=MASK,
    paper="Bhardwaj et al., ImpressLearn, arXiv 2210.01987",
    published="2022-10",
    groups=("masks",),
    needs=Needs(task1_network=False, backbone=SIGNED_CONSTANT),
    restore="methods.impresslearn.combination:combined_weights",
    protocols={
        "digits": {"epochs": 30, "lr": 1e-2, "head_lr": 1e-2, "coefficient_lr": 1e-1, "impressions": 2},
        PRETRAINED: {"epochs": 30, "lr": 1e-2, "head_lr": 1e-2},
    },
    caveat="from the abstract and the formula: the full text and code were not available",
    look=Look("#5c6b1f", "#b5c860", "+"),
)

CARDS = (IMPRESSLEARN,)
