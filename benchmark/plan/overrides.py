"""``--set key=value``: which keys there are, what each may be, and what a wrong value is told.

A list of values for a key of one number or word is a sweep: every one of them is run.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from benchmark.errors import RequestError, did_you_mean
from benchmark.plan.execution import RunOptions
from benchmark.plan.run_parts import Backbone, Batches
from benchmark.scenarios.contract import Augmentation
from methods.card import Card
from methods.engine.knobs import Knob, WrongValue, bounds_in_words, coerced, inner_type, items_of, knobs_of, types_of
from methods.registry import METHODS
from methods.settings import MaskSettings

#: keys of options that say how a run is carried out; the others have a dash of their own
_RUN = ("measure", "checkpoint_seconds")


@dataclass(frozen=True)
class Key:
    """One key of ``--set``: its type, its default, and what is known of it."""

    hint: Any
    default: Any
    about: Knob

    @property
    def is_scalar(self) -> bool:
        """It takes one number, word or flag, so that several of them are a sweep."""
        return get_origin(inner_type(self.hint)[0]) is not tuple


def known_keys() -> dict[str, Key]:
    """Every key."""
    keys = _section("backbone", Backbone) | _section("protocol", Batches) | _section("protocol", Augmentation)
    keys |= _section("mask", MaskSettings())
    run = _section("run", RunOptions)
    keys |= {f"run.{name}": run[f"run.{name}"] for name in _RUN}
    for method in METHODS.values():
        keys |= _section(method.name, method.settings)
    return keys


def _section(name: str, settings: Any) -> dict[str, Key]:
    kind = settings if isinstance(settings, type) else type(settings)
    hints = types_of(kind)
    return {
        f"{name}.{knob}": Key(hints[knob], getattr(settings, knob), about) for knob, about in knobs_of(kind).items()
    }


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """``["ksm.lr=2e-4", ...]`` -> ``{"ksm.lr": "2e-4", ...}``. Raises RequestError: no ``=``."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise RequestError(f"--set {assignment}: write it as key=value, for example --set mask.soft_scale=1.")
        values[key.strip()] = text.strip()
    return values


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by key, each in the type that its key wants; a list stands for a sweep.

    Raises:
        RequestError: an unknown key, or a value that the key cannot take.
    """
    keys = known_keys()
    found = {}
    for key, value in values.items():
        if key not in keys:
            raise RequestError(
                f"There is no setting {key!r}.{did_you_mean(str(key), keys, _also(keys))} Settings are backbone.*, "
                "protocol.*, mask.*, run.* and <method>.*; 'python -m benchmark list settings' shows them."
            )
        found[key] = _value(key, keys[key], value)
    return found


def _value(key: str, known: Key, value: Any) -> Any:
    try:
        if not known.is_scalar:
            return coerced(known.hint, known.about, value)
        several = items_of(value.split(",") if isinstance(value, str) else value)
        if len(several) > 1 and key.startswith("run."):
            raise WrongValue(f"takes one value, not {len(several)}")
        found = list(dict.fromkeys(coerced(known.hint, known.about, one) for one in several))
        if not found:
            raise WrongValue("must name at least 1")
        return found if len(found) > 1 else found[0]
    except WrongValue as error:
        raise RequestError(f"{key} {error}.") from None


def _also(keys: Mapping[str, Key]) -> dict[str, str]:
    """Words that people may have for a key -> the key."""
    return {f"{key.partition('.')[0]}.{word}": key for key, known in keys.items() for word in known.about.also}


def settings_called(word: str) -> list[str]:
    """Keys whose last part a word is, or means: ``lr`` -> ``METHOD.lr``; those of methods stand for all of them."""
    keys = known_keys()
    found = [key for key, known in keys.items() if word in (key.partition(".")[2], *known.about.also)]
    return list(dict.fromkeys(_generic(key) for key in found))


def _generic(key: str) -> str:
    section, _, name = key.partition(".")
    return f"METHOD.{name}" if section in METHODS else key


def require_used(overrides: Mapping[str, Any], cards: Collection[Card], references: Mapping[str, str]) -> None:
    """Every setting is one that some chosen method has.

    Args:
        references: by method, the one that trains its task-1 network and goals.

    Raises:
        RequestError: one is not.
    """
    names = [card.name for card in cards]
    used = {references[name] for name in names if name in references} | {card.needs.networks_of for card in cards}
    for key in overrides:
        section = key.partition(".")[0]
        if section == "mask" and not any(card.mask for card in cards):
            raise RequestError(f"{key} has no effect: none of {', '.join(names)} has masks to set; leave it out.")
        if section in METHODS and section not in (*names, *used):
            raise RequestError(
                f"{key} has no effect: {section} is not among the methods that run ({', '.join(names)}); leave it out, "
                f"or add --method {section}."
            )


def variants(overrides: Mapping[str, Any], card: Card, shared: str, uses_shared: bool) -> Iterator[dict[str, Any]]:
    """The settings of each run of a method: one for every combination of values in sweeps that concern it.

    Args:
        shared: the method whose settings a run records for its task-1 network and goals.
        uses_shared: the method has such a network or goals; else a sweep of their settings makes no difference to it.
    """
    sections = {"backbone", "protocol", card.name, shared, card.needs.networks_of} | ({"mask"} if card.mask else set())
    concern = {key: value for key, value in overrides.items() if key.partition(".")[0] in sections}
    if not uses_shared and shared not in (card.name, card.needs.networks_of):
        concern = {
            key: value
            for key, value in concern.items()
            if not (isinstance(value, list) and key.startswith(f"{shared}."))
        }
    choices = [value if isinstance(value, list) else [value] for value in concern.values()]
    for values in itertools.product(*choices):
        yield dict(zip(concern, values, strict=True))


def settings_help() -> str:
    """Every key with its default, what it does, its unit and what it may be, one line each."""
    lines = []
    for name, key in known_keys().items():
        shown = ",".join(str(item) for item in key.default) if isinstance(key.default, tuple) else str(key.default)
        lines.append(f"  {name:<36} {shown:<16} {in_words(key)}")
    return "\n".join(lines)


def in_words(key: Key) -> str:
    """What a key does, its unit and what it may be."""
    about, hint = key.about, inner_type(key.hint)[0]
    kind = getattr(hint, "__args__", (hint,))[0]
    if about.choices:
        allowed = ", ".join(about.choices)
    elif kind is bool:
        allowed = "true, false"
    else:
        allowed = bounds_in_words(about) if kind in (int, float) else ""
    unit = f" [{about.unit}]" if about.unit else ""
    return f"{about.help}{unit}{f' ({allowed})' if allowed else ''}"
