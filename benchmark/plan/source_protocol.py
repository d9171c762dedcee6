"""``--protocol source``: every method as its own code did in the scenario's paper. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Scenario
from methods.card import SOURCE, Card, Source
from methods.registry import METHODS
from results.schema import TASK_1_SETTINGS


def require_source(protocol: str | None, scenario: Scenario) -> None:
    """Raises RequestError: the protocol is asked for where no method's card says what its own code did."""
    if protocol == SOURCE and not any(scenario.protocol in card.sources for card in METHODS.values()):
        raise RequestError(
            f"--protocol {SOURCE} says nothing of {scenario.name}: no method's own code did otherwise there than the "
            "scenario's protocol; leave it out, or name the protocol to take."
        )


def source_of(card: Card, protocol: str | None, scenario: Scenario) -> Source:
    """What the method's own code did beyond the scenario's protocol; nothing under other protocols."""
    found = card.sources.get(scenario.protocol) if protocol == SOURCE else None
    return found or Source()


def reference_for(card: Card, reference: Card, protocol: str | None, scenario: Scenario) -> Card:
    """The reference with the knobs that the method's own code gave it, where it makes the method's goals."""
    knobs = source_of(card, protocol, scenario).goal
    if not knobs:
        return reference
    shared = dict(reference.protocols.get(scenario.protocol, {}))
    return dataclasses.replace(reference, protocols={**reference.protocols, scenario.protocol: {**shared, **knobs}})


def task_settings(
    card: Card,
    reference: Card,
    protocol: str | None,
    scenario: Scenario,
    names: Collection[str],
    overrides: Mapping[str, Any],
) -> dict[str, dict[str, Any]] | None:
    """``RunSpec.task_settings``; None where no task has a setting of its own.

    Args:
        names: of the run's tasks.
        overrides: what the user sets, which goes for all tasks.
    """
    source = source_of(card, protocol, scenario)
    found: dict[str, dict[str, Any]] = {}
    for part, section, tasks in (
        ("settings", card.name, source.tasks),
        (TASK_1_SETTINGS, reference.name, source.goal_tasks),
    ):
        for task, knobs in tasks.items():
            for knob, value in knobs.items():
                if task in names and f"{section}.{knob}" not in overrides:
                    found.setdefault(task, {})[f"{part}.{knob}"] = value
    return found or None
