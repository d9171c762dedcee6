"""The equations of HAT: gates on units, their annealing, what they protect, and how they act on a network.

With e the embedding of a task, one number per unit, and a_before the cumulative gates of the tasks before it:

==============================  ============================================================================
gate                            a = sigmoid(s e); finished: s = s_max, or a = [e > 0] where it is binarised
annealing, batch b of B         s = 1 / s_max + (s_max - 1 / s_max) b / B
regulariser                     R = sum a (1 - a_before) / sum (1 - a_before)
gradient of a weight j -> i     times 1 - min(a_before_i, a_before_j)
gradient of the embedding       times s_max / s (cosh(s e) + 1) / (cosh(e) + 1)
cumulative gates                a_before <- max(a_before, a)
==============================  ============================================================================

Serra et al., ICML 2018, section 2. Needs torch alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from methods.engine.layout import FlatLayout
from methods.engine.packing import pack_bits, packed_length, unpack_bits
from methods.engine.parts import BACKBONE, Part, Parts, Tensors, overrides, without_prefix
from methods.engine.restore import DamagedParts

#: parts of a task: one bit per unit, or the gates themselves where they are not binarised
GATE_BITS, GATES = "gates.bits", "gates.values"
#: prefix of what tasks share beside the backbone: the unit of each channel of a layer that gates multiply, int32
UNITS = "units."
#: its number of units, int32 (1,)
UNIT_COUNT = "unit count"

#: bounds of the embedding, and of s e within cosh
EMBEDDING_BOUND, COSH_BOUND = 6.0, 50.0


def fresh_embedding(count: int, start: str, generator: torch.Generator) -> Tensor:
    """e of a new task, float32 (count,): N(0, 1), or U(0, 2) ("uniform"), at which every binarised gate is open."""
    empty = torch.empty(count, device=generator.device)
    if start == "uniform":
        return empty.uniform_(0.0, 2.0, generator=generator)
    return empty.normal_(0.0, 1.0, generator=generator)


def gates_of(embedding: Tensor, scale: float) -> Tensor:
    """a, (units,): one gate per unit."""
    return torch.sigmoid(embedding * scale)


def finished_gates(embedding: Tensor, largest: float, binarise: bool) -> Tensor:
    """The gates of a task as they are kept, float32 (units,)."""
    if binarise:
        return (embedding > 0).to(embedding.dtype)
    return gates_of(embedding, largest)


def annealed(iteration: int, iterations: int, largest: float) -> float:
    """s at the iteration (from 0) of so many in an epoch."""
    return 1 / largest + (largest - 1 / largest) * iteration / iterations


def compensation(embedding: Tensor, scale: float, largest: float) -> Tensor:
    """What the embedding's gradient is multiplied by, (units,): after it the gate's derivative does not depend on s."""
    inner = torch.cosh((embedding * scale).clamp(-COSH_BOUND, COSH_BOUND)) + 1
    return (largest / scale) * inner / (torch.cosh(embedding) + 1)


def regulariser(gates: Tensor, before: Tensor) -> Tensor:
    """R, (): the share of the units that are still free which the gates use; 0 where none is free."""
    free = 1 - before
    return (gates * free).sum() / free.sum().clamp_min(torch.finfo(free.dtype).tiny)


def cumulative(count: int, tasks: Iterable[Mapping[str, Tensor]], device: torch.device) -> Tensor:
    """a_before, float32 (count,): of each unit the largest gate of what ``tasks`` keep, 0 without tasks."""
    largest = torch.zeros(count, device=device)
    for kept in tasks:
        torch.maximum(largest, stored_gates(kept, count), out=largest)
    return largest


def weight_factor(before: Tensor, writes: Tensor, reads: Tensor | None, dimensions: int) -> Tensor:
    """1 - min(a_before of the unit that a weight writes, of the unit that it reads), (out, in or 1, 1 ...).

    Args:
        before: a_before, (units,).
        writes, reads: see ``methods.hat.unit_graph.Units``; ``reads`` None: images, which count as gates of 1.
        dimensions: of the weight.
    """
    written = before[writes].unsqueeze(1)
    smallest = written if reads is None else torch.minimum(written, before[reads])
    factor = 1 - smallest
    return factor.view(*factor.shape, *[1] * (dimensions - 2))


def bias_factor(before: Tensor, writes: Tensor) -> Tensor:
    """1 - a_before of the unit that a bias belongs to, (out,)."""
    return 1 - before[writes]


# ------------------------------------------------------------------ gates in a network


def gated(tensors: Mapping[str, Tensor], gates: Tensor, scaled: Mapping[str, Tensor]) -> Tensors:
    """Weights and biases whose channels the gates multiply, by name; differentiable in both.

    For a channel x that BN maps to g x + h, relu(a g x + a h) = a relu(g x + h): the gate is in the network without a
    layer of its own.

    Args:
        tensors: the network's, by name.
        gates: a, (units,).
        scaled: the unit of each channel of the layers that the gates multiply, int64 (channels,), by name.
    """
    found: Tensors = {}
    for layer, units in scaled.items():
        own = gates[units]
        for name in (f"{layer}.weight" if layer else "weight", f"{layer}.bias" if layer else "bias"):
            if name in tensors:
                tensor = tensors[name]
                found[name] = tensor * own.view(-1, *[1] * (tensor.dim() - 1))
    return found


def stored(gates: Tensor, binarise: bool) -> Parts:
    """The gates of a finished task as they are stored: a bit or a number for each unit."""
    purpose = "which units the task uses"
    if binarise:
        return {GATE_BITS: Part(pack_bits(gates > 0), "gates", purpose, 1, len(gates), "bit")}
    return {GATES: Part(gates.detach().clone(), "gates", purpose)}


def stored_gates(kept: Mapping[str, Tensor], count: int) -> Tensor:
    """The gates that a task keeps, float32 (count,). Raises DamagedParts."""
    if GATES in kept:
        if len(kept[GATES]) != count:
            raise DamagedParts(f"{len(kept[GATES])} gates do not fit {count} units")
        return kept[GATES]
    if len(kept[GATE_BITS]) != packed_length(count):
        raise DamagedParts(f"{len(kept[GATE_BITS])} bytes of gates do not fit {count} units")
    return unpack_bits(kept[GATE_BITS], count).float()


def shared_units(count: int, scaled: Mapping[str, Tensor]) -> Tensors:
    """What a network is restored with beside its weights: the number of units, and where each acts."""
    found = {UNITS + layer: units.to(torch.int32) for layer, units in scaled.items()}
    return found | {UNIT_COUNT: torch.tensor([count], dtype=torch.int32)}


def gated_network(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """The network of one task: shared weights, the task's own BN set, and its gates in them. Raises DamagedParts."""
    own = overrides(kept)
    scaled = {layer: units.long() for layer, units in without_prefix(shared, UNITS).items()}
    gates = stored_gates(kept, int(shared[UNIT_COUNT]))
    return own | gated(without_prefix(shared, BACKBONE) | own, gates, scaled)
