"""Networks that several runs share, trained once under a lock: the task-1 network, and CPG's accuracy goals."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data.pixel_file import PixelFile
from benchmark.execute.checkpoint import CheckpointError, load_training, read_tensors, save_training, write_tensors
from benchmark.execute.compiling import compiling_apart
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import cache_path
from benchmark.execute.tensors import PreparedTask
from benchmark.measure.clock import RUN, Stopwatch
from benchmark.plan.spec import RunSpec
from methods.engine.parts import OVERRIDE, overrides, tensors_of
from methods.engine.state import EpochReport, Progress
from methods.engine.streams import Streams
from methods.registry import reference
from results.atomic import write_json
from results.reader import content_of
from results.schema import TASK_1_SETTINGS
from results.temporary import TEMPORARY_SUFFIX

#: images that ``task_digest`` looks at, about
SAMPLED_IMAGES = 64

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class InitialNetwork:
    """The task-1 network: the backbone's tensors, the task's head, and what is known of its training."""

    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    facts: dict[str, Any]  #: task, accuracy, seconds, epochs, key, reused


@dataclass(frozen=True)
class References:
    """What a run needs to train or find them.

    Attributes:
        make_backbone: gives a freshly initialised (or the pretrained) backbone.
        checkpoint_seconds: between two checkpoints of a training; None: start unfinished ones afresh.
        give_back: called at the end of every epoch, for what it freed.
    """

    spec: RunSpec
    results: Path
    device: torch.device
    make_backbone: Callable[[], nn.Module]
    synchronise: Callable[[], None]
    emit: Emit
    checkpoint_seconds: float | None = None
    give_back: Callable[[], None] = lambda: None

    def initial_network(self, experience: Any, task: PreparedTask) -> InitialNetwork:
        """The network that task trains from scratch, from the cache where it is there."""
        key, old = self.spec.initial_key, self.spec.first_initial_key
        path = cache_path(self.results, f"task1/{key}.safetensors", old and f"task1/{old}.safetensors")
        with self._alone(path, "the task-1 network"):
            found = self._read_initial(path, task)
            if found is not None:
                return found
            clock = Stopwatch(self.synchronise)
            strategy = self._reference(clock, "task-1 network", task, pretrained=False)
            self._train(strategy, clock, experience, task, path)
            label = task.task.index - 1
            learned = tensors_of(strategy.learned[label])
            accuracy = strategy.correct(label, task.test) / len(task.test)
            progress = strategy.progress
            assert progress is not None
            facts = {
                "task": task.task.name,
                "accuracy": accuracy,
                "seconds": clock.seconds[RUN].get("train", 0.0),
                "epochs": progress.epochs,
                "curve": progress.curve,
                "key": key,
                "device": str(self.device),
                "data": task_digest(task),
            }
            write_tensors(path, learned, {"facts": facts})
            _unfinished(path).unlink(missing_ok=True)
        return _initial(learned, {**facts, "reused": False})

    def _read_initial(self, path: Path, task: PreparedTask) -> InitialNetwork | None:
        if not path.exists():
            return None
        try:
            tensors, metadata = read_tensors(path)
        except CheckpointError as error:
            self._say(f"{error}; training the task-1 network again")
            return None
        if metadata["facts"].get("data") != task_digest(task):
            self._say("the cached task-1 network was trained on other images; training it again")
            return None
        return _initial(tensors, {**metadata["facts"], "reused": True})

    def goal(self, experience: Any, task: PreparedTask) -> float:
        """CPG's goal: what the reference method reaches on the images to select on; from the cache where it is there.

        The reference trains from scratch, or from the backbone where that is pretrained. Which of its epochs counts is
        the setting ``goal_epoch``.
        """
        path, epoch = self._goal_path(task), str(getattr(self.spec.settings, "goal_epoch", "best"))
        with self._alone(path, "the accuracy goal"):
            found = read_goal(path, task_digest(task), epoch)
            if found is not None:
                return found
            clock = Stopwatch(self.synchronise)
            strategy = self._reference(clock, "goal", task, self.spec.backbone.pretrained)
            self._train(strategy, clock, experience, task, path)
            assert strategy.progress is not None
            goals = self._write_goal(task, strategy.progress, "trained for it")
            _unfinished(path).unlink(missing_ok=True)
        return goals[epoch]

    def keep_goal(self, task: PreparedTask, progress: Progress, origin: str) -> None:
        """Keep a goal for the runs to come; ``origin``: who found it. A run that is making the same one writes it."""
        with suppress(BlockingIOError), locked(self._goal_path(task).with_suffix(".lock")):
            self._write_goal(task, progress, origin)

    def _write_goal(self, task: PreparedTask, progress: Progress, origin: str) -> dict[str, float]:
        """What the reference's best and its last epoch reached."""
        goals = {"best": float(progress.done["train"]["selection"]), "last": float(progress.curve[-1]["selection"])}
        facts = {"accuracy": goals["best"], "last": goals["last"], "from": origin, "data": task_digest(task)}
        write_json(self._goal_path(task), {**facts, "sha256": _of(facts)})
        return goals

    def _goal_path(self, task: PreparedTask) -> Path:
        index = task.task.index
        old = self.spec.first_goal_key(index)
        return cache_path(self.results, f"goals/{self.spec.goal_key(index)}.json", old and f"goals/{old}.json")

    @contextmanager
    def _alone(self, path: Path, what: str) -> Iterator[None]:
        """Hold the lock of one cached file, and remove what a killed process left of it."""
        with locked(path.with_suffix(".lock"), lambda: self._say(f"waiting for another run that makes {what}")):
            for leftover in path.parent.glob(f".{path.stem}*{TEMPORARY_SUFFIX}"):
                leftover.unlink(missing_ok=True)
            yield

    def _train(self, strategy: Any, clock: Stopwatch, experience: Any, task: PreparedTask, path: Path) -> None:
        """Train, with checkpoints beside ``path``, from the last of them on where there is one."""
        unfinished, seconds = _unfinished(path), self.checkpoint_seconds
        if seconds is not None:
            self._resume(strategy, clock, unfinished, task_digest(task))
        saved_at = clock.wall_seconds

        def epoch_over() -> None:
            nonlocal saved_at
            self.give_back()
            if seconds is not None and clock.wall_seconds - saved_at >= seconds:
                facts = {"clock": clock.state(), "data": task_digest(task)}
                save_training(unfinished, strategy, strategy.progress, facts)
                self.give_back()
                saved_at = clock.wall_seconds

        strategy.checkpoint = epoch_over
        with compiling_apart(clock, self.spec.compile != "off"):
            strategy.train(experience, eval_streams=[])
        # circles that would keep the network in memory until the collector comes by
        strategy.checkpoint = strategy.view.learned_by = strategy.trainer = None

    def _resume(self, strategy: Any, clock: Stopwatch, unfinished: Path, digest: str) -> None:
        if not unfinished.exists():
            return
        try:
            tensors, metadata = read_tensors(unfinished)
        except CheckpointError as error:
            self._say(f"{error}; it cannot be used")
            return
        if metadata.get("data") == digest:
            load_training(tensors, metadata, strategy)
            clock.load_state(metadata["clock"])

    def _reference(self, clock: Stopwatch, phase: str, task: PreparedTask, pretrained: bool) -> Any:
        """The strategy that trains a whole network on one task, from random or from pretrained weights."""
        card = reference(pretrained)
        extra = {"make_backbone": self.make_backbone} if card.needs.fresh_backbone else {}
        with Streams(self.spec.seed).initialising(self.spec.initial_task - 1):  # pretrained weights may not be there
            backbone = self.make_backbone()
        return card.load()(
            backbone=backbone,
            settings=dataclasses.replace(self.spec.scratch, **self.spec.of_task(task.task.name, TASK_1_SETTINGS)),
            pretrained=pretrained,
            **extra,
            **self._arguments(clock, phase, task),
        )

    def _arguments(self, clock: Stopwatch, phase: str, task: PreparedTask) -> dict[str, Any]:
        from avalanche.training.plugins import EvaluationPlugin

        def listen(report: EpochReport) -> None:
            self.emit(epoch_event(report, task.task.name, phase))

        return {
            "seed": self.spec.seed,
            "train_mb_size": self.spec.protocol.batch_size,
            "eval_mb_size": self.spec.protocol.eval_batch_size,
            "device": self.device,
            "evaluator": EvaluationPlugin(),
            "precision": self.spec.precision,
            "compile_backbone": self.spec.compile == "backbone",
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
        "lr": report.rate,
    }


