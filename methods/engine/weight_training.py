"""Training weights: which tensors of a task decay, and at which rate each moves."""

from __future__ import annotations

from torch import Tensor, nn

from methods.engine.layers import weight_layers
from methods.engine.optimise import Group, Optimizers
from methods.engine.parts import HEAD, OVERRIDE
from methods.engine.schedule import Schedule, plateau_of
from methods.engine.state import Plan, Snapshot
from methods.settings import TrainSettings, WeightSettings


def all_tensors(backbone: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, by name."""
    return {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}


def training_groups(tensors: Snapshot, backbone: nn.Module, settings: TrainSettings) -> Optimizers:
    """The trainable tensors of a task in two groups: convolution and linear weights decay, everything else does not."""
    decaying = {OVERRIDE + name for name, _ in weight_layers(backbone)}
    trained = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    schedule = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)

    def group(members: list[Tensor], lr: float, decay: float) -> Group:
        return Group(members, settings.optimizer, lr, schedule, settings.momentum, settings.nesterov, decay)

    weights = [tensor for name, tensor in trained.items() if name in decaying]
    others = {name: tensor for name, tensor in trained.items() if name not in decaying}
    groups = [group(members, rate, 0.0) for rate, members in by_rate(others, settings, settings.lr).items()]
    return Optimizers([group(weights, settings.lr, settings.weight_decay), *groups], settings.clip)


def training_plan(tensors: Snapshot, backbone: nn.Module, settings: TrainSettings) -> Plan:
    """One phase "train" of the trainable tensors of a task."""
    plateau = plateau_of(settings, settings.lr, settings.schedule, settings.gamma)
    return Plan("train", settings.epochs, training_groups(tensors, backbone, settings), plateau=plateau)


def by_rate(tensors: Snapshot, settings: WeightSettings, lr: float) -> dict[float, list[Tensor]]:
    """A task's own tensors by their rate in a phase at ``lr``: the head may have a rate of its own."""
    rates: dict[float, list[Tensor]] = {}
    for name, tensor in tensors.items():
        rates.setdefault(settings.head_rate(lr) if name.startswith(HEAD) else lr, []).append(tensor)
    return rates
