"""Which of a backbone's weights can be masked or owned, and what is said of the others."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable

from torch import Tensor, nn


def weight_layers(backbone: nn.Module) -> list[tuple[str, nn.Module]]:
    """(parameter name, module) of every convolution and linear layer, first and 1x1 ones included.

    A weight that several layers share stands here once, under its first name. Layers whose weight is no parameter
    (see ``computed_weights``) are left out.
    """
    first: dict[int, tuple[str, nn.Module]] = {}
    for name, module in backbone.named_modules():
        weight = module._parameters.get("weight") if isinstance(module, nn.Conv2d | nn.Linear) else None
        if weight is not None:
            first.setdefault(id(weight), (f"{name}.weight" if name else "weight", module))
    return list(first.values())


def computed_weights(backbone: nn.Module) -> list[str]:
    """Names of convolution and linear layers whose weight is worked out from other tensors in every forward pass:
    weight and spectral normalisation, other parametrizations, pruning by hooks."""
    return [
        name or type(module).__name__
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module._parameters.get("weight") is None
    ]


def unmasked_weights(backbone: nn.Module, masked: Iterable[str]) -> list[str]:
    """Names of weight matrices and kernels that no mask covers: of layers of other kinds, such as Conv1d, transposed
    convolutions and attention's joint projections. Biases and scales, with one dimension of more than one number, are
    none."""
    covered = set(masked)
    return [
        name
        for name, tensor in backbone.named_parameters()
        if sum(size > 1 for size in tensor.shape) > 1 and name not in covered
    ]


class UnmaskedWeights(UserWarning):
    """Some of a backbone's weights get no mask; the message names them."""


def warn_of_unmasked(backbone: nn.Module, masked: Iterable[str], fate: str) -> None:
    """Say which weights are of layers that cannot be masked, and what becomes of them."""
    names = unmasked_weights(backbone, (*masked, *(name for name, _ in weight_layers(backbone))))
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        warnings.warn(
            f"not masked, since only Conv2d and Linear layers are: {shown}; {fate}", UnmaskedWeights, stacklevel=3
        )


def require_usable(backbone: nn.Module) -> None:
    """Raises ValueError for a backbone that cannot be copied, or whose state cannot be kept per task: lazy layers,
    weights computed by hooks, tensors in lists and mappings."""
    for name, parameter in backbone.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(
                f"the backbone's {name} has no shape yet (a lazy layer): pass a batch through the backbone first"
            )
    for name, module in backbone.named_modules():
        for key, value in vars(module).items():
            if not key.startswith("_") and any(isinstance(item, Tensor) for item in _items(value)):
                raise ValueError(
                    f"the backbone's {name}.{key} holds tensors in a {type(value).__name__}, where no task can have "
                    "its own; register them as buffers"
                )
            if isinstance(value, Tensor) and not value.is_leaf:
                raise ValueError(
                    f"the backbone's {name}.{key} is computed from other tensors by a hook, as torch.nn.utils.prune "
                    "does; make it a parameter first, for example with torch.nn.utils.prune.remove"
                )


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set) else ()


def require_no_new_state(backbone: nn.Module, before: Collection[str]) -> None:
    """Raises ValueError where a forward pass has made a buffer that was not there before: it would be every task's."""
    if made := sorted({name for name, _ in backbone.named_buffers()} - set(before)):
        raise ValueError(
            f"the backbone made {', '.join(made)} in its first pass, where no task can have its own: pass a batch "
            "through the backbone first"
        )
