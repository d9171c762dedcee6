"""How methods, scenarios and specification keys are called on the page, and in which order methods stand."""

from __future__ import annotations

import re
from typing import Any

#: Method key -> name as the papers print it, in the order in which tables and legends list them.
METHOD_TITLES: dict[str, str] = {
    "scratch": "Scratch",
    "head-only": "Head only",
    "finetune": "Fine-tune",
    "finetune-sequential": "Fine-tune, in sequence",
    "packnet": "PackNet",
    "piggyback": "Piggyback",
    "cpg": "CPG",
    "ksm": "KSM",
    "piggyback-kernelwise": "Piggyback, kernel-wise",
    "piggyback-soft": "Piggyback, soft",
    "ksm-softmax": "KSM, softmax only",
    "ksm-elementwise": "KSM, element-wise",
}

SCENARIO_TITLES: dict[str, str] = {
    "cifar100-20": "Twenty tasks of CIFAR-100",
    "imagenet2sketch": "ImageNet-to-Sketch",
    "digits": "Digits",
}

#: Specification keys whose plain name reads badly in a label.
KEY_TITLES: dict[str, str] = {
    "bn_policy": "BN",
    "initial_task": "initial task",
    "batch_size": "batch",
    "train_limit": "training images",
    "test_limit": "test images",
    "settings.lr": "lr",
    "settings.epochs": "epochs",
    "settings.schedule": "schedule",
    "backbone.width": "width",
    "backbone.name": "backbone",
}

_ORDER = {name: position for position, name in enumerate(METHOD_TITLES)}


def method_title(method: str) -> str:
    """The printed name of a method; a plugin's key stands for itself."""
    return METHOD_TITLES.get(method, method)


def method_order(method: str) -> tuple[int, str]:
    """Sort key: the papers' methods first in their usual order, then everybody else by name."""
    return _ORDER.get(method, len(_ORDER)), method


def scenario_title(scenario: str, given: Any = None) -> str:
    """The printed name of a scenario: what the record says, else the known name, else the key."""
    return str(given) if given else SCENARIO_TITLES.get(scenario, scenario)


def key_title(key: str) -> str:
    """A dotted specification key as words: ``mask.soft_scale`` -> ``mask soft scale``."""
    return KEY_TITLES.get(key, key.replace(".", " ").replace("_", " "))


def value_title(value: Any, most: int = 40) -> str:
    """A specification value as a word of at most ``most`` letters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= most else text[: most - 3] + "…"


def task_title(name: str) -> str:
    """A task's name for people: underscores are spaces."""
    return name.replace("_", " ")


def short(text: str, most: int = 34) -> str:
    """A label for a figure: cut where it would push everything else aside, and never hidden from a legend."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return f"\N{WORD JOINER}{cut}" if cut.startswith("_") else cut  # matplotlib hides labels with a leading underscore


def slug(text: str) -> str:
    """Letters, digits and single hyphens: safe as a file name and as an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "unnamed"
