"""The claims of the KSM paper, each a named check. A new claim is one entry of ``CLAIMS``."""

from __future__ import annotations

from dataclasses import dataclass

from reports.checks import (
    Check,
    about_as_accurate,
    every_initial_task_above,
    fewer_mask_units,
    initial_task_spread,
    later_layers_change_more,
    more_accurate,
    no_forgetting,
    size_at_most,
    slower,
    soft_share_at_most,
)
from reports.evidence import OWN, SAME, Evidence
from reports.grouping import Panel
from reports.setting import incomparable


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and how it is checked on a panel."""

    key: str
    statement: str
    source: str  #: where the paper says so
    printed: str  #: what the paper's own numbers give
    check: Check


@dataclass(frozen=True)
class Checked:
    """A claim and what a panel says about it."""

    claim: Claim
    evidence: Evidence
    away: bool = False  #: judged on runs that were trained otherwise than the paper's


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "ksm-above-piggyback",
        "KSM's mean accuracy is above Piggyback's",
        "tables 1 and 2",
        "+1.37 points on the twenty tasks, +2.41 on ImageNet-to-Sketch",
        more_accurate("ksm", "piggyback", bn=OWN),
    ),
    Claim(
        "ksm-above-piggyback-same-bn",
        "KSM's mean accuracy is above Piggyback's under the same BN policy",
        "not tested by the paper",
        "Piggyback's BN is frozen, KSM's code trains it per task",
        more_accurate("ksm", "piggyback", bn=SAME),
    ),
    Claim(
        "ksm-above-packnet",
        "KSM's mean accuracy is above PackNet's",
        "tables 1 and 2",
        "+11.80 points on the twenty tasks, +4.83 on ImageNet-to-Sketch",
        more_accurate("ksm", "packnet"),
    ),
    Claim(
        "ksm-near-cpg",
        "KSM is as accurate as CPG or better (not more than one point below)",
        "abstract, tables 1, 2",
        "+0.58 points on the twenty tasks, −0.24 on ImageNet-to-Sketch",
        more_accurate("ksm", "cpg", by=-1.0),
    ),
    Claim(
        "ksm-above-finetune",
        "KSM's mean accuracy is above fine-tuning each task alone",
        "table 2",
        "+0.33 points on ImageNet-to-Sketch",
        more_accurate("ksm", "finetune"),
    ),
    Claim(
        "ksm-above-scratch",
        "KSM's mean accuracy is above training each task from scratch (positive transfer)",
        "experiments, twenty tasks",
        "+0.53 points against CPG's scratch row",
        more_accurate("ksm", "scratch"),
    ),
    Claim(
        "ksm-as-fast-as-piggyback",
        "KSM trains at least as fast as Piggyback (at most 5 % slower)",
        "table 1, figure 4",
        "Piggyback takes 1.18 times as long",
        slower("piggyback", "ksm", times=1 / 1.05, bn=OWN),
    ),
    Claim(
        "ksm-as-fast-as-piggyback-same-bn",
        "KSM trains at least as fast as Piggyback under the same BN policy (at most 5 % slower)",
        "not tested by the paper",
        "KSM's BN is trained per task, Piggyback's stays frozen",
        slower("piggyback", "ksm", times=1 / 1.05, bn=SAME),
    ),
    Claim(
        "cpg-ten-times-ksm",
        "CPG takes more than ten times as long as KSM",
        "table 1, figure 5",
        "21.7 times in the table, about ten times in the text",
        slower("cpg", "ksm", times=10),
    ),
    Claim(
        "cpg-ten-times-ksm-per-epoch",
        "CPG takes more than ten times as long as KSM per epoch",
        "not tested by the paper",
        "most of the published ratio is epochs",
        slower("cpg", "ksm", times=10, per_epoch=True),
    ),
    Claim(
        "packnet-slower-than-ksm",
        "PackNet takes longer than KSM",
        "experiments, training time",
        "3.87 times on the twenty tasks",
        slower("packnet", "ksm", times=1),
    ),
    Claim(
        "packnet-slower-than-piggyback",
        "PackNet takes longer than Piggyback",
        "experiments, training time",
        "3.27 times on the twenty tasks",
        slower("packnet", "piggyback", times=1, bn=OWN),
    ),
    Claim(
        "soft-adds",
        "Soft values add accuracy to Piggyback",
        "table 4",
        "+1.08 points",
        more_accurate("piggyback-soft", "piggyback"),
    ),
    Claim(
        "soft-adds-to-softmax",
        "Soft values add accuracy on top of the softmax trick",
        "table 4",
        "+0.59 points",
        more_accurate("ksm-elementwise", "ksm-softmax"),
    ),
    Claim(
        "softmax-adds",
        "The softmax trick adds accuracy to Piggyback",
        "table 4",
        "+1.76 points",
        more_accurate("ksm-softmax", "piggyback"),
    ),
    Claim(
        "kernel-units-cost-nothing",
        "Kernel units cost almost nothing in Piggyback (less than half a point)",
        "table 4",
        "−0.15 points",
        about_as_accurate("piggyback-kernelwise", "piggyback", within=0.5),
    ),
    Claim(
        "kernel-units-cost-nothing-ksm",
        "Kernel units cost almost nothing in KSM (less than half a point)",
        "table 4",
        "+0.06 points",
        about_as_accurate("ksm", "ksm-elementwise", within=0.5),
    ),
    Claim(
        "initial-task-one-point",
        "The initial task changes KSM's mean by at most about one point (1.5)",
        "table 3",
        "1.27 points between the best and the worst",
        initial_task_spread("ksm", within=1.5),
    ),
    Claim(
        "any-initial-task-above-piggyback",
        "From whatever initial task, KSM's mean is above Piggyback's",
        "table 3",
        "+0.10 points for the worst (78.01 against 77.91)",
        every_initial_task_above("ksm", "piggyback"),
    ),
    Claim("ksm-no-forgetting", "KSM does not forget", "by construction", "not printed", no_forgetting("ksm")),
    Claim(
        "nine-times-smaller",
        "KSM has nine times fewer mask units than Piggyback",
        "introduction",
        "9 for 3×3 kernels, 1.75 over ResNet-50",
        fewer_mask_units("ksm", "piggyback", times=9),
    ),
    Claim(
        "size-slightly-larger",
        "KSM's model is only slightly larger than Piggyback's (at most a quarter)",
        "table 2",
        "146 against 121 MiB, 1.21 times",
        size_at_most("ksm", "piggyback", times=1.25),
    ),
    Claim(
        "soft-values-are-few",
        "Soft values are a small portion of KSM's mask (at most a quarter)",
        "soft mask, table 2",
        "about 12 %, from the printed size",
        soft_share_at_most("ksm", share=0.25),
    ),
    Claim(
        "later-layers-change-more",
        "Later layers change more than earlier ones",
        "figure 6",
        "no numbers printed",
        later_layers_change_more("ksm"),
    ),
)


def check_claims(panel: Panel) -> tuple[Checked, ...]:
    """Every claim on one panel, in the order of ``CLAIMS``."""
    other = {item.label for item in panel.everything if incomparable(panel, item)}
    found = []
    for claim in CLAIMS:
        evidence = claim.check(panel)
        found.append(Checked(claim, evidence, not other.isdisjoint(evidence.compared)))
    return tuple(found)
