"""RunSpec: everything that changes a run's numbers, resolved, saved with the run and hashed into its id."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from methods.engine.knobs import MaskSettings, Settings, done_before, knobs_of
from methods.registry import METHODS, reference

#: ``backbone.*``: knobs of every backbone, with their defaults
BACKBONE: dict[str, Any] = {"width": 1.0}

#: the field of the task-1 network's settings
TASK_1 = "scratch"

#: what is hashed of the method alone: networks that several methods share are not named by it
_OF_THE_METHOD = ("method", "version", "settings", "mask", "bn_policy", "task_names", "task_indices")


@dataclass(frozen=True)
class RunSpec:
    """One run: one method on one scenario with one seed. Field values are plain JSON."""

    scenario: str
    method: str
    seed: int
    task_indices: tuple[int, ...]  #: 1-based, in the order of learning (the initial task first)
    task_names: tuple[str, ...]  #: in the same order
    initial_task: int  #: 1-based; the task that trains the backbone
    selection: str  #: "validation", "last" or "legacy-test"
    bn_policy: str  #: "frozen" or "per-task"
    backbone: dict[str, Any]  #: name, width, channels, image_size, pretrained, weights (file name), weights_sha256
    protocol: dict[str, Any]  #: batch_size, eval_batch_size, and what replaces the tasks' own augmentation
    settings: dict[str, Any]  #: the method's knobs, resolved
    scratch: dict[str, Any]  #: knobs of the task-1 network and of accuracy goals
    mask: dict[str, Any] | None = None
    train_limit: int | None = None
    test_limit: int | None = None
    device: str = "cpu"  #: "cpu" or "cuda"
    precision: str = "fp32"
    compile: str = "off"
    scenario_title: str = ""

    #: fields that name things without changing a number
    NOT_HASHED = ("scenario_title",)

    @property
    def run_id(self) -> str:
        """Readable and unique: ``digits-ksm-s0-1a2b3c4d5e``.

        The hash covers what changes a number: the method's version and those knobs that differ from its defaults, so
        that a knob which is added later renames no finished run.
        """
        return f"{self.scenario}-{self.method}-s{self.seed}-{digest(self._departures())}"

    def _departures(self) -> dict[str, Any]:
        card, trainer = METHODS[self.method], reference(self.backbone["pretrained"])
        value = {**self._hashed(), "version": card.version}
        if trainer.version != 1:
            value["version of task 1"] = trainer.version
        value["settings"] = _unlike(self.settings, card.settings)
        value[TASK_1] = _unlike(self.scratch, trainer.settings)
        value["backbone"] = {
            key: item for key, item in value["backbone"].items() if key not in BACKBONE or item != BACKBONE[key]
        }
        value["mask"] = _unlike(self.mask, card.mask) if self.mask is not None and card.mask is not None else None
        optional = {item.name: item.default for item in dataclasses.fields(self) if item.name != "mask"}
        return {key: item for key, item in value.items() if key not in optional or item != optional[key]}

    def _hashed(self) -> dict[str, Any]:
        value = dataclasses.asdict(self)
        for name in self.NOT_HASHED:
            del value[name]
        value["backbone"] = {key: item for key, item in self.backbone.items() if key != "weights"}
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

    # ------------------------------------------------------------------ the names of earlier records

    @property
    def first_id(self) -> str | None:
        """The id that this run had when names held every knob, None where it could not have been named then."""
        if METHODS[self.method].version != 1:
            return None
        value = self._first("settings", TASK_1, "mask")
        return None if value is None else f"{self.scenario}-{self.method}-s{self.seed}-{digest(value)}"

    @property
    def ids(self) -> tuple[str, ...]:
        """Every name that the run may go by, the present one first."""
        return (self.run_id,) if self.first_id is None else (self.run_id, self.first_id)

    @property
    def first_initial_key(self) -> str | None:
        """``initial_key`` of that time."""
        value = self._first(TASK_1)
        return None if value is None else self._initial_key(value)

    def first_goal_key(self, task: int) -> str | None:
        """``goal_key`` of that time."""
        value = self._first(TASK_1)
        return None if value is None else self._goal_key(task, value)

    def _first(self, *parts: str) -> dict[str, Any] | None:
        """What was hashed then; None where a knob of these parts does something that was not done then."""
        trainer, value = reference(self.backbone["pretrained"]), self._hashed()
        if trainer.version != 1:
            return None
        kinds = {"settings": METHODS[self.method].settings, TASK_1: trainer.settings, "mask": MaskSettings()}
        for part in parts:
            for knob, about in knobs_of(kinds[part]).items() if value[part] is not None else ():
                before = getattr(kinds[part], knob) if about.was is None else about.was
                if about.since > 1 and value[part].pop(knob, before) != before:
                    return None
        return value

    def to_json(self) -> dict[str, Any]:
        """The record's ``spec``: the fields, and the few derived ones that readers look for."""
        return {
            **dataclasses.asdict(self),
            "tasks": len(self.task_indices),
            "epochs": self.settings["epochs"],
            "batch_size": self.protocol["batch_size"],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunSpec:
        """Read ``to_json`` back; derived fields are ignored. Raises TypeError when a field is missing."""
        known = {item.name: value[item.name] for item in dataclasses.fields(cls) if item.name in value}
        for name in ("task_indices", "task_names"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; none of it changes an accuracy."""

    results: str
    data_root: str | None = None
    scenario_source: str = ""  #: what ``load_scenario`` takes: the name, or the YAML file's path
    weights: str | None = None
    device: str = "cpu"  #: with an index, where there are several
    threads: int = 0  #: CPU threads of torch; 0: torch's own choice
    keep_weights: str = "tasks"
    resume: bool = True
    measure: str = "full"  #: "full" or "minimal" (no memory, energy or CUDA events)
    checkpoint_seconds: float = 60.0  #: within a task, at the end of an epoch, at most this often
    require_idle_gpu: bool = False
    workers: int = 1  #: runs at a time of the command that this run belongs to
    command: str = ""
    plugins: tuple[str, ...] = ()  #: modules whose methods are taken too

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value."""
        return dataclasses.asdict(self)


def _unlike(values: Mapping[str, Any], default: Settings | MaskSettings) -> dict[str, Any]:
    """The knobs that differ from their defaults; lists, as JSON has them, count as tuples. A knob that is younger than
    the values did then what it says in ``was``."""
    usual = dataclasses.asdict(default)
    return {
        key: value
        for key, value in {**done_before(default), **values}.items()
        if key not in usual or (tuple(value) if isinstance(value, list) else value) != usual[key]
    }


def digest(value: Any) -> str:
    """Ten hex digits of the sha256 of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
