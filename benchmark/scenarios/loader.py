"""Scenarios by name, or from a user's YAML file. Naming one imports nothing; loading one reads no image."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import RequestError, did_you_mean
from benchmark.scenarios.contract import Progress, Scenario, ScenarioData

#: name -> "module:object", resolved when used
SCENARIOS = {
    "digits": "benchmark.scenarios.digits:SCENARIO",
    "cifar100-20": "benchmark.scenarios.cifar100_20:SCENARIO",
    "cifar100-superclass": "benchmark.scenarios.cifar100_superclass:SCENARIO",
    "imagenet2sketch": "benchmark.scenarios.imagenet2sketch:SCENARIO",
}


def known_scenarios() -> tuple[str, ...]:
    """The names that :func:`load_scenario` knows; a path to a YAML file is the other way."""
    return tuple(SCENARIOS)


def load_scenario(name: str, backbone: str | None = None, synthetic: bool = False) -> Scenario:
    """The scenario of that name, or the one that a YAML file defines.

    Args:
        backbone: what takes the place of the scenario's own. One of timm's brings the normalisation that it was trained
            with.
        synthetic: on generated images.

    Raises:
        RequestError: there is no such scenario or network of timm, or its images cannot be generated.
    """
    scenario = _load(name).with_generated_images() if synthetic else _load(name)
    if backbone is None or backbone == scenario.backbone:
        return scenario
    from benchmark.backbones.timm_models import inputs_of, is_timm

    if not is_timm(backbone):
        return scenario
    mean, std = inputs_of(backbone).normalisation(scenario.channels)

    def read(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
        data = scenario.read(data_root, indices, progress)
        tasks = tuple(dataclasses.replace(task, mean=mean, std=std) for task in data.tasks)
        return dataclasses.replace(data, tasks=tasks)

    return dataclasses.replace(scenario, read=read)


def _load(name: str) -> Scenario:
    if name in SCENARIOS:
        module, attribute = SCENARIOS[name].split(":")
        scenario = getattr(importlib.import_module(module), attribute)
        assert isinstance(scenario, Scenario)
        return scenario
    if name.endswith((".yaml", ".yml")):
        from benchmark.scenarios.user import load_user_scenario

        return load_user_scenario(Path(os.path.expanduser(name)))
    raise RequestError(
        f"There is no scenario {name!r}.{did_you_mean(name, SCENARIOS)} Known are {', '.join(SCENARIOS)}, "
        "and a path to a YAML file of your own."
    )
