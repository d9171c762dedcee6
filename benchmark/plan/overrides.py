"""``--set key=value``: which keys there are, what each may be, and what a wrong value is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.plan.spec import BACKBONE
from benchmark.scenarios.contract import Augmentation
from methods.engine.knobs import Knob, MaskSettings, OutOfBounds, check_knob, knobs_of
from methods.registry import METHODS


@dataclass(frozen=True)
class Key:
    """One key of ``--set``: its default, which also gives the type, and what is known of it."""

    default: Any
    about: Knob


_AUGMENTATION = {
    "crop_padding": Knob("zero padding around a random crop of the image's own size", "pixels"),
    "flip": Knob("horizontal flip with probability 1/2"),
    "random_resized_crop": Knob("torchvision's RandomResizedCrop to the network's image size"),
    "cutout": Knob("side of one square hole after normalisation; 0: none", "pixels"),
}

_RUN = {
    "measure": Key("full", Knob("minimal leaves out memory, energy and CUDA events", choices=("full", "minimal"))),
    "checkpoint_seconds": Key(60.0, Knob("least time between two checkpoints within a task", "seconds")),
    "threads": Key(0, Knob("CPU threads of torch; 0: torch's own choice")),
}


def known_keys() -> dict[str, Key]:
    """Every key."""
    keys = {
        f"backbone.{name}": Key(BACKBONE[name], Knob("factor on every layer's channels", above=0)) for name in BACKBONE
    }
    keys["protocol.batch_size"] = Key(32, Knob("training images per step", "images", above=0))
    keys["protocol.eval_batch_size"] = Key(
        100, Knob("images per step of evaluation; changes no number", "images", above=0)
    )
    for name, value in dataclasses.asdict(Augmentation()).items():
        keys[f"protocol.{name}"] = Key(value, _AUGMENTATION[name])
    keys |= _section("mask", MaskSettings())
    keys |= {f"run.{name}": key for name, key in _RUN.items()}
    for method in METHODS.values():
        keys |= _section(method.name, method.settings)
    return keys


def _section(name: str, settings: Any) -> dict[str, Key]:
    return {f"{name}.{knob}": Key(getattr(settings, knob), about) for knob, about in knobs_of(settings).items()}


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """``["ksm.lr=2e-4", ...]`` -> ``{"ksm.lr": 0.0002, ...}``.

    Raises:
        RequestError: no ``=``, an unknown key, or a value that the key cannot take.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise RequestError(f"--set {assignment}: write it as key=value, for example --set mask.soft_scale=1.")
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
        known = keys[key]
        if known.about.kind is not None and known.default is None:
            empty = value is None or str(value).strip().lower() in ("none", "null", "")
            result[key] = None if empty else _typed(key, value, known.about.kind())
        else:
            result[key] = _typed(key, value, known.default)
        try:
            check_knob(known.about, result[key])
        except OutOfBounds as error:
            raise RequestError(f"{key} {error}.") from None
    return result


def _typed(key: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        items = value if isinstance(value, list | tuple) else str(value).split(",")
        number = default[0] if default else 0
        return tuple(_typed(key, item, number) for item in items)
    text = str(value).strip()
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        return float(text) if isinstance(default, float) else text
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise RequestError(f"{key} must be {kind}, not {text!r}.") from None
