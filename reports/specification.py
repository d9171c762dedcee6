"""A run's specification as the report reads it: what of it makes a configuration, and in what two of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from methods.engine.knobs import idle_knobs, knobs_of
from methods.registry import METHODS
from methods.settings import MaskSettings, TrainSettings
from reports.naming import key_title, value_title
from results.schema import SQUARE, TASK_1_SETTINGS, TEST, RunRecord

#: Keys that say where numbers come from and change none.
UNHASHED = ("scenario_title", "settings_of", "inputs", "tuning_seconds")
#: Those, and keys that follow from others: they say nothing of their own.
FOLLOWING = (*UNHASHED, "task_names", "task_indices")
#: Keys that older records lack: what absent ones mean.
_USUAL = {
    "measured_on": TEST, "tuning": None, "networks": None, "task_settings": None, "crops": SQUARE, "synthetic": False,
}  # fmt: skip
#: Where two configurations differ in much, these keys name the difference first.
_TELLING = ("initial_task", "bn_policy", "epochs", "batch_size", "settings.epochs", "settings.lr")


def canonical(value: Any) -> str:
    """One string per JSON value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, default=str)


def configuration_key(record: RunRecord) -> str:
    """The specification without the seed, as one string."""
    return canonical({key: value for key, value in complete(record).items() if key != "seed"})


def complete(record: RunRecord) -> dict[str, Any]:
    """The specification without what says nothing of its own or is as usual, and with knobs that are younger than the
    record: those did then what it says in the method's card. So runs of one configuration are one, whatever version
    made them."""
    spec = {
        key: value
        for key, value in record.spec.items()
        if key not in UNHASHED and not (key in _USUAL and value == _USUAL[key])
    }
    card = METHODS.get(str(spec.get("method")))
    kinds: dict[str, Any] = {TASK_1_SETTINGS: TrainSettings, "mask": MaskSettings}
    kinds["settings"] = type(card.settings) if card else None
    of = METHODS.get(card.needs.networks_of or "") if card else None
    kinds["networks"] = type(of.settings) if of else None
    for part, kind in kinds.items():
        if kind is not None and isinstance(spec.get(part), Mapping):
            values = {**_before(kind), **spec[part]}
            spec[part] = {name: value for name, value in values.items() if name not in idle_knobs(kind, values)}
    return spec


@lru_cache
def _before(kind: Any) -> dict[str, Any]:
    """The knobs that records may lack, with what was done before there were."""
    defaults = {item.name: item.default for item in fields(kind)}
    younger = {name: about for name, about in knobs_of(kind).items() if about.since > 1}
    return {name: defaults[name] if about.was is None else about.was for name, about in younger.items()}


def telling_differences(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each specification the few key-value pairs that tell it from the others; empty strings for a single one.

    Keys are taken one by one, the telling ones first, as long as they separate more of the specifications.
    """
    if len(specs) == 1:
        return [""]
    known = ("seed", "scenario", "method", *FOLLOWING)
    flat = [flatten({key: value for key, value in spec.items() if key not in known}) for spec in specs]
    keys = sorted({key for item in flat for key in item}, key=lambda key: (_telling_order(key), key))
    chosen: list[str] = []
    classes = 1
    for key in keys:
        refined = len({tuple(canonical(item.get(name)) for name in [*chosen, key]) for item in flat})
        if refined > classes:
            chosen.append(key)
            classes = refined
        if classes == len(specs):
            break
    return [", ".join(f"{key_title(key)} {value_title(item.get(key))}" for key in chosen) for item in flat]


def _telling_order(key: str) -> int:
    return _TELLING.index(key) if key in _TELLING else len(_TELLING)


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys: ``{"mask": {"units": "kernel"}}`` -> ``{"mask.units": "kernel"}``."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat.update(flatten(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = item
    return flat
