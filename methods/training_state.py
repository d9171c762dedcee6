"""A strategy in the middle of a task as named tensors, for a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.fitting import Progress, Snapshot
from methods.optimise import Optimizers

if TYPE_CHECKING:
    from methods.strategy import TaskStrategy


def training_state(strategy: TaskStrategy) -> Snapshot:
    """Everything of the task under way that a checkpoint must hold, by name (see ``put_back``)."""
    parts: dict[str, Mapping[str, Tensor]] = {"current": strategy.current}
    parts |= {name: getattr(strategy, name) for name in strategy.snapshots}
    parts["generator"] = {name: generator.get_state() for name, generator in strategy.generators.items()}
    if isinstance(strategy.optimizer, Optimizers):
        parts["optimizer"] = strategy.optimizer.tensors()
    if strategy.shared_changes:
        parts["shared"] = strategy.shared()
    return {f"{part}.{name}": tensor.detach() for part, tensors in parts.items() for name, tensor in tensors.items()}


def trainable_names(strategy: TaskStrategy) -> list[str]:
    """Names in ``current`` that require gradients."""
    return [name for name, tensor in strategy.current.items() if tensor.requires_grad]


def put_back(
    strategy: TaskStrategy, tensors: Mapping[str, Tensor], trainable: Sequence[str], progress: Progress | None
) -> None:
    """Continue where ``training_state`` was taken.

    Args:
        strategy: a fresh one, brought to where the other stood.
        tensors: what ``training_state`` gave.
        trainable: what ``trainable_names`` gave.
        progress: the task's progress at that moment, None between tasks.
    """
    parts: dict[str, Snapshot] = {}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        parts.setdefault(part, {})[rest] = tensor
    device = strategy.device
    if "shared" in parts:
        strategy.load_shared({name: tensor.to(device) for name, tensor in parts["shared"].items()})
    strategy.current = {
        name: tensor.to(device, copy=True).requires_grad_(name in trainable)
        for name, tensor in parts.get("current", {}).items()
    }
    for kept in strategy.snapshots:
        setattr(strategy, kept, {name: tensor.to(device, copy=True) for name, tensor in parts.get(kept, {}).items()})
    strategy.generators = {}
    for name, tensor in parts.get("generator", {}).items():
        strategy.generators[name] = torch.Generator(device)
        strategy.generators[name].set_state(tensor.cpu())
    strategy.resumed_optimizer = parts.get("optimizer")
    strategy.progress = progress
    strategy.forget_view()
