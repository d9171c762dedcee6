"""EMR-merging (Huang et al., NeurIPS 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import Card, Look, Needs, Promises
from methods.engine.knobs import knob
from methods.settings import NothingTrained
from methods.tall_masks.card import SHARE_TAKEN

SCALES = ("global", "layer")


@dataclass(frozen=True)
class EmrSettings(NothingTrained):
    """How the task's factor is found: the method has no other choice."""

    scale: str = knob(
        "global",
        "the task's factor is a ratio of L1 norms: of all numbers together, or of the layers' means, added up",
        choices=SCALES,
    )


EMR = Card(
    name="emr",
    title="EMR-merging",
    summary="fine-tuned networks merged by sign and size, a mask and a factor per task; nothing trains (NeurIPS 2024)",
    strategy="methods.emr.strategy:EMR",
    settings=EmrSettings(),
    paper="Huang et al., EMR-merging, NeurIPS 2024",
    published="2024-12",
    groups=("merges",),
    needs=Needs(networks_of="finetune"),
    promises=Promises(no_forgetting=False),
    restore="methods.engine.restore:merged_networks",
    measures=(SHARE_TAKEN,),
    look=Look("#556b2f", "#a9c77a", "4"),
)

CARDS = (EMR,)
