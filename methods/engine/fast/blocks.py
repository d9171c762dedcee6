"""A layout in blocks: mask arithmetic a piece at a time, so that what it works out on the way stays in the cache.

Masks take a dozen elementwise operations a step. Over all units at once each of them goes through main memory; block
by block only the first reading and the last writing do. With the fully connected layers of VGG16 masked element-wise
that spares a quarter of the masks' time on two cores. A GPU would rather have few large operations: one block is all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from methods.engine.layout import FlatLayout, arrange

#: units of a block on a CPU: their numbers take 2 MiB, and a few such tensors are at work at a time. A multiple of the
#: numbers that vector instructions take at once: functions such as the sigmoid give those left over at a tensor's end
#: other last bits, and so only those at the end of all units are such.
BLOCK_UNITS = 2**19


@dataclass(frozen=True, eq=False)
class Block:
    """Neighbouring units and their elements, which may be of several layers and hold layers in part.

    ``layout`` arranges the parts of layers in the block; its places count from the block's own start.
    """

    layout: FlatLayout
    units: slice  #: the block in a flat tensor of all units
    elements: slice  #: the block in a flat tensor of all elements
    layers: tuple[int, ...]  #: of each part: its layer's number in storage order
    pieces: tuple[slice, ...]  #: of each part: its elements within its layer

    def parts_of(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """What lies in the block of tensors that hold one layer each, in storage order and flat (elements,)."""
        return [layers[layer][piece] for layer, piece in zip(self.layers, self.pieces, strict=True)]


@lru_cache(maxsize=16)
def blocks_of(layout: FlatLayout, device: torch.device) -> tuple[Block, ...]:
    """The blocks in which to work on ``device``; a layout's numbers are the same however it is cut."""
    return cut(layout, BLOCK_UNITS if device.type == "cpu" else layout.units)


@lru_cache(maxsize=16)
def whole(layout: FlatLayout) -> tuple[Block, ...]:
    """All units in one block."""
    return cut(layout, layout.units)


def cut(layout: FlatLayout, most: int) -> tuple[Block, ...]:
    """Blocks of at most so many units; one of all where some are ragged, for a part of a row has other units."""
    if layout.ragged:
        return (_whole(layout),)
    starts = range(0, layout.units, max(1, most))
    return tuple(_block(layout, start, min(start + most, layout.units)) for start in starts)


def _whole(layout: FlatLayout) -> Block:
    pieces = tuple(slice(0, slot.elements) for slot in layout.slots)
    return Block(layout, slice(0, layout.units), slice(0, layout.elements), tuple(range(len(layout.slots))), pieces)


def _block(layout: FlatLayout, start: int, stop: int) -> Block:
    """Units ``[start, stop)``."""
    layers, pieces, arranged, begin = [], [], [], 0
    for number, slot in enumerate(layout.slots):
        size = slot.unit_size
        first, last = (
            size * (min(max(unit, slot.unit_start), slot.unit_stop) - slot.unit_start) for unit in (start, stop)
        )
        begin += first
        if first < last:
            layers.append(number)
            pieces.append(slice(first, last))
            arranged.append((slot.name, (last - first,), size))
    part = arrange(arranged)
    return Block(part, slice(start, stop), slice(begin, begin + part.elements), tuple(layers), tuple(pieces))
