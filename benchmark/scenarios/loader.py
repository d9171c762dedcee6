"""Scenarios by name, or from a user's YAML file. Naming one imports nothing; loading one reads no image."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from benchmark.errors import RequestError, did_you_mean
from benchmark.scenarios.contract import Scenario

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


def load_scenario(name: str) -> Scenario:
    """The scenario of that name, or the one that a YAML file defines. Raises RequestError when there is none."""
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
