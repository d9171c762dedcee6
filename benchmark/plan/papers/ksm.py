"""KSM (Yang et al., CVPR 2021): tables 1 to 4, under the protocol of CPG and of the authors' release."""

from __future__ import annotations

from benchmark.plan.tables import Part, Preset
from methods.card import BN_POLICIES, SOURCE

#: the release's schedule, against the paper's, which is the default
RELEASE_SCHEDULE = {"ksm.lr": 2e-4, "ksm.head_lr": 2e-4, "ksm.schedule": "cosine"}

#: the rows of table 4
ABLATION = ("piggyback", "piggyback-kernelwise", "piggyback-soft", "ksm-softmax", "ksm-elementwise", "ksm")

TABLES = (
    Preset(
        "table1",
        "twenty tasks of CIFAR-100: accuracy and training seconds per task and method",
        "cifar100-20",
        (
            Part(("scratch",)),
            Part(("piggyback",)),
            Part(("piggyback",), {"bn_policy": "per-task"}),
            Part(("ksm",)),
            Part(("ksm",), overrides=RELEASE_SCHEDULE),
            Part(("packnet", "head-only", "finetune", "cpg")),
        ),
    ),
    Preset(
        "table2",
        "ImageNet-to-Sketch: five domains, five methods, each as its own code ran it; accuracy and model size",
        "imagenet2sketch",
        (Part(("ksm", "piggyback", "finetune", "packnet", "cpg")),),
        protocol=SOURCE,
    ),
    Preset(
        "table3",
        "KSM on the twenty tasks with five initial tasks",
        "cifar100-20",
        tuple(Part(("ksm",), {"initial_task": task}) for task in (1, 5, 10, 15, 20)),
    ),
    Preset(
        "table4",
        "the six ablation rows under both BN policies (on the twenty tasks unless --scenario says otherwise)",
        "cifar100-20",
        tuple(Part(ABLATION, {"bn_policy": policy}) for policy in BN_POLICIES),
    ),
)
