"""The BN policy: an explicit factor of every method, never a side effect. It moves results more than masks do.

"frozen": statistics and affine parameters stay those of the backbone; BN runs in evaluation mode while training.
"per-task": every task starts from the backbone's set, trains affine parameters and statistics, and keeps its own.

Other layers with buffers of their own, such as batch renormalisation, are treated alike. Whatever buffer a forward pass
may write while a task trains is that task's copy, under either policy, so that nothing of it reaches earlier tasks.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods.card import BN_POLICIES, FROZEN, PER_TASK

__all__ = ["BN_POLICIES", "COUNTER", "FROZEN", "PER_TASK", "bn_set", "loose_buffers", "set_modes"]

#: counts the batches a BN layer has seen; no network here reads it, so it is never stored
COUNTER = "num_batches_tracked"


def own_state(backbone: nn.Module) -> nn.Module:
    """The backbone itself, tensors that its layers keep in plain attributes made buffers, and buffers that would not be
    saved made such that are: state like any other."""
    for module in backbone.modules():
        module._non_persistent_buffers_set.clear()
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                delattr(module, name)
                module.register_buffer(name, value)
    return backbone


def normalises(module: nn.Module) -> bool:
    """A BN layer, or another one that has buffers of its own and no weight to mask."""
    return isinstance(module, _BatchNorm) or (bool(module._buffers) and not isinstance(module, nn.Conv2d | nn.Linear))


def bn_set(backbone: nn.Module) -> dict[str, Tensor]:
    """What "per-task" makes the task's own: affine parameters, statistics and counters, by their name in the backbone,
    and every other buffer."""
    found: dict[str, Tensor] = {}
    for name, module in backbone.named_modules():
        own = [*module.named_buffers(recurse=False)]
        if normalises(module):
            own = [*module.named_parameters(recurse=False), *own]
        found |= {_joined(name, key): tensor for key, tensor in own}
    return found


def loose_buffers(backbone: nn.Module) -> dict[str, Tensor]:
    """Buffers that a forward pass may write even where BN is frozen: those of all layers but torch's BN, which in
    evaluation mode writes nothing."""
    return {
        _joined(name, key): tensor
        for name, module in backbone.named_modules()
        if not isinstance(module, _BatchNorm)
        for key, tensor in module.named_buffers(recurse=False)
    }


def _joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def set_modes(network: nn.Module, training: bool, bn_trains: bool) -> None:
    """Training or evaluation mode for ``network``; normalising layers stay in evaluation mode unless ``bn_trains``."""
    network.train(training)
    if training and not bn_trains:
        for module in network.modules():
            if normalises(module):
                module.eval()
