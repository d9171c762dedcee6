"""From what is stored back to a network: pure functions of stored tensors, for runs, exports and other programs alike.

``restore(shared, kept, layout)`` gives what replaces the backbone's own tensors, by name there, so that the network is
that of one task. ``shared`` is what all tasks share, ``kept`` what the task adds (``methods.engine.parts``), both as
tensors by name; ``layout`` says where masked or owned weights lie. Needs torch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.engine.layout import FlatLayout, LayerSlot, arrange, paired
from methods.engine.masks import Mask
from methods.engine.ownership import visible_weights
from methods.engine.packing import bits_of, packed_length, unpack_bits, unpack_numbers
from methods.engine.parts import (
    BACKBONE,
    BITS,
    HEAD,
    MERGED,
    MERGED_BITS,
    MERGED_SCALE,
    SCALES,
    VALUES,
    Tensors,
    overrides,
    without_prefix,
)
from methods.engine.values import decode_layer

#: PackNet's and CPG's parts: flat shared weights and their owners; the task's number among the owners, its picks
WEIGHTS, OWNER, POSITION, PICKS = "weights", "owner", "position", "mask.picks"
#: prefix of the biases and the BN set that tasks go on from
LATEST = "latest."


class DamagedParts(ValueError):
    """Stored parts do not fit one another or the layout; the message says how."""


def own_tensors(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None = None) -> Tensors:
    """Tensors that the task brings in place of the backbone's: whole networks, BN sets, biases."""
    return overrides(kept)


def masked_weights(
    shared: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
    layout: FlatLayout | None,
    *,
    room: Tensor | None = None,
    selects: bool = False,
) -> Tensors:
    """The backbone's weights times the task's mask, and the task's own tensors; without a mask only these.

    Args:
        room: memory for the masked weights, (elements,); fresh memory costs more than the arithmetic.
        selects: a dropped weight becomes +0, whatever its sign (PackNet's and CPG's selection of weights).

    Raises:
        DamagedParts: not as many bits as units, values as dropped units, or scales as layers.
    """
    own = overrides(kept)
    if BITS not in kept:
        return own
    assert layout is not None
    bits, dropped = _checked_bits(kept, layout)
    first = shared[BACKBONE + layout.slots[0].name]
    if room is None:
        room = torch.empty(layout.elements, dtype=first.dtype, device=first.device)
    values, scales = kept.get(VALUES), kept.get(SCALES)
    taken = 0
    for number, slot in enumerate(layout.slots):
        weight = shared[BACKBONE + slot.name].reshape(-1)
        chosen = bits[slot.unit_slice]
        product = room[slot.element_slice]
        if selects:
            for (own_part, kept_part), (place, _) in _by_unit(weight, chosen, product, slot):
                torch.where(kept_part, own_part, weight.new_zeros(()), out=place)
            continue
        numbers = (product if slot.unit_size == 1 else weight.new_empty(slot.units)).copy_(chosen)
        if values is not None:
            of_layer = values[taken : taken + dropped[number]]
            taken += dropped[number]
            numbers.masked_scatter_(~chosen, decode_layer(of_layer, None if scales is None else scales[number]))
        for (own_part, number), (place, _) in _by_unit(weight, numbers, product, slot):
            torch.mul(own_part, number, out=place)
    return layout.views(room) | own


def _by_unit(weight: Tensor, per_unit: Tensor, room: Tensor, slot: LayerSlot) -> Iterator[Any]:
    """((weights, unit's number), (room, unit's number)) of a layer, each pair as views that broadcast."""
    return zip(paired(weight, per_unit, slot), paired(room, per_unit, slot), strict=True)


def stored_mask(kept: Mapping[str, Tensor], layout: FlatLayout) -> Mask:
    """The mask that a task's bits and values stand for. Raises DamagedParts."""
    bits, dropped = _checked_bits(kept, layout)
    numbers = torch.zeros(layout.units, device=bits.device)
    if VALUES in kept:
        scales = kept.get(SCALES)
        of_layers = kept[VALUES].split_with_sizes(dropped)
        decoded = [
            decode_layer(values, None if scales is None else scales[number]) for number, values in enumerate(of_layers)
        ]
        numbers.masked_scatter_(~bits, torch.cat(decoded))
    return Mask(bits, numbers)


