"""Does a scenario have the weights that it starts from? Whether a file fits the network shows when that is built."""

from __future__ import annotations

from pathlib import Path

from benchmark.scenarios.contract import Scenario


def weights_faults(scenario: Scenario, given: Path | None) -> list[str]:
    """What is wrong with the weights a scenario starts from; the file's content is checked when a run loads it."""
    if given is not None:
        return [] if given.is_file() else [f"There is no weights file {given}."]
    if scenario.pretrained and scenario.weights is None:
        return [f"{scenario.name} starts from pretrained weights: {scenario.weights_help}"]
    return []
