"""``strategy.model.state_dict()`` as Avalanche scripts and plugins use it: it holds all that was learned.

Beside the backbone's own tensors: ``tasks.LABEL.PART`` for every learned task, ``shared.NAME`` for what tasks share
beside the backbone, ``current.NAME`` for the task under way, and ``about``, the parts' descriptions as JSON bytes.
Loading it into a strategy of the same method and backbone gives one that has learned the same tasks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from methods.card import Card
from methods.engine.parts import BACKBONE, SHARED, Parts, Tensors, described, read_parts, tensors_of, without_prefix
from methods.engine.state import Snapshot, TaskState

TASKS, CURRENT, ABOUT = "tasks.", "current.", "about"


class Learned(Protocol):
    """What is asked of a strategy."""

    card: Card
    learned: dict[int, Parts]
    device: torch.device
    state: TaskState

    def shared(self) -> Snapshot: ...
    def load_shared(self, tensors: Mapping[str, Tensor]) -> None: ...
    def mutable(self) -> Snapshot: ...
    def put_back(self, snapshot: Snapshot) -> None: ...
    def forget_view(self) -> None: ...


def is_own(name: str) -> bool:
    """The name is of what was learned, not of the backbone."""
    return name == ABOUT or name.startswith((TASKS, SHARED, CURRENT))


def model_tensors(strategy: Learned) -> Tensors:
    """All that was learned, by name; empty before the first task."""
    found: Tensors = {}
    about: dict[str, Any] = {"method": strategy.card.name, "mask": _mask(strategy), "tasks": {}}
    for label, parts in strategy.learned.items():
        found |= {f"{TASKS}{label}.{name}": tensor for name, tensor in tensors_of(parts).items()}
        about["tasks"][str(label)] = described(parts)
    shared = {name: tensor for name, tensor in strategy.shared().items() if not name.startswith(BACKBONE)}
    found |= {f"{SHARED}{name}": tensor.detach() for name, tensor in shared.items()}
    found |= {f"{CURRENT}{name}": tensor.detach() for name, tensor in strategy.mutable().items() if name not in shared}
    found[ABOUT] = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
    return found


def _mask(strategy: Any) -> dict[str, Any] | None:
    mask = getattr(strategy, "mask", None)
    return None if mask is None else asdict(mask)


def load_model_tensors(strategy: Learned, tensors: Mapping[str, Tensor]) -> None:
    """Put back what ``model_tensors`` gave; of the task under way what has the names that it trains now. A state of the
    backbone alone leaves what was learned.

    Raises:
        ValueError: the tensors are of another method or of other masks.
    """
    if not tensors:
        return
    about = json.loads(tensors[ABOUT].cpu().numpy().tobytes()) if ABOUT in tensors else {}
    own = {name for name in strategy.shared() if not name.startswith(BACKBONE)}
    mask = json.loads(json.dumps(_mask(strategy)))
    if about.get("method") != strategy.card.name or about.get("mask") != mask:
        raise ValueError(
            f"the state is of {about.get('method', 'no method that says its name')} or of other masks, the strategy is "
            f"{strategy.card.name}"
        )
    learned: dict[int, Parts] = {}
    for label, facts in about["tasks"].items():
        kept = without_prefix(tensors, f"{TASKS}{label}.")
        moved = {name: tensor.detach().to(strategy.device, copy=True) for name, tensor in kept.items()}
        learned[int(label)] = read_parts(moved, facts)
    strategy.learned.clear()
    strategy.learned.update(learned)
    if shared := without_prefix(tensors, SHARED):
        strategy.load_shared({name: tensor.to(strategy.device) for name, tensor in shared.items()})
    current, now = without_prefix(tensors, CURRENT), strategy.mutable()
    if current and current.keys() == {name for name in now if name not in own}:
        strategy.put_back({name: current.get(name, tensor) for name, tensor in now.items()})
    elif not strategy.state.current:
        strategy.state = TaskState()
    strategy.forget_view()
