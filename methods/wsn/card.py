"""WSN, winning subnetworks (Kang et al., ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import PRETRAINED, Card, Look, Measure, Needs, SizeRule
from methods.engine.knobs import knob
from methods.settings import OPTIMIZERS, RATE_WORDS, SCHEDULES, PlateauSettings, WeightSettings
from methods.space import FALLING, Scaled


@dataclass(frozen=True)
class WSNSettings(PlateauSettings, WeightSettings):
    """WSN's training: weights, scores, biases, BN set and head together."""

    lr: float = knob(1e-3, "learning rate of weights, BN set and head", also=RATE_WORDS)
    score_lr: float | None = knob(None, "learning rate of mask scores; none: lr")
    optimizer: str = knob("adam", "the optimizer; sgd takes momentum and nesterov", choices=OPTIMIZERS)
    schedule: str = knob("plateau", "rate over epochs; the authors' is plateau", choices=SCHEDULES)
    gamma: float = knob(0.5, "factor on the rate at each milestone or plateau")
    least_lr: float = knob(1e-6, "with schedule plateau: training ends when the rate falls below")
    weight_decay: float = knob(0.0, "weight decay on the weights that are still free")
    density: float = knob(
        0.1, "share c of each layer's weights that a task uses", above=0, at_most=1, also=("sparsity", "c")
    )
    protect_initial: bool = knob(
        False, "on pretrained weights: the share c with the largest magnitudes is used by the pretraining, so frozen"
    )


WSN = Card(
    name="wsn",
    title="WSN",
    summary="winning subnetworks: weights and masks trained together, used weights frozen (ICML 2022)",
    strategy="methods.wsn.strategy:WSN",
    settings=WSNSettings(),
    paper="Kang et al., Forget-free Continual Learning with Winning Subnetworks, ICML 2022",
    published="2022-07",
    groups=("masks",),
    needs=Needs(task1_network=False),
    size_rule=SizeRule(units="element"),
    restore="methods.wsn.selection:selected_weights",
    protocols={
        "digits": {"epochs": 30, "lr": 1e-2, "schedule": "step", "milestones": (15, 24), "density": 0.5},
        PRETRAINED: {"epochs": 20, "lr": 1e-3, "schedule": "cosine", "clip": 1.0},
        # LeNet on the twenty superclasses, as its authors ran it
        "cifar100-superclass": {"epochs": 50, "least_lr": 1e-5, "density": 0.5},
    },
    space=(Scaled(("lr",)), Scaled(("score_lr",), base="lr"), FALLING),
    look=Look("#a3374a", "#f08a9b", "x"),
    measures=(
        Measure(
            "coded_mask_bytes",
            "Masks of all tasks, coded",
            "bytes",
            "Huffman's code over each weight's bits in up to sixteen tasks, with its table",
        ),
        Measure("plain_mask_bytes", "Masks of all tasks, plain", "bytes", "one bit per weight and task"),
        Measure(
            "capacity",
            "Capacity",
            "percent",
            "weights in use, and the coded masks, as a share of the network's weights at 32 bits each",
        ),
    ),
)

CARDS = (WSN,)
