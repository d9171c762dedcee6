"""What methods there are: names, one-line summaries and lazy targets. Imports neither torch nor Avalanche."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from methods.settings import CPGSettings, MaskedSettings, MaskSettings, PackNetSettings, Settings, TrainSettings

FROZEN, PER_TASK = "frozen", "per-task"


@dataclass(frozen=True)
class MethodInfo:
    """One name of the suite."""

    name: str
    target: str  #: "module:class"
    summary: str
    family: str  #: whose settings a scenario's protocol overrides
    settings: Settings
    bn_policy: str  #: the policy of the method's source (METHODS.md 1.5)
    mask: MaskSettings | None = None
    starts_from_task1: bool = True  #: needs the shared task-1 network where the backbone is not pretrained
    whole_networks: bool = False  #: stores a whole network per task
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> type[Any]:
        """The strategy class; imports torch and Avalanche."""
        module, name = self.target.split(":")
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


_STRAIGHT = {"surrogate": "straight-through", "strict": True}


def _masked(name: str, summary: str, bn_policy: str = PER_TASK, **mask: Any) -> MethodInfo:
    target = "methods.masked:MaskedBackbone"
    return MethodInfo(name, target, summary, "masked", MaskedSettings(), bn_policy, MaskSettings(**mask))


METHODS: dict[str, MethodInfo] = {
    info.name: info
    for info in (
        MethodInfo(
            "finetune",
            "methods.whole:FineTune",
            "a whole network per task, each from the task-1 network",
            "finetune",
            TrainSettings(lr=5e-3),
            PER_TASK,
            whole_networks=True,
        ),
        MethodInfo(
            "packnet",
            "methods.packnet:PackNet",
            "prune, keep, reuse the freed weights for the next task (CVPR 2018)",
            "packnet",
            PackNetSettings(),
            PER_TASK,
            starts_from_task1=False,
        ),
        _masked(
            "piggyback",
            "element-wise binary masks, straight-through, BN frozen (ECCV 2018)",
            FROZEN,
            units="element",
            soft="none",
            **_STRAIGHT,
        ),
        MethodInfo(
            "cpg",
            "methods.cpg:CPG",
            "compact, pick, (not) grow: PackNet plus picking among earlier weights (NeurIPS 2019)",
            "cpg",
            CPGSettings(),
            PER_TASK,
            starts_from_task1=False,
        ),
        _masked("ksm", "kernel-wise soft masks, sigmoid surrogate, BN per task (CVPR 2021)"),
        _masked(
            "piggyback-kernelwise",
            "ablation: Piggyback with one mask bit per kernel",
            FROZEN,
            units="kernel",
            soft="none",
            **_STRAIGHT,
        ),
        _masked(
            "piggyback-soft",
            "ablation: Piggyback with soft values",
            FROZEN,
            units="element",
            soft="release",
            **_STRAIGHT,
        ),
        _masked(
            "ksm-softmax", "ablation: sigmoid surrogate, element-wise, no soft values", units="element", soft="none"
        ),
        _masked("ksm-elementwise", "ablation: KSM with one score per weight", units="element"),
        MethodInfo(
            "scratch",
            "methods.whole:Scratch",
            "every task alone from random weights: CPG's accuracy goal",
            "scratch",
            TrainSettings(),
            PER_TASK,
            starts_from_task1=False,
            whole_networks=True,
        ),
        MethodInfo(
            "head-only",
            "methods.whole:HeadOnly",
            "a new head on the frozen backbone: the lower bound",
            "head-only",
            TrainSettings(),
            FROZEN,
        ),
        MethodInfo(
            "finetune-sequential",
            "methods.whole:FineTuneSequential",
            "one network overwritten by every task: forgetting made visible",
            "finetune",
            TrainSettings(lr=5e-3),
            PER_TASK,
        ),
    )
}

GROUPS: dict[str, tuple[str, ...]] = {
    "paper": ("finetune", "packnet", "piggyback", "cpg", "ksm"),
    "ablation": ("piggyback", "piggyback-kernelwise", "piggyback-soft", "ksm-softmax", "ksm-elementwise", "ksm"),
    "all": tuple(METHODS),
}
