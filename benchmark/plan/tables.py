"""A table of a paper as a plan: which runs make it, in the order in which they tell most. Imports no torch.

Selection is ``legacy-test`` on all training images, to compare with the papers; every record's curve holds the last
epoch's accuracy too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.plan.planning import plan, require_settings_used
from benchmark.plan.request import Request, method_names
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Scenario


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
    protocol: str | None = None  #: None: the scenario's


def expand(preset: Preset, request: Request, scenario: Scenario, weights_sha256: str | None) -> Iterator[RunSpec]:
    """The preset's runs, each once: first all of one seed, then of the next.

    Args:
        request: what the user gave; its methods, unless they are the default, pick among the preset's, and initial
            tasks beyond ``request.tasks`` are left out.
    """
    chosen = None if request.methods == Request().methods else set(method_names(request.methods))
    every = tuple(dict.fromkeys(name for part in preset.parts for name in part.methods))
    require_settings_used(request, scenario, tuple(name for name in every if chosen is None or name in chosen))
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
