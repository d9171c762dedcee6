"""Tiles of a crossbar: which columns lie in which, choosing them, and the weights of a task that rewrote some.

The matrix of a layer has an output in each column and that output's weights (in, kh, kw) in its rows. A *tile* is a
block of so many rows and columns of it, smaller at the borders; a column of a tile is a block of one output's weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from methods.engine.layout import FlatLayout
from methods.engine.masks import masked
from methods.engine.packing import packed_length, unpack_bits
from methods.engine.parts import BACKBONE, Tensors, overrides
from methods.engine.restore import DamagedParts

#: parts: bits of the tiles that are written anew, changes of their weights, scales of the other tiles' columns, and
#: rows and columns of a tile
TILES, CHANGES, SCALES, SHAPE = "tiles.bits", "tiles.changes", "columns.scales", "tiles.shape"


@dataclass(frozen=True, eq=False)
class Places:
    """Places, int64, of the elements in the chosen tiles and of the columns of the others; in ascending order."""

    changes: Tensor
    scales: Tensor


@dataclass(frozen=True, eq=False)
class Tiling:
    """A layout whose units are columns, and the tile of each of them, int64 (units,)."""

    columns: FlatLayout
    tile_of: Tensor
    tiles: int

    def per_column(self, of_tiles: Tensor) -> Tensor:
        """(tiles,) -> (columns,). Differentiable."""
        return of_tiles[self.tile_of]

    def squared_norms(self, flat: Tensor) -> Tensor:
        """Sum of squares over each tile of (elements,): float32 (tiles,)."""
        of_columns = flat.new_empty(self.columns.units)
        self.columns.unit_products(self.columns.parts(flat), flat, of_columns)
        return flat.new_zeros(self.tiles).index_add_(0, self.tile_of, of_columns)

    def elements_in(self, of_tiles: Tensor) -> Tensor:
        """bool (tiles,) -> bool (elements,)."""
        return self.columns.expand(self.per_column(of_tiles))

    def places(self, chosen: Tensor) -> Places:
        """Where changes and scales lie if these tiles, bool (tiles,), are written anew."""
        others = ~self.per_column(chosen)
        return Places(self.elements_in(chosen).nonzero().flatten(), others.nonzero().flatten())


@lru_cache(maxsize=8)
def tiling(layout: FlatLayout, rows: int, columns: int, device: torch.device) -> Tiling:
    """Cut the layers of a layout (of units of any kind) into tiles."""
    blocks = layout.in_blocks(rows)
    found, tiles = [], 0
    for slot in blocks.slots:
        outputs, across = slot.shape[0], slot.units // slot.shape[0]
        tile = torch.arange(outputs)[:, None] // columns * across + torch.arange(across)
        found.append(tile.view(-1) + tiles)
        tiles += math.ceil(outputs / columns) * across
    return Tiling(blocks, torch.cat(found).to(device), tiles)


def chosen_tiles(norms: Tensor, scores: Tensor, kept: Tensor, share: float) -> Tensor:
    """The ceil(share x tiles) tiles of the largest norms among those that the mask keeps; bool (tiles,).

    Of equal norms the one with the higher score, then the earlier one; fewer where the mask keeps fewer.

    Args:
        norms: squared norms of the changes, float32 (tiles,).
        scores: of tiles, float32 (tiles,).
        kept: the mask of tier 1, bool (tiles,).
    """
    wanted = min(math.ceil(share * len(norms) - 1e-9), int(kept.sum()))
    by_score = scores.sort(descending=True, stable=True).indices
    ranked = by_score[norms.masked_fill(~kept, -1.0)[by_score].sort(descending=True, stable=True).indices]
    chosen = torch.zeros_like(kept)
    chosen[ranked[:wanted]] = True
    return chosen


def rewritten(weights: Tensor, cut: Tiling, places: Places, changes: Tensor, scales: Tensor) -> dict[str, Tensor]:
    """W + D in the chosen tiles, s W in the columns of the others; by parameter name, differentiable in D and s.

    Args:
        weights: W, float32 (elements,), in the order of ``cut.columns``.
        places: of ``changes`` and ``scales``.
        changes: D, of the elements in chosen tiles.
        scales: s, of the columns of the other tiles.
    """
    of_columns = weights.new_ones(cut.columns.units).index_copy(0, places.scales, scales)
    scaled = masked(weights, of_columns, cut.columns)
    added = torch.zeros_like(weights).index_copy(0, places.changes, changes)
    return {name: scaled[name] + change for name, change in cut.columns.views(added).items()}


def rewritten_weights(shared: Mapping[str, Tensor], kept: Mapping[str, Tensor], layout: FlatLayout | None) -> Tensors:
    """The weights of a task as ``rewritten`` makes them, and the task's own tensors; without tiles only these.

    Raises:
        DamagedParts: the stored tiles, changes and scales do not fit one another or the layout.
    """
    own = overrides(kept)
    if TILES not in kept:
        return own
    assert layout is not None
    rows, columns = (int(number) for number in kept[SHAPE].tolist())
    cut = tiling(layout, rows, columns, kept[TILES].device)
    if len(kept[TILES]) != packed_length(cut.tiles):
        raise DamagedParts(f"{len(kept[TILES])} bytes of tile bits do not fit {cut.tiles} tiles")
    places = cut.places(unpack_bits(kept[TILES], cut.tiles))
    for name, wanted in ((CHANGES, places.changes), (SCALES, places.scales)):
        if len(kept[name]) != len(wanted):
            raise DamagedParts(f"{name} has {len(kept[name])} numbers, the chosen tiles ask for {len(wanted)}")
    weights = cut.columns.flatten({name: shared[BACKBONE + name] for name in cut.columns.names})
    return rewritten(weights, cut, places, kept[CHANGES], kept[SCALES]) | own
