"""Does a scenario have the weights that it starts from, and do they fit its network?"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Scenario
from benchmark.scenarios.loader import load_scenario


class Asked(Protocol):
    """What a request says of scenario, weights and data."""

    @property
    def scenario(self) -> str: ...
    @property
    def weights(self) -> Path | None: ...
    @property
    def data_root(self) -> Path | None: ...
    @property
    def backbone(self) -> str | None: ...
    @property
    def synthetic_data(self) -> bool: ...


def scenario_of(request: Asked) -> Scenario:
    """The scenario that is asked for, with the weights that lie in a usual place where it needs some and none are
    named. Raises RequestError: there is no such scenario."""
    scenario = load_scenario(request.scenario, request.backbone, request.synthetic_data)
    other = request.backbone not in (None, scenario.backbone)  # the scenario's usual weights are of its own network
    if request.weights is not None or scenario.weights is not None or other or scenario.generated:
        return scenario
    return dataclasses.replace(scenario, weights=found_weights(scenario, request.data_root))


def found_weights(scenario: Scenario, given_root: Path | None) -> Path | None:
    """The first of the scenario's usual weights files in the data root, its folder ``weights``, and torch.hub's."""
    if not scenario.weights_files:
        return None
    candidates = (place / name for place in _places(given_root) for name in scenario.weights_files)
    return next((path for path in candidates if path.is_file()), None)


def _places(given_root: Path | None) -> Iterator[Path]:
    from benchmark.data.locate import data_root

    try:
        root = data_root(given_root)
    except RequestError:  # said where the data are read
        root = None
    if root is not None:
        yield from (root, root / "weights")
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    hub = Path(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))).expanduser()
    yield hub / "hub" / "checkpoints"


def weights_faults(scenario: Scenario, given: Path | None) -> list[str]:
    """What is wrong with the weights a scenario starts from; the file's content is checked when a run loads it."""
    if given is not None:
        return [] if given.is_file() else [f"There is no weights file {given}."]
    if scenario.pretrained and scenario.weights is None and not scenario.generated:
        return [f"{scenario.name} starts from pretrained weights: {scenario.weights_help}"]
    return []


def misfits(scenario: Scenario, given: Path | None) -> list[str]:
    """What keeps the weights from being loaded into the scenario's own network; builds it, so imports torch."""
    path = given or scenario.weights
    if path is None:
        return []
    from benchmark.backbones.builder import build
    from benchmark.backbones.weights import load_weights

    try:
        load_weights(build(scenario.backbone, channels=scenario.channels, **scenario.backbone_options), path)
    except RequestError as error:
        return [str(error)]
    return []
