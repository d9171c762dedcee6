"""RunSpec: everything that changes a run's numbers, resolved, saved with the run and hashed into its id."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any


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
    scratch: dict[str, Any]  #: knobs of the task-1 network and of CPG's goals
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
        """Readable and unique: ``digits-ksm-s0-1a2b3c4d5e``; the hash covers everything that changes a number."""
        return f"{self.scenario}-{self.method}-s{self.seed}-{digest(self._hashed())}"

    def _hashed(self) -> dict[str, Any]:
        value = dataclasses.asdict(self)
        for name in self.NOT_HASHED:
            del value[name]
        value["backbone"] = {key: item for key, item in self.backbone.items() if key != "weights"}
        return value

    @property
    def initial_key(self) -> str:
        """Names the task-1 network: everything that changes it, nothing of the method that starts from it."""
        value = self._hashed()
        for name in ("method", "settings", "mask", "bn_policy", "task_names", "task_indices"):
            del value[name]
        return f"{self.scenario}-task{self.initial_task}-s{self.seed}-{digest(value)}"

    def goal_key(self, task: int) -> str:
        """Names CPG's accuracy goal for ``task``: the ``scratch`` run of it."""
        value = self._hashed()
        for name in ("method", "settings", "mask", "bn_policy", "task_names", "task_indices", "initial_task"):
            del value[name]
        return f"{self.scenario}-goal{task}-s{self.seed}-{digest(value)}"

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
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value."""
        return dataclasses.asdict(self)


def digest(value: Any) -> str:
    """Ten hex digits of the sha256 of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
