"""The paper's tables as plans: which runs make table 1, 3 or 4, in the order in which they tell most.

Protocol: METHODS.md 1.0 b to 1.4 b and section 2; selection ``legacy-test`` on all training images, to compare with the
papers (every record's curve holds the last epoch's accuracy too). Imports no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.plan import BN_POLICIES, Request, plan
from benchmark.scenarios.contract import Scenario
from benchmark.spec import RunSpec
from methods.registry import GROUPS

#: the KSM release's schedule (METHODS.md 2.2, row 15), against the paper's, which is the default
RELEASE_SCHEDULE = {"ksm.lr": 2e-4, "ksm.head_lr": 2e-4, "ksm.schedule": "cosine"}


@dataclass(frozen=True)
class Part:
    """Some methods under some changes of the request."""

    methods: tuple[str, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)  #: fields of ``Request``
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """One table."""

    name: str
    summary: str
    scenario: str
    parts: tuple[Part, ...]
    selection: str = "legacy-test"


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
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
            "table3",
            "KSM on the twenty tasks with five initial tasks",
            "cifar100-20",
            tuple(Part(("ksm",), {"initial_task": task}) for task in (1, 5, 10, 15, 20)),
        ),
        Preset(
            "table4",
            "the six ablation rows under both BN policies (on the twenty tasks unless --scenario says otherwise)",
            "cifar100-20",
            tuple(Part(GROUPS["ablation"], {"bn_policy": policy}) for policy in BN_POLICIES),
        ),
    )
}


def expand(preset: Preset, request: Request, scenario: Scenario, weights_sha256: str | None) -> Iterator[RunSpec]:
    """The preset's runs, each once: first all of one seed, then of the next.

    Args:
        request: what the user gave; its methods, unless they are the default, pick among the preset's, and initial
            tasks beyond ``request.tasks`` are left out.
    """
    chosen = None if request.methods == Request().methods else set(request.methods)
    seen: dict[str, None] = {}
    for seed in request.seeds:
        for part in preset.parts:
            methods = tuple(name for name in part.methods if chosen is None or name in chosen)
            if not methods or part.changes.get("initial_task", 1) > (request.tasks or len(scenario.task_names)):
                continue
            overrides = {key: value for key, value in part.overrides.items() if key not in request.overrides}
            changed = dataclasses.replace(
                request,
                methods=methods,
                seeds=(seed,),
                overrides={**request.overrides, **overrides},
                **part.changes,
            )
            for spec in plan(changed, scenario, weights_sha256):
                if spec.run_id not in seen:
                    seen[spec.run_id] = None
                    yield spec