def _initial(tensors: dict[str, Tensor], facts: dict[str, Any]) -> InitialNetwork:
    head = {name: tensor for name, tensor in tensors.items() if not name.startswith(OVERRIDE)}
    return InitialNetwork(overrides(tensors), head, facts)


def _unfinished(path: Path) -> Path:
    """The checkpoint of a training whose result will be ``path``."""
    return path.with_name(f"{path.stem}.unfinished")


def read_goal(path: Path, digest: str, epoch: str = "best") -> float | None:
    """The accuracy of the reference's "best" or "last" epoch in a goal file, None where there is none that can be read
    or it is of other images."""
    try:
        found = json.loads(content_of(path))
        seal = found.pop("sha256", None)
        if seal is not None and seal != _of(found):  # files of earlier versions have none
            return None
        return float(found["accuracy" if epoch == "best" else epoch]) if found.get("data") == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _of(facts: Mapping[str, Any]) -> str:
    """sha256 (hex) of a goal's facts, which lies beside them."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def task_digest(task: PreparedTask) -> str:
    """Ten hex digits that tell one task's training data from others: labels, a sample of images, how they are shown."""
    split = task.task.train
    every, images = max(1, len(split.labels) // SAMPLED_IMAGES), split.images
    digest = hashlib.sha256(np.ascontiguousarray(split.labels).tobytes())
    if isinstance(images, PixelFile):
        for place in range(0, len(images), every):
            digest.update(images.read(place).tobytes())
    else:
        digest.update(np.ascontiguousarray(images[::every]).tobytes())
    digest.update(repr((task.task.mean, task.task.std, task.task.augmentation)).encode())
    return digest.hexdigest()[:10]
