"""Networks that several runs share, trained once under a lock: the task-1 network, and CPG's accuracy goals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checkpoint import CheckpointError, read_tensors, write_tensors
from benchmark.clock import Stopwatch
from benchmark.plan import scratch_settings
from benchmark.spec import RunSpec
from benchmark.store import cache_path, locked
from benchmark.tensors import PreparedTask
from methods.fitting import EpochReport
from methods.strategy import OVERRIDE
from methods.whole import FineTune, Scratch
from results.atomic import write_json

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class InitialNetwork:
    """The task-1 network: the backbone's tensors, the task's head, and what is known of its training."""

    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    facts: dict[str, Any]  #: task, accuracy, seconds, epochs, key, reused


@dataclass(frozen=True)
class References:
    """What a run needs to train or find them."""

    spec: RunSpec
    results: Path
    device: torch.device
    make_backbone: Callable[[], nn.Module]  #: a freshly initialised (or pretrained) backbone
    synchronise: Callable[[], None]
    emit: Emit

    def initial_network(self, experience: Any, task: PreparedTask) -> InitialNetwork:
        """The network that task trains from scratch, from the cache where it is there."""
        key = self.spec.initial_key
        path = cache_path(self.results, f"task1/{key}.safetensors")
        with locked(path.with_suffix(".lock"), lambda: self._say("waiting for another run to train the task-1 network")):
            found = self._read_initial(path)
            if found is not None:
                return found
            clock = Stopwatch(self.synchronise)
            strategy = self._scratch(clock, "task-1 network", task)
            strategy.train(experience, eval_streams=[])
            label = task.task.index - 1
            learned = strategy.learned[label]
            accuracy = strategy.correct(label, task.test) / len(task.test)
            progress = strategy.progress
            assert progress is not None
            facts = {
                "task": task.task.name,
                "accuracy": accuracy,
                "seconds": clock.seconds["run"].get("train", 0.0),
                "epochs": progress.epochs,
                "curve": progress.curve,
                "key": key,
                "device": str(self.device),
            }
            write_tensors(path, learned, {"facts": facts})
        return _initial(learned, {**facts, "reused": False})

    def _read_initial(self, path: Path) -> InitialNetwork | None:
        if not path.exists():
            return None
        try:
            tensors, metadata = read_tensors(path)
        except CheckpointError:
            self._say("the cached task-1 network cannot be read; training it again")
            return None
        return _initial(tensors, {**metadata["facts"], "reused": True})

    def goal(self, experience: Any, task: PreparedTask) -> float:
        """CPG's goal: what the reference method reaches on the images to select on; from the cache where it is there.

        The reference is ``scratch``, or ``finetune`` where the backbone is pretrained.
        """
        path = cache_path(self.results, f"goals/{self.spec.goal_key(task.task.index)}.json")
        with locked(path.with_suffix(".lock"), lambda: self._say("waiting for another run to find the accuracy goal")):
            found = read_goal(path)
            if found is not None:
                return found
            strategy = self._reference_strategy(task)
            strategy.train(experience, eval_streams=[])
            assert strategy.progress is not None
            accuracy = float(strategy.progress.done["train"]["selection"])
            write_goal(path, accuracy, "trained for it")
        return accuracy

    def _reference_strategy(self, task: PreparedTask) -> Any:
        untimed = Stopwatch(self.synchronise)
        if not self.spec.backbone["pretrained"]:
            return self._scratch(untimed, "goal", task)
        return FineTune(
            backbone=self.make_backbone(),
            settings=scratch_settings(self.spec),
            pretrained=True,
            **self._arguments(untimed, "goal", task),
        )

    def _scratch(self, clock: Stopwatch, phase: str, task: PreparedTask) -> Scratch:
        return Scratch(
            backbone=self.make_backbone(),
            make_backbone=self.make_backbone,
            settings=scratch_settings(self.spec),
            **self._arguments(clock, phase, task),
        )

    def _arguments(self, clock: Stopwatch, phase: str, task: PreparedTask) -> dict[str, Any]:
        from avalanche.training.plugins import EvaluationPlugin

        def listen(report: EpochReport) -> None:
            self.emit(epoch_event(report, task.task.name, phase))

        return {
            "seed": self.spec.seed,
            "train_mb_size": self.spec.protocol["batch_size"],
            "eval_mb_size": self.spec.protocol["eval_batch_size"],
            "device": self.device,
            "evaluator": EvaluationPlugin(),
            "phase": clock,
            "listener": listen,
        }

    def _say(self, text: str) -> None:
        self.emit({"type": "message", "text": text})


def epoch_event(report: EpochReport, name: str, phase: str | None = None) -> dict[str, Any]:
    """A progress event of one epoch."""
    return {
        "type": "epoch",
        "task": name,
        "phase": phase or report.phase,
        "key": report.key,
        "epoch": report.epoch,
        "epochs": report.epochs,
        "loss": report.loss,
        "train": report.train,
        "selection": report.selection,
    }


def _initial(tensors: dict[str, Tensor], facts: dict[str, Any]) -> InitialNetwork:
    backbone = {name.removeprefix(OVERRIDE): item for name, item in tensors.items() if name.startswith(OVERRIDE)}
    return InitialNetwork(backbone, {k: v for k, v in tensors.items() if not k.startswith(OVERRIDE)}, facts)


def read_goal(path: Path) -> float | None:
    """The accuracy in a goal file, None where there is none that can be read."""
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_goal(path: Path, accuracy: float, origin: str) -> None:
    """Keep a goal for the runs to come."""
    write_json(path, {"accuracy": accuracy, "from": origin})
