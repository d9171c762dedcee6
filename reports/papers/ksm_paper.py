"""What the tables of the KSM paper (Yang, He, Zhang and Fan, CVPR 2021) have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.papers.paper_card import FROZEN, PER_TASK

#: Row names of the printed tables -> method keys of run records.
ROWS = {
    "Scratch": "scratch",
    "Finetune": "finetune",
    "PackNet": "packnet",
    "Piggyback": "piggyback",
    "CPG": "cpg",
    "KSM": "ksm",
    "Piggyback - Ker-wise": "piggyback-kernelwise",
    "Piggyback - Soft": "piggyback-soft",
    "Ours - Softmax": "ksm-softmax",
    "Ours - Ele-wise": "ksm-elementwise",
    "Ours - Full": "ksm",
}

PROPOSED = "ksm"

#: Table 4: one switch after the other, from Piggyback to KSM.
ABLATION = ("piggyback", "piggyback-kernelwise", "piggyback-soft", "ksm-softmax", "ksm-elementwise", "ksm")

#: What the table of these steps is called wherever it stands.
ABLATION_TITLE = "Ablation from Piggyback to KSM"

#: The schedule of the authors' released code, which is not the one that the paper prints.
NAMED: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "ksm": {
        "release schedule": {"settings.lr": 2e-4, "settings.head_lr": 2e-4, "settings.schedule": "cosine"},
    }
}

#: In scenarios that the paper does not have, a method's own code still says what its BN does.
OWN_BN: Mapping[str, Mapping[str, Any]] = {"piggyback": {"bn_policy": FROZEN}, "ksm": {"bn_policy": PER_TASK}}


def table_name(number: int) -> str:
    """How a printed table is cited."""
    return f"Table {number} of the KSM paper"


def own(epochs: int, lr: float, bn_policy: str = PER_TASK, schedule: str = "step") -> Mapping[str, Any]:
    """A source's setting, as keys of a flattened specification; batches are of 32 images in all of them."""
    return {
        "epochs": epochs,
        "batch_size": 32,
        "settings.lr": lr,
        "settings.schedule": schedule,
        "bn_policy": bn_policy,
    }
