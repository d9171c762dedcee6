"""TALL-masks (Wang et al., ICML 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import Card, Look, Measure, Needs, Promises
from methods.engine.knobs import knob
from methods.settings import NothingTrained

MERGES = ("sum", "ties")

#: convolutional networks want lambdas beyond the paper's, which are for vision transformers (docs/findings.md)
WIDE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0)


@dataclass(frozen=True)
class TallMasksSettings(NothingTrained):
    """How task vectors are merged, and how large a share of the merged vector a task must have for it to be taken."""

    lambdas: tuple[float, ...] = knob(
        (0.2, 0.3, 0.4, 0.5, 0.6),
        "values of lambda to choose from, per task, by accuracy on the images to select on; a larger one takes less",
        least_items=1,
    )
    merge: str = knob("sum", "the merged vector: sum of the task vectors, or ties: TIES-merging's", choices=MERGES)
    ties_share: float = knob(
        0.2, "share of each task vector, its largest numbers, that merge=ties counts", above=0, at_most=1
    )


#: of the vector that merged networks share
SHARE_TAKEN = Measure(
    "share_taken", "Share of the merged vector", "share", "what a task's mask takes of it, the mean over tasks"
)

TALL_MASKS = Card(
    name="tall-masks",
    title="TALL-masks",
    summary="fine-tuned networks summed, a mask per task that finds it in the sum; nothing trains (ICML 2024)",
    strategy="methods.tall_masks.strategy:TallMasks",
    settings=TallMasksSettings(),
    paper="Wang, Dimitriadis, Ortiz-Jimenez, Fleuret and Frossard, TALL-masks, ICML 2024",
    published="2024-07",
    groups=("merges",),
    needs=Needs(networks_of="finetune"),
    promises=Promises(no_forgetting=False),
    restore="methods.engine.restore:merged_networks",
    protocols={"cifar100-20": {"lambdas": WIDE}, "digits": {"lambdas": WIDE}},
    measures=(
        SHARE_TAKEN,
        Measure("lambda", "Lambda", "", "the mean over tasks of the factor chosen on validation images"),
    ),
    look=Look("#9d2a7d", "#ea8fd0", "1"),
)

CARDS = (TALL_MASKS,)
