"""Which shared weights a task's network uses, from the owner of each weight alone (PackNet, CPG). Only torch."""

from __future__ import annotations

from torch import Tensor

from methods.engine.packing import unpack_bits
from methods.engine.pruning import FREE


def earlier_weights(owner: Tensor, position: int) -> Tensor:
    """bool (elements,): weights owned by tasks before ``position``; they never change hands."""
    return (owner != FREE) & (owner < position)


def visible_weights(owner: Tensor, position: int, picks: Tensor | None = None) -> Tensor:
    """bool (elements,): what the network of the task at ``position`` uses.

    Args:
        owner: integers (elements,), the position of each weight's owner, 0 where it is free.
        position: of the task among the owners, from 1.
        picks: CPG's packed bits, one per weight of earlier tasks; None: all of these (PackNet).
    """
    if picks is None:
        return (owner != FREE) & (owner <= position)
    visible = owner == position
    earlier = earlier_weights(owner, position)
    visible[earlier] = unpack_bits(picks, int(earlier.sum()))
    return visible
