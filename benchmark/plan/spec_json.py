"""The parts of a run's specification from JSON: checked, with defaults for what came after the record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from methods.engine.knobs import WrongValue, coerced, filled, knobs_of, types_of
from methods.settings import Settings, TrainSettings
from results.schema import TASK_1_SETTINGS
from results.shapes import check_fields

Made = TypeVar("Made")


def made(kind: type[Made], values: Mapping[str, Any], what: str) -> Made:
    """A plain dataclass from its JSON; fields that are new since have their defaults."""
    check_fields(kind, values)
    needed = [item.name for item in dataclasses.fields(kind) if _is_needed(item)]  # type: ignore[arg-type]
    if lacking := [name for name in needed if name not in values]:
        raise ValueError(f"its {what} has no {', '.join(lacking)}")
    known = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    items = {name: tuple(item) if isinstance(item, list) else item for name, item in values.items() if name in known}
    return kind(**items)


def _is_needed(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def filled_knobs(kind: type[Made], values: Mapping[str, Any], what: str) -> Made:
    """A dataclass of knobs from its JSON; ``what`` names it in errors. Raises ValueError: not readable as that."""
    if "epochs" in types_of(kind) and "epochs" not in values:
        raise ValueError(f"its {what} has no epochs")
    check_fields(kind, values)
    try:
        return filled(kind, values)
    except WrongValue as error:
        raise ValueError(f"in its {what}, {error}") from None


def task_settings_of(value: Any, kind: type[Settings]) -> dict[str, dict[str, Any]] | None:
    """``RunSpec.task_settings`` from JSON. Raises ValueError: no mapping of tasks to knobs that the parts have."""
    kinds: dict[str, Any] = {"settings": kind, TASK_1_SETTINGS: TrainSettings}
    found: dict[str, dict[str, Any]] = {}
    try:
        for task, knobs in (value or {}).items():
            for key, item in knobs.items():
                part, _, name = key.partition(".")
                read = coerced(types_of(kinds[part])[name], knobs_of(kinds[part])[name], item)
                found.setdefault(task, {})[key] = read
    except (AttributeError, KeyError, WrongValue) as error:
        raise ValueError(f"its settings of single tasks are not readable ({error})") from None
    return found or None
