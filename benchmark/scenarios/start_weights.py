"""Does a scenario have the weights that it starts from, and do they fit its network?"""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Scenario


def weights_faults(scenario: Scenario, given: Path | None) -> list[str]:
    """What is wrong with the weights a scenario starts from; the file's content is checked when a run loads it."""
    if given is not None:
        return [] if given.is_file() else [f"There is no weights file {given}."]
    if scenario.pretrained and scenario.weights is None:
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
