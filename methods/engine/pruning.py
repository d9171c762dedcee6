"""Magnitude pruning of owned weights, layer by layer, and the schedules that CPG prunes by."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.engine.layout import FlatLayout
from methods.engine.selecting import kth_smallest

FREE = 0


def cut_rank(ratio: float, count: int) -> int:
    """How many of ``count`` weights fall to a pruning ratio: the nearest whole number, half up."""
    return int(ratio * count + 0.5)


def threshold(magnitudes: Tensor, rank: int) -> Tensor:
    """The ``rank``-th smallest magnitude (counted from 1); weights at or below it are cut."""
    if magnitudes.is_cuda:
        return torch.kthvalue(magnitudes, rank).values
    return magnitudes.new_tensor(kth_smallest(magnitudes.detach().numpy(), rank))


def threshold_by_selection(magnitudes: Tensor, counted: Tensor, ratio: float) -> Tensor:
    """The magnitude at or below which ``ratio`` of the ``counted`` ones fall, -1 where that is none of them.

    For CPUs: only the counted magnitudes are gathered, and the rank among them is selected.
    """
    gathered = magnitudes[counted]
    rank = cut_rank(ratio, len(gathered))
    return threshold(gathered, rank) if rank else magnitudes.new_tensor(-1.0)


def threshold_by_sorting(magnitudes: Tensor, counted: Tensor, ratio: float) -> Tensor:
    """The same threshold for GPUs, which sort fast and select slowly: nothing here waits for the device."""
    rank = (counted.sum().double() * ratio + 0.5).floor().long()
    ascending = magnitudes.masked_fill(~counted, torch.inf).sort().values
    found = ascending.gather(0, (rank - 1).clamp(min=0).unsqueeze(0)).squeeze(0)
    return torch.where(rank > 0, found, -1.0)


@torch.no_grad()
def prune_layers(
    weights: Tensor, owner: Tensor, layout: FlatLayout, task: int, ratio: float, ratio_of: str = "free"
) -> Tensor:
    """Set the current task's smallest weights of every layer to zero and free them.

    Args:
        weights, owner: float32 and integer (elements,), changed in place; owner 0 is free, ``task`` the current one.
        ratio: share to cut per layer, counted over the current and the free weights (``ratio_of`` "free", CPG's
            rule: what is already free counts as cut) or over the current ones ("current", the original PackNet's).

    Returns:
        How many weights were freed, int64 (), on the device. Ties at the threshold go together.
    """
    freed = torch.zeros((), dtype=torch.int64, device=weights.device)
    find_threshold = threshold_by_sorting if weights.is_cuda else threshold_by_selection
    for slot in layout.slots:
        own = owner[slot.element_slice]
        layer = weights[slot.element_slice]
        current = own == task
        magnitudes = layer.abs()
        counted = current | (own == FREE) if ratio_of == "free" else current
        cut = current & (magnitudes <= find_threshold(magnitudes, counted, ratio))
        layer.masked_fill_(cut, 0.0)
        own.masked_fill_(cut, FREE)
        freed += cut.sum()
    return freed


def cubic_ratio(start: float, target: float, step: int, steps: int) -> float:
    """CPG's gradual schedule: from ``start`` to ``target`` along 1 - (1 - x)^3 over ``steps`` steps.

    >>> round(cubic_ratio(0.0, 0.8, 1, 2), 3)
    0.7
    """
    if step >= steps:
        return target
    return target + (start - target) * (1 - step / steps) ** 3


def compulsory_ratio(position: int, tasks: int, highest: float = 0.95) -> float:
    """The ratio a task must be pruned to without expansion when it missed its goal.

    The ``position``-th of ``tasks`` tasks may keep at most 1 / (remaining tasks + 1) of a layer, rounded to one
    decimal; never more than ``highest`` is cut, so that every task keeps something.

    >>> [compulsory_ratio(task, 20) for task in (1, 14, 15, 17, 18, 19, 20)]
    [0.9, 0.9, 0.8, 0.8, 0.7, 0.5, 0.0]
    """
    share = 1 / (tasks - position + 1)
    return min(highest, round(1 - round(share, 1), 1))


def equal_share_ratio(position: int, tasks: int) -> float:
    """The ratio, counted over current and free weights, that leaves each of ``tasks`` tasks 1 / tasks of a layer.

    >>> equal_share_ratio(1, 4), equal_share_ratio(3, 4), equal_share_ratio(4, 4)
    (0.75, 0.5, 0.0)
    """
    return 1 - 1 / (tasks - position + 1)
