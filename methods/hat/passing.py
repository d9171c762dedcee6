"""What leaves every channel of a map a function of itself, and where tracing a network stops for it."""

from __future__ import annotations

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

#: layers that leave each channel a function of itself, and 0 where it is 0
PASSING = (
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh,
    nn.Hardswish, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
#: functions and methods that do, by name
PASSING_CALLS = (
    "relu", "relu_", "leaky_relu", "relu6", "elu", "gelu", "silu", "tanh", "hardswish", "dropout", "max_pool2d",
    "boolean_dispatch", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "contiguous",
)  # fmt: skip


class Tracer(fx.Tracer):
    """Follows a network down to its layers, those derived from torch's included, such as convolutions that pad by the
    size of their input, or BN with the activation that follows it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the graph has the module as one node."""
        own = isinstance(m, nn.Conv2d | nn.Linear) or (isinstance(m, _BatchNorm) and _only_passing(m))
        return own or super().is_leaf_module(m, module_qualified_name)


def _only_passing(module: nn.Module) -> bool:
    """What the layer applies beside its own arithmetic passes units on."""
    return all(isinstance(part, PASSING) for part in module.modules() if part is not module)
