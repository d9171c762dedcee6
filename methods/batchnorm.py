"""The BN policy: an explicit factor of every method, never a side effect (METHODS.md 0, finding 2).

"frozen": statistics and affine parameters stay those of the backbone, BN runs in evaluation mode while training.
"per-task": every task starts from the backbone's set, trains affine parameters and statistics, and keeps its own.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

FROZEN = "frozen"
PER_TASK = "per-task"
POLICIES = (FROZEN, PER_TASK)

#: counts the batches a BN layer has seen; no network here reads it, so it is never stored
COUNTER = "num_batches_tracked"


def batch_norms(backbone: nn.Module) -> list[tuple[str, _BatchNorm]]:
    """(module name, module) of every BN layer."""
    return [(name, module) for name, module in backbone.named_modules() if isinstance(module, _BatchNorm)]


def bn_set(backbone: nn.Module) -> dict[str, Tensor]:
    """Affine parameters, statistics and counters of every BN layer, by their name in the backbone."""
    return {
        f"{name}.{key}": tensor
        for name, module in batch_norms(backbone)
        for key, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    }


def set_modes(network: nn.Module, training: bool, bn_trains: bool) -> None:
    """Put ``network`` in training or evaluation mode; BN stays in evaluation mode unless ``bn_trains``."""
    network.train(training)
    if training and not bn_trains:
        for _, module in batch_norms(network):
            module.eval()
