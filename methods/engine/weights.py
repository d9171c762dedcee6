"""Training weights: which tensors of a task decay, and at which rate each moves."""

from __future__ import annotations

from torch import Tensor, nn

from methods.engine.knobs import TrainSettings
from methods.engine.layers import weight_layers
from methods.engine.optimise import Group, Optimizers, Schedule
from methods.engine.parts import OVERRIDE
from methods.engine.state import Snapshot


def all_tensors(backbone: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, by name."""
    return {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}


def training_groups(tensors: Snapshot, backbone: nn.Module, settings: TrainSettings) -> Optimizers:
    """The trainable tensors of a task in two groups: convolution and linear weights decay, everything else does not."""
    decaying = {OVERRIDE + name for name, _ in weight_layers(backbone)}
    trained = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    schedule = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)

    def group(members: list[Tensor], decay: float) -> Group:
        return Group(members, settings.optimizer, settings.lr, schedule, settings.momentum, settings.nesterov, decay)

    return Optimizers(
        [
            group([tensor for name, tensor in trained.items() if name in decaying], settings.weight_decay),
            group([tensor for name, tensor in trained.items() if name not in decaying], 0.0),
        ]
    )
