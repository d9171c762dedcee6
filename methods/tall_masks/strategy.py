"""TALL-masks (Wang et al., ICML 2024): the merged vector is the sum of the task vectors, and a task takes those numbers
of it that are mostly its own.

    tau = sum over t of tau_t                           or TIES-merging's vector
    m_t = [ |tau_t| > lambda_t |tau - tau_t| ]
    theta_0 + m_t tau                                   the network of task t

lambda_t is the value of a grid at which the task's network is most accurate on the images to select on, of equal ones
the first; without such images it is the grid's middle one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.engine.merging import MergedNetworks
from methods.engine.parts import Parts
from methods.engine.state import Progress, Snapshot
from methods.tall_masks.card import TALL_MASKS, TallMasksSettings

#: what a checkpoint calls the chosen lambdas
LAMBDAS = "lambdas"


class TallMasks(MergedNetworks):
    """A sum of task vectors, and a mask per task."""

    card = TALL_MASKS
    settings: TallMasksSettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.lambdas: dict[int, float] = {}  #: by task label

    def merge(self, vectors: Sequence[Tensor]) -> Tensor:
        """The sum, or TIES-merging's vector."""
        return summed(vectors) if self.settings.merge == "sum" else ties(vectors, self.settings.ties_share)

    def take(self, label: int, vector: Tensor) -> Parts:
        """The mask at the best lambda of the grid."""
        grid = self.settings.lambdas
        found: dict[float, Parts] = {}
        accuracies: dict[float, float] = {}
        for value in grid:
            found[value] = self.mask_parts(tall_mask(vector, self.merged, value))
            accuracy = self.chosen_accuracy(label, found[value])
            if accuracy is not None:
                accuracies[value] = accuracy
        self.lambdas[label] = max(accuracies, key=accuracies.__getitem__) if accuracies else grid[len(grid) // 2]
        return found[self.lambdas[label]]

    def measures(self) -> dict[str, float]:
        """Besides ``share_taken`` the mean ``lambda`` over tasks."""
        chosen = list(self.lambdas.values())
        return super().measures() | ({"lambda": sum(chosen) / len(chosen)} if chosen else {})

    def training_state(self) -> Snapshot:
        """See ``Method.training_state``."""
        chosen = self.lambdas.items()
        tensors = {f"{LAMBDAS}.{label}": torch.tensor(value, dtype=torch.float64) for label, value in chosen}
        return super().training_state() | tensors

    def load_training_state(
        self, tensors: Mapping[str, Tensor], trainable: Iterable[str], progress: Progress | None
    ) -> None:
        """See ``Method.load_training_state``."""
        super().load_training_state(tensors, trainable, progress)
        chosen = self.state.remembered.pop(LAMBDAS, {})
        self.lambdas = {int(label): float(value) for label, value in chosen.items()}


def tall_mask(vector: Tensor, merged: Tensor, value: float) -> Tensor:
    """m_t: the numbers of the task's vector that outweigh ``value`` times what the others make of the merged one.

    Args:
        vector, merged: tau_t and tau, float32 (elements,).
        value: lambda.

    Returns:
        bool (elements,).
    """
    return vector.abs() > value * (merged - vector).abs()


def summed(vectors: Sequence[Tensor]) -> Tensor:
    """tau, float32 (elements,): the sum, added up in double precision so that the order of tasks is irrelevant."""
    total = torch.zeros_like(vectors[0], dtype=torch.float64)
    for vector in vectors:
        total += vector
    return total.float()


def ties(vectors: Sequence[Tensor], share: float) -> Tensor:
    """TIES-merging's vector, float32 (elements,): of each task vector the ``share`` of largest magnitude counts; each
    number's sign is that of their sum, and those of that sign are added up.

    A sum of exactly zero takes the sign that most numbers have, positive where there are as many of either.
    """
    counted = [torch.where(largest(vector, share), vector, 0.0) for vector in vectors]
    sign = summed(counted).sign_()
    majority = 1.0 if sign.sum() >= 0 else -1.0
    sign = torch.where(sign == 0, majority, sign)
    return summed([torch.where(vector.sign() == sign, vector, 0.0) for vector in counted])


def largest(vector: Tensor, share: float) -> Tensor:
    """bool (elements,): the round(share x elements) numbers of largest magnitude, half up, one at least; others of the
    smallest one's magnitude count too."""
    count = max(1, int(share * len(vector) + 0.5))
    sizes = vector.abs()
    return sizes >= sizes.kthvalue(len(vector) - count + 1).values
