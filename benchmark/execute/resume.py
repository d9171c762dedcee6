"""What a run has done so far, kept so that a process killed at any moment costs at most the task under way.

Two files, each complete by itself: one as the run stood after its last finished task, one from within a task. Where
one of them is damaged the other serves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmark.execute.checkpoint import CheckpointError, load_training, read_metadata, read_tensors, save_training
from benchmark.execute.store import RunFolder
from benchmark.measure.clock import Stopwatch
from methods.engine.parts import Parts, read_parts
from methods.engine.state import Progress


@dataclass
class Done:
    """Finished tasks of a run, in the order of learning; plain JSON throughout."""

    run_id: str
    fingerprint: str  #: of the data
    rows: list[dict[str, Any]] = field(default_factory=list)
    progresses: list[dict[str, Any]] = field(default_factory=list)  #: ``Progress`` of each, {} where none was needed
    matrix: list[list[float | None]] = field(default_factory=list)
    initial: dict[str, Any] | None = None  #: facts of the task-1 network
    written: dict[str, int] = field(default_factory=dict)  #: bytes by file name
    headers: dict[str, int] = field(default_factory=dict)  #: of which header
    learned_sha256: dict[str, str] = field(default_factory=dict)  #: by task name, of the tensors that it adds
    logits: dict[str, str] = field(default_factory=dict)  #: ``benchmark.execute.promise.Promise.noted``
    sessions: int = 1
    made_on: list[dict[str, Any]] = field(default_factory=list)  #: what each session was carried out on


def save(folder: RunFolder, done: Done, strategy: Any, clock: Stopwatch, progress: Progress | None) -> None:
    """Write a checkpoint; ``progress``: of the task under way, None between tasks. Raises OSError."""
    path = folder.checkpoint if progress is None else folder.inner_checkpoint
    save_training(path, strategy, progress, {"done": dataclasses.asdict(done), "clock": clock.state()})


def resume(
    folder: RunFolder, done: Done, strategy: Any, clock: Stopwatch, device: torch.device, say: Callable[[str], None]
) -> Done | None:
    """Go on from the folder's furthest checkpoint that is whole.

    Args:
        done: what a fresh start would have: names the run and its data.
        strategy: a fresh one; brought to where the checkpoint stood.
        clock: likewise.
        say: told, in one sentence, about what could not be used.

    Returns:
        What had been done, or None where the run has to start afresh.
    """
    for path, metadata in _candidates(folder, done, say):
        try:
            found = Done(**metadata["done"])
            tensors, _ = read_tensors(path)
            indices = [] if strategy.kept_changes else [row["index"] for row in found.rows]  # else: in the checkpoint
            learned = {index: _read_parts(folder.task(index), device) for index in indices}
            shared = {} if strategy.shared_changes or not found.rows else read_tensors(folder.backbone)[0]
        except (CheckpointError, KeyError, TypeError) as error:
            say(f"{error}; it cannot be used")
            continue
        if shared:
            strategy.load_shared({name: tensor.to(device) for name, tensor in shared.items()})
        for index, task in learned.items():
            strategy.learned[index - 1] = task
        load_training(tensors, metadata, strategy)
        clock.load_state(metadata["clock"])
        found.sessions += 1
        return found
    return None


def _read_parts(path: Path, device: torch.device) -> Parts:
    """What a finished task keeps. Raises CheckpointError: damaged, or written by a version that described no parts."""
    tensors, metadata = read_tensors(path)
    if "parts" not in metadata:
        raise CheckpointError(f"{path} was written by an earlier version, which did not describe what it stored")
    return read_parts({name: tensor.to(device) for name, tensor in tensors.items()}, metadata["parts"])


def _candidates(folder: RunFolder, fresh: Done, say: Callable[[str], None]) -> list[tuple[Path, dict[str, Any]]]:
    """The run's own checkpoints, the furthest first."""
    found = []
    for path in (folder.checkpoint, folder.inner_checkpoint):
        if not path.exists():
            continue
        try:
            metadata = read_metadata(path)
        except CheckpointError as error:
            say(f"{error}; it cannot be used")
            continue
        done = metadata.get("done", {})
        if done.get("run_id") != fresh.run_id:
            say(f"{path} belongs to another run; it cannot be used")
        elif done.get("fingerprint") != fresh.fingerprint:
            say(f"{path} was made with other data; it cannot be used")
        else:
            found.append((path, metadata))
    return sorted(found, key=lambda item: _distance(item[1]), reverse=True)


def _distance(metadata: dict[str, Any]) -> tuple[int, int]:
    """How far a checkpoint is: finished tasks, and epochs of the one under way."""
    progress = metadata["progress"] or {}
    return len(metadata["done"]["rows"]), progress.get("epochs", 0)
