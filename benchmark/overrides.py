"""``--set key=value``: which keys there are, what type each wants, and what a wrong one is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.scenarios.contract import Augmentation
from methods.registry import METHODS
from methods.settings import MaskSettings

#: ``backbone.*``
BACKBONE: dict[str, Any] = {"width": 1.0}
#: ``protocol.*``: batch sizes, and any field of the tasks' augmentation
PROTOCOL: dict[str, Any] = {"batch_size": 32, "eval_batch_size": 100, **dataclasses.asdict(Augmentation())}
#: ``run.*``: changes no number
RUN: dict[str, Any] = {"measure": "full", "checkpoint_seconds": 60.0, "threads": 0}

#: what the last part of a key may be set to
CHOICES = {
    "measure": ("full", "minimal"),
    "schedule": ("step", "cosine", "constant"),
    "optimizer": ("sgd", "adam"),
    "ratio_of": ("free", "current"),
}

#: last parts of keys whose values are shares
SHARES = ("prune_ratio", "prune_ratios", "initial_prune")


def known_keys() -> dict[str, Any]:
    """Every key with its default value, which also gives the type."""
    keys = {f"backbone.{name}": value for name, value in BACKBONE.items()}
    keys |= {f"protocol.{name}": value for name, value in PROTOCOL.items()}
    keys |= {f"mask.{name}": value for name, value in dataclasses.asdict(MaskSettings()).items()}
    keys |= {f"run.{name}": value for name, value in RUN.items()}
    for method in METHODS.values():
        keys |= {f"{method.name}.{name}": value for name, value in dataclasses.asdict(method.settings).items()}
    return keys


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """``["ksm.lr=2e-4", ...]`` -> ``{"ksm.lr": 0.0002, ...}``.

    Raises:
        RequestError: no ``=``, an unknown key, or a value of the wrong type.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise RequestError(f"--set {assignment}: write it as key=value, for example --set ksm.lr=2e-4.")
        values[key.strip()] = text.strip()
    return checked(values)


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by key, each in the type that its key wants. Raises RequestError."""
    keys = known_keys()
    result = {}
    for key, value in values.items():
        if key not in keys:
            raise RequestError(
                f"There is no setting {key!r}.{did_you_mean(key, keys)} Settings are backbone.*, protocol.*, mask.*, "
                "run.* and <method>.*; 'python -m benchmark list settings' shows them."
            )
        result[key] = _typed(key, value, keys[key])
        name = key.rpartition(".")[2]
        if name in CHOICES and result[key] not in CHOICES[name]:
            raise RequestError(f"{key} is {result[key]!r}; it must be one of {', '.join(CHOICES[name])}.")
        shares = result[key] if isinstance(result[key], tuple) else (result[key],)
        if name in SHARES and any(share >= 1 for share in shares):
            raise RequestError(f"{key} must be below 1, a share of the weights, not {max(shares)}.")
    return result


def _typed(key: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        items = value if isinstance(value, list | tuple) else str(value).split(",")
        return tuple(_typed(key, item, default[0]) for item in items)
    text = str(value).strip()
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if isinstance(default, int):
            number: float = int(text)
        elif isinstance(default, float):
            number = float(text)
        else:
            return text
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise RequestError(f"{key} must be {kind}, not {text!r}.") from None
    positive = key.endswith(("width", "batch_size", ".epochs"))
    signed = key in ("mask.initial", "mask.threshold")
    if not number < float("inf") or (number < 0 and not signed) or (number <= 0 and positive):
        raise RequestError(f"{key} must be {'above 0' if positive else 'a finite number of at least 0'}, not {text}.")
    return number
