"""Model size under the convention behind the published figures (KSM's table 2): the rule ``cpg_table``.

A closed formula of the architecture and the task counts alone. It charges every
method the same common part, BN sets of the added tasks included, whether the method needs them or not; what a method
really must store is the other rule, ``itemised``, the sum of its own size components.

All counts are of numbers; a number is fp32, 4 bytes, unless a formula says bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.card import SizeRule
from methods.settings import BLOCK_ROWS
from results.schema import TABLE_PARTS

if TYPE_CHECKING:
    from torch import nn

FLOAT_BYTES = 4
NETWORKS, BACKBONE, HEADS, OWN, INDEX, MASKS, SOFT = TABLE_PARTS
GROUP_CHANNELS = 8  #: input channels that share a score under "group" units


@dataclass(frozen=True)
class Architecture:
    """What the formula needs to know of a backbone and its heads; every field counts numbers.

    In a scenario that starts from pretrained weights, ``initial_head`` is the head these came with (ImageNet's
    1000-way one): it is task 1, and every head of ``head_sizes`` belongs to an added task. Where task 1 is trained from
    scratch its head is the first of ``head_sizes``, and ``initial_head`` is None.
    """

    conv_elements: int
    conv_kernels: int
    conv_channels: int  #: output channels
    conv_groups: int  #: (output channel, block of 8 input channels) pairs
    hidden_linear_elements: int
    hidden_linear_units: int  #: outputs of hidden fully connected layers
    bn_affine: int
    bn_running: int  #: means and variances; BN's batch counter is not counted
    biases: int  #: of convolutions and hidden fully connected layers
    head_sizes: tuple[int, ...]  #: weights and biases of each task's head
    initial_head: int | None = None
    conv_rows: tuple[tuple[int, int], ...] = ()  #: of each convolution: outputs, weights of one output
    hidden_linear_rows: tuple[tuple[int, int], ...] = ()  #: the same of hidden fully connected layers

    @property
    def tasks(self) -> int:
        """Tasks altogether, the initial one included."""
        return len(self.head_sizes) + (self.initial_head is not None)

    @property
    def added_tasks(self) -> int:
        """Tasks after the initial one: these bring masks, a BN set and biases of their own."""
        return max(self.tasks - 1, 0)

    @property
    def weights(self) -> int:
        """Elements of convolutions and hidden fully connected layers: what can be pruned, owned or masked."""
        return self.conv_elements + self.hidden_linear_elements

    @property
    def bn(self) -> int:
        """One BN set: affine parameters and running statistics."""
        return self.bn_affine + self.bn_running

    @property
    def backbone(self) -> int:
        """Everything of one network but its head."""
        return self.weights + self.bn + self.biases

    @property
    def heads(self) -> int:
        """All heads together, the initial one included."""
        return sum(self.head_sizes) + (self.initial_head or 0)

    def mask_units(self, conv: str, hidden_linear: str = "element", rows: int = BLOCK_ROWS) -> int:
        """Mask units of one task: ``conv`` is "element", "kernel", "channel", "group" or "block"; ``hidden_linear`` is
        "element", "unit" (one per output), "frozen" (not masked) or "block"; a block is of ``rows`` weights."""
        return {
            "element": self.conv_elements,
            "kernel": self.conv_kernels,
            "channel": self.conv_channels,
            "group": self.conv_groups,
            "block": _blocks(self.conv_rows, rows),
        }[conv] + {
            "element": self.hidden_linear_elements,
            "unit": self.hidden_linear_units,
            "frozen": 0,
            "block": _blocks(self.hidden_linear_rows, rows),
        }[hidden_linear]


def _blocks(layers: Sequence[tuple[int, int]], rows: int) -> int:
    return sum(outputs * math.ceil(weights / rows) for outputs, weights in layers)


def cpg_table_bytes(rule: SizeRule, architecture: Architecture, soft_fraction: float = 0.0) -> int:
    """Bytes under the rule ``cpg_table``: the sum of :func:`cpg_table_parts`, which see."""
    return sum(cpg_table_parts(rule, architecture, soft_fraction).values())


def cpg_table_parts(rule: SizeRule, architecture: Architecture, soft_fraction: float = 0.0) -> dict[str, int]:
    """Bytes under the rule ``cpg_table``, by part (names: ``results.schema.TABLE_PARTS``).

    Args:
        rule: what the method adds (``Card.size_rule``). CPG's is as printed, which leaves out its owner index.
        architecture: the counts.
        soft_fraction: share of all mask units that store an fp32 value beside their bit, as measured; the formula
            gives 146 MiB, KSM's printed size, at 0.121.

    Raises:
        ValueError: a fraction outside [0, 1], or soft values for a rule that has none.
    """
    if not 0 <= soft_fraction <= 1:
        raise ValueError(f"the soft fraction is {soft_fraction!r}, it must lie between 0 and 1")
    if soft_fraction and not rule.soft:
        raise ValueError(f"a soft fraction of {soft_fraction} was given for a rule that has no soft values")
    heads = FLOAT_BYTES * architecture.heads
    if rule.whole_networks:
        return {NETWORKS: FLOAT_BYTES * architecture.tasks * architecture.backbone, HEADS: heads}
    parts = {BACKBONE: FLOAT_BYTES * architecture.backbone, HEADS: heads}
    parts[OWN] = common_bytes(architecture) - sum(parts.values())
    bits = soft = 0.0
    if rule.owner_index:
        bits += owner_bits(architecture.tasks) * architecture.weights
        parts[INDEX] = math.ceil(bits / 8)
    if rule.units is not None:
        units = architecture.added_tasks * architecture.mask_units(rule.units, rule.hidden_linear, rule.rows)
        bits += units
        parts[MASKS] = math.ceil(bits / 8) - parts.get(INDEX, 0)
        soft = units * soft_fraction * 8 * FLOAT_BYTES
    if soft:
        parts[SOFT] = math.ceil((bits + soft) / 8) - math.ceil(bits / 8)
    return parts


def common_bytes(architecture: Architecture) -> int:
    """The backbone, all heads, and a BN set and biases for every added task."""
    added = architecture.added_tasks * (architecture.bn + architecture.biases)
    return FLOAT_BYTES * (architecture.backbone + architecture.heads + added)


def owner_bits(tasks: int) -> int:
    """Bits that tell which of ``tasks`` owns a weight, or that none does."""
    return tasks.bit_length()


def architecture_of(backbone: nn.Module, head_sizes: Sequence[int], initial_head: int | None = None) -> Architecture:
    """Count a backbone (without a head).

    Args:
        backbone: built of 2-d convolutions, linear layers and BN with running statistics.
        head_sizes: :func:`head_size` of every task, in the order of learning.
        initial_head: see :class:`Architecture`.

    Raises:
        ValueError: the backbone has parameters in other layers, which the formula does not know.
    """
    from torch import nn

    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    linears = [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    known = {id(parameter) for layer in (*convolutions, *linears, *norms) for parameter in layer.parameters()}
    unknown = [name for name, parameter in backbone.named_parameters() if id(parameter) not in known]
    if unknown:
        raise ValueError(f"the size formula knows convolutions, linear layers and BN, not {unknown[0]}")
    biases = [layer.bias for layer in convolutions] + [layer.bias for layer in linears]
    return Architecture(
        conv_elements=sum(layer.weight.numel() for layer in convolutions),
        conv_kernels=sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in convolutions),
        conv_channels=sum(layer.out_channels for layer in convolutions),
        conv_groups=sum(
            layer.out_channels * math.ceil(layer.weight.shape[1] / GROUP_CHANNELS) for layer in convolutions
        ),
        hidden_linear_elements=sum(layer.weight.numel() for layer in linears),
        hidden_linear_units=sum(layer.out_features for layer in linears),
        bn_affine=sum(parameter.numel() for layer in norms for parameter in layer.parameters()),
        bn_running=sum(2 * layer.num_features for layer in norms),
        biases=sum(bias.numel() for bias in biases if bias is not None),
        head_sizes=tuple(head_sizes),
        initial_head=initial_head,
        conv_rows=tuple((layer.out_channels, layer.weight[0].numel()) for layer in convolutions),
        hidden_linear_rows=tuple((layer.out_features, layer.in_features) for layer in linears),
    )


def head_size(feature_dim: int, classes: int) -> int:
    """Weights and biases of a linear head."""
    return (feature_dim + 1) * classes


def mib(size: float) -> float:
    """Bytes in MiB (2**20), the unit behind the published "MB"."""
    return size / 2**20


def megabytes(size: float) -> float:
    """Bytes in decimal MB (10**6)."""
    return size / 10**6