def _checked_bits(kept: Mapping[str, Tensor], layout: FlatLayout) -> tuple[Tensor, list[int]]:
    """The kept units, bool (units,), and how many are dropped in each layer. Raises DamagedParts."""
    packed, values, scales = kept[BITS], kept.get(VALUES), kept.get(SCALES)
    if len(packed) != packed_length(layout.units):
        raise DamagedParts(f"{len(packed):,} bytes of mask bits do not fit {layout.units:,} units")
    bits = unpack_bits(packed, layout.units)
    dropped = [slot.units - int(torch.count_nonzero(bits[slot.unit_slice])) for slot in layout.slots]
    if values is not None and len(values) != sum(dropped):
        raise DamagedParts(f"{len(values)} soft values do not fit {sum(dropped)} dropped units")
    if scales is not None and len(scales) != len(layout.slots):
        raise DamagedParts(f"{len(scales)} scales do not fit {len(layout.slots)} layers")
    return bits, dropped


def owned_weights(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """The shared weights that the task sees, zero elsewhere, with its biases and BN set (PackNet, CPG)."""
    assert layout is not None
    weights = torch.where(visible(shared, kept, layout), shared[WEIGHTS], 0.0)
    return layout.views(weights) | without_prefix(shared, LATEST) | overrides(kept)


def visible(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout) -> Tensor:
    """bool (elements,): own weights and those of earlier tasks, for CPG only the picked ones of these."""
    owner = shared[OWNER]
    if owner.dtype == torch.uint8:  # packed, as it is stored
        owner = unpack_numbers(owner, bits_of(owner, layout.elements), layout.elements)
    return visible_weights(owner, int(kept[POSITION]), kept.get(PICKS))


def shared_backbone(shared: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """What all tasks share, by name in the backbone; owned weights in their layers' shapes."""
    found = without_prefix(shared, BACKBONE) | without_prefix(shared, LATEST)
    if WEIGHTS in shared and layout is not None:
        found |= layout.views(shared[WEIGHTS])
    return found


def merged_networks(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """What all tasks start from, plus what the task takes of the merged vector (TALL-masks, EMR-merging), with the
    task's own tensors: theta_0 + r m tau, elementwise. A task that kept no mask is what all start from.

    Raises:
        DamagedParts: not as many bits, or numbers in the merged vector, as there are merged weights.
    """
    own = overrides(kept)
    if MERGED_BITS not in kept:
        return own
    assert layout is not None
    backbone = without_prefix(shared, BACKBONE)
    places = merged_layout(layout, backbone)
    packed, vector = kept[MERGED_BITS], shared[MERGED]
    if len(packed) != packed_length(places.elements) or len(vector) != places.elements:
        raise DamagedParts(
            f"{len(packed)} bytes of mask bits and a merged vector of {len(vector)} numbers do not fit "
            f"{places.elements} merged weights"
        )
    taken = torch.where(unpack_bits(packed, places.elements), vector, 0.0)
    if MERGED_SCALE in kept:
        taken *= kept[MERGED_SCALE]
    return places.views(taken.add_(places.flatten(backbone))) | own


def merged_layout(layout: FlatLayout, names: Collection[str]) -> FlatLayout:
    """Where each number of a merged vector lies: the weights as in ``layout``, then those layers' biases.

    Args:
        names: of the backbone's tensors.
    """
    shapes = [(slot.name, slot.shape) for slot in layout.slots]
    biases = [(name.removesuffix("weight") + "bias", shape[:1]) for name, shape in shapes]
    return arrange((name, tuple(shape), 1) for name, shape in [*shapes, *(item for item in biases if item[0] in names)])


class WholeNetwork(NamedTuple):
    """A task's whole network: every tensor of its backbone by the name there, and "head.weight", "head.bias"."""

    backbone: Tensors
    head: Tensors


def whole_network(
    restore: Callable[..., Tensors],
    shared: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
    layout: FlatLayout | None,
) -> WholeNetwork:
    """The network of a task from what its run stored; ``restore`` is that of the run's method."""
    backbone = shared_backbone(shared, layout) | restore(shared, kept, layout)
    return WholeNetwork(backbone, {name: tensor for name, tensor in kept.items() if name.startswith(HEAD)})
