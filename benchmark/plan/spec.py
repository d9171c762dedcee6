"""RunSpec: everything that changes a run's numbers, resolved, saved with the run and hashed into its id."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.plan.run_parts import Backbone, Batches, Inputs, Tuning
from benchmark.plan.spec_json import filled_knobs, made, task_settings_of
from benchmark.scenarios.contract import Augmentation
from methods.engine.knobs import knobs_of, shown
from methods.registry import METHODS, reference
from methods.settings import MaskSettings, Settings, TrainSettings
from results.schema import SQUARE, TASK_1_SETTINGS, TEST
from results.shapes import check_fields

#: bytes of a scenario's name
LONGEST_NAME = 120

#: what is hashed of the method alone: networks that several methods share are not named by it
_OF_THE_METHOD = (
    "method", "version", "settings", "mask", "networks", "bn_policy", "task_names", "task_indices", "tuning",
)  # fmt: skip


@dataclass(frozen=True)
class RunSpec:
    """One run: one method on one scenario with one seed, every default resolved."""

    scenario: str
    method: str
    seed: int
    task_indices: tuple[int, ...]  #: 1-based, in the order of learning (the initial task first)
    task_names: tuple[str, ...]  #: in the same order
    initial_task: int  #: 1-based; the task that trains the backbone
    selection: str  #: "validation", "last" or "legacy-test"
    bn_policy: str  #: "frozen" or "per-task"
    backbone: Backbone
    protocol: Batches
    settings: Settings  #: the method's knobs
    scratch: TrainSettings  #: knobs of the task-1 network and of accuracy goals
    mask: MaskSettings | None = None
    networks: Settings | None = None  #: knobs of the method whose run it starts from (``Needs.networks_of``)
    #: task name -> knobs of that task alone, as "settings.KNOB" or "scratch.KNOB"; None: all tasks have the same
    task_settings: Mapping[str, Mapping[str, Any]] | None = None
    train_limit: int | None = None
    test_limit: int | None = None
    device: str = "cpu"  #: "cpu" or "cuda"
    precision: str = "fp32"
    compile: str = "off"
    crops: str = SQUARE  #: what random crops are taken from: "square", the central one of an image, or "whole"
    synthetic: bool = False  #: its images are generated (``--synthetic-data``): no accuracy of it is shown
    scenario_title: str = ""
    measured_on: str = TEST  #: the images that accuracies are of: "test", or "validation" for trials of ``tune``
    tuning: Tuning | None = None  #: None: the settings are the protocol's and the user's
    tuning_seconds: float | None = None  #: what all trials of the method took
    settings_of: str = ""  #: the protocol whose settings the method took; empty: its defaults
    inputs: tuple[Inputs, ...] = ()  #: one a task, known when the images are read

    #: fields that say where numbers come from, or are part of the data's fingerprint, without changing any themselves
    NOT_HASHED = ("scenario_title", "settings_of", "inputs", "tuning_seconds")

    @property
    def run_id(self) -> str:
        """Readable and unique: ``digits-ksm-s0-1a2b3c4d5e``.

        The hash covers what changes a number: the method's version and those knobs that differ from its defaults, so
        that a knob which is added later renames no finished run.
        """
        return f"{self.scenario}-{self.method}-s{self.seed}-{digest(self._departures())}"

    def _departures(self) -> dict[str, Any]:
        card, trainer = METHODS[self.method], reference(self.backbone.pretrained)
        value = {**self._hashed(), "version": card.version}
        if trainer.version != 1:
            value["version of task 1"] = trainer.version
        value["settings"] = _unlike(self.settings, card.settings)
        value[TASK_1_SETTINGS] = _unlike(self.scratch, trainer.settings)
        if self.backbone.width == 1:
            del value["backbone"]["width"]
        value["mask"] = _unlike(self.mask, card.mask) if self.mask is not None and card.mask is not None else None
        if card.needs.networks_of is not None:
            of = METHODS[card.needs.networks_of]
            value["networks"] = {"version": of.version, **_unlike(self.networks, of.settings)}
        optional = {item.name: item.default for item in dataclasses.fields(self) if item.name != "mask"}
        return {key: item for key, item in value.items() if key not in optional or item != optional[key]}

    def _hashed(self) -> dict[str, Any]:
        value = dataclasses.asdict(self)
        for name in self.NOT_HASHED:
            del value[name]
        del value["backbone"]["weights"]
        if self.networks is None:
            del value["networks"]
        return value

    @property
    def initial_key(self) -> str:
        """Names the task-1 network: everything that changes it, nothing of the method that starts from it."""
        return self._initial_key(self._departures())

    def goal_key(self, task: int) -> str:
        """Names the accuracy goal for ``task``: the run of it from scratch."""
        return self._goal_key(task, self._departures())

    def _initial_key(self, hashed: Mapping[str, Any]) -> str:
        return self._key(f"task{self.initial_task}", hashed, _OF_THE_METHOD)

    def _goal_key(self, task: int, hashed: Mapping[str, Any]) -> str:
        return self._key(f"goal{task}", hashed, (*_OF_THE_METHOD, "initial_task"))

    def _key(self, what: str, hashed: Mapping[str, Any], without: Collection[str]) -> str:
        kept = {name: item for name, item in hashed.items() if name not in without}
        return f"{self.scenario}-{what}-s{self.seed}-{digest(kept)}"

    def of_task(self, name: str, part: str) -> dict[str, Any]:
        """The knobs that one task alone has, of ``part``: "settings", the method's, or "scratch", the reference's."""
        found = (self.task_settings or {}).get(name, {})
        return {key.removeprefix(f"{part}."): value for key, value in found.items() if key.startswith(f"{part}.")}

    # ------------------------------------------------------------------ the names of earlier records

    @property
    def first_id(self) -> str | None:
        """The id that this run had when names held every knob, None where it could not have been named then."""
        if METHODS[self.method].version != 1:
            return None
        value = self._first("settings", TASK_1_SETTINGS, "mask")
        return None if value is None else f"{self.scenario}-{self.method}-s{self.seed}-{digest(value)}"

    @property
    def ids(self) -> tuple[str, ...]:
        """Every name that the run may go by, the present one first."""
        return (self.run_id,) if self.first_id is None else (self.run_id, self.first_id)

    @property
    def first_initial_key(self) -> str | None:
        """``initial_key`` of that time."""
        value = self._first(TASK_1_SETTINGS)
        return None if value is None else self._initial_key(value)

    def first_goal_key(self, task: int) -> str | None:
        """``goal_key`` of that time."""
        value = self._first(TASK_1_SETTINGS)
        return None if value is None else self._goal_key(task, value)

    def _first(self, *parts: str) -> dict[str, Any] | None:
        """What was hashed then; None where a knob of these parts does something that was not done then."""
        trainer, value = reference(self.backbone.pretrained), self._hashed()
        if trainer.version != 1:
            return None
        for name, usual in _LATER_FIELDS.items():
            if value.pop(name, usual) != usual:
                return None
        kinds = {"settings": METHODS[self.method].settings, TASK_1_SETTINGS: trainer.settings, "mask": MaskSettings()}
        for part in parts:
            for name, about in knobs_of(kinds[part]).items() if value[part] is not None else ():
                before = getattr(kinds[part], name) if about.was is None else about.was
                if about.since > 1 and value[part].pop(name, before) != before:
                    return None
        return value

    def to_json(self) -> dict[str, Any]:
        """The record's ``spec``: the fields, and the few derived ones that readers look for."""
        return {
            **dataclasses.asdict(self),
            "tasks": len(self.task_indices),
            "epochs": self.settings.epochs,
            "batch_size": self.protocol.batch_size,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunSpec:
        """Read ``to_json`` back; derived fields are ignored.

        Raises:
            TypeError: a field is missing or of another type.
            ValueError: a value that its setting cannot take, or no such method here.
        """
        known = {item.name: value[item.name] for item in dataclasses.fields(cls) if item.name in value}
        if known.get("method") not in METHODS:
            raise ValueError(f"there is no method {known.get('method')!r} here")
        card, mask = METHODS[known["method"]], known.get("mask")
        check_fields(_Plain, value)
        if not is_component(str(known.get("scenario"))):
            raise ValueError(f"its scenario {shown(known.get('scenario'))} is no name of a folder")
        for part in _PARTS:
            if not isinstance(value.get(part), dict):
                raise TypeError(f"{part} is {shown(value.get(part))}, not a mapping")
        for name in ("task_indices", "task_names"):
            known[name] = tuple(known.get(name, ()))
        known["backbone"] = made(Backbone, known["backbone"], "backbone")
        known["protocol"] = made(Batches, known["protocol"], "protocol")
        check_fields(Augmentation, known["protocol"].augmentation)
        known["settings"] = filled_knobs(type(card.settings), known["settings"], "settings")
        known["scratch"] = filled_knobs(TrainSettings, known["scratch"], "settings of task 1")
        known["mask"] = None if mask is None else filled_knobs(MaskSettings, mask, "mask")
        if known.get("tuning") is not None:
            known["tuning"] = made(Tuning, known["tuning"], "tuning")
        known["task_settings"] = task_settings_of(known.get("task_settings"), type(card.settings))
        networks, of = known.get("networks") or {}, card.needs.networks_of
        known["networks"] = None if of is None else filled_knobs(type(METHODS[of].settings), networks, "networks")
        known["inputs"] = tuple(
            made(Inputs, {**item, "augmentation": Augmentation(**item["augmentation"])}, "inputs")
            for item in known.get("inputs", ())
        )
        return cls(**known)


#: fields that came after names held every knob, with what runs did then
_LATER_FIELDS = {"measured_on": TEST, "tuning": None, "task_settings": None, "crops": SQUARE, "synthetic": False}

#: fields of a spec that are mappings in its JSON
_PARTS = ("backbone", "protocol", "settings", "scratch")


@dataclass(frozen=True)
class _Plain:
    """The plain fields of a spec's JSON."""

    scenario: str
    seed: int
    task_indices: tuple[int, ...]
    task_names: tuple[str, ...]
    initial_task: int
    selection: str
    bn_policy: str
    train_limit: int | None
    test_limit: int | None
    device: str
    precision: str
    compile: str
    crops: str = SQUARE
    synthetic: bool = False
    measured_on: str = TEST
    tuning: Mapping[str, Any] | None = None
    tuning_seconds: float | None = None


def _unlike(values: Any, default: Any) -> dict[str, Any]:
    """The knobs that differ from their defaults."""
    usual = dataclasses.asdict(default)
    return {key: value for key, value in dataclasses.asdict(values).items() if value != usual.get(key, _NEW)}


#: unlike every value
_NEW = object()


def is_component(name: str) -> bool:
    """A text that can be one part of a path, and nothing but that: no separators, no ``..``, not hidden, not long."""
    plain = name.isprintable() and not any(letter in name for letter in "/\\\0") and ".." not in name
    return plain and bool(name) and not name.startswith((".", "-", "~")) and len(name.encode()) <= LONGEST_NAME


def digest(value: Any) -> str:
    """Ten hex digits of the sha256 of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
