"""HAT (Serra et al., ICML 2018): hard attention to the task."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import PRETRAINED, Card, Look, Measure, Needs, Promises
from methods.engine.knobs import knob
from methods.settings import RATE_WORDS, SCHEDULES, PlateauSettings, WeightSettings
from methods.space import FALLING, Scaled

STARTS = ("normal", "uniform")


@dataclass(frozen=True)
class HATSettings(PlateauSettings, WeightSettings):
    """Gates on units, and the weights between them, trained together by SGD."""

    lr: float = knob(0.05, "learning rate of weights, head and BN set", also=RATE_WORDS)
    momentum: float = knob(0.9, "momentum of SGD; gates have none", below=1)
    nesterov: bool = knob(False, "Nesterov's form of momentum")
    weight_decay: float = knob(
        0.0,
        "weight decay on convolution and linear weights only, where no task protects them",
        also=("wd", "l2", "decay"),
    )
    clip: float | None = knob(
        1e4, "largest norm of all gradients together; where it is larger, all are scaled down; none: any", above=0
    )
    schedule: str = knob(
        "step",
        "rate over epochs: step falls at the milestones, cosine every iteration, plateau where the loss stops falling",
        choices=SCHEDULES,
    )
    gate_rate: float = knob(
        1.0, "how fast gates learn, as a multiple of lr: a factor on their embeddings' gradient, before clip is applied"
    )
    sparsity: float = knob(0.75, "lambda: weight of the regulariser, which keeps units free for later tasks")
    scale: float = knob(400.0, "s_max: how steep gates are at the end of an epoch and in a finished task", above=1)
    start: str = knob(
        "normal",
        "where embeddings start: normal with deviation 1, half of the gates open; uniform from 0 to 2, all open",
        choices=STARTS,
    )
    binarise: bool = knob(
        True, "a finished gate is 0 or 1, so that nothing is forgotten; false: sigmoid(scale e), the original's"
    )


#: pretrained weights: all gates open at first, and slow, so that the network is not torn apart (docs/departures.md)
OF_PRETRAINED = {
    "epochs": 30, "lr": 1e-2, "head_lr": 1e-2, "clip": 1.0, "milestones": (15,), "start": "uniform", "gate_rate": 0.01,
}  # fmt: skip

HAT = Card(
    name="hat",
    title="HAT",
    summary="gates on units protect the weights between units in use (ICML 2018)",
    strategy="methods.hat.strategy:HardAttention",
    settings=HATSettings(),
    paper="Serra et al., Overcoming catastrophic forgetting with hard attention to the task, ICML 2018",
    published="2018-07",
    groups=("masks",),
    needs=Needs(task1_network=False),
    promises=Promises(no_forgetting=True, only_with="binarise"),
    restore="methods.hat.gates:gated_network",
    protocols={
        "digits": {"epochs": 30, "milestones": (15, 24)},
        "imagenet2sketch": OF_PRETRAINED,
        PRETRAINED: OF_PRETRAINED,
    },
    space=(Scaled(("lr",)), Scaled(("gate_rate",)), FALLING),
    measures=(
        Measure("units_used", "Units in use", "share", "units that some task so far uses, of all"),
        Measure(
            "weight_drift",
            "Drift of protected weights",
            "share",
            "by how much protected weights have moved, relative to their magnitudes; 0 with binary gates",
        ),
    ),
    look=Look("#3c7d22", "#93cf6f", "8"),
)

CARDS = (HAT,)
