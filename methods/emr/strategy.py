"""EMR-merging (Huang et al., NeurIPS 2024): elect a sign and the largest size for each number of the merged vector; a
task masks the numbers of the other sign, and rescales.

    gamma = sign of the mean of tau_t over tasks, -1 where that is zero
    eps   = the largest |tau_t| among tasks with tau_t gamma > 0, else 0
    tau   = gamma eps
    M_t   = [ tau_t gamma > 0 ]
    r_t   = |tau_t|_1 / |M_t tau|_1, 0 where the mask is empty
    theta_0 + r_t M_t tau                               the network of task t
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.emr.card import EMR as CARD
from methods.emr.card import EmrSettings
from methods.engine.layout import FlatLayout
from methods.engine.merging import MergedNetworks
from methods.engine.parts import Parts


class EMR(MergedNetworks):
    """An elected vector, and a mask and a factor per task."""

    card = CARD
    settings: EmrSettings

    def merge(self, vectors: Sequence[Tensor]) -> Tensor:
        """The elected vector."""
        return elected(vectors)

    def take(self, label: int, vector: Tensor) -> Parts:
        """Mask and factor."""
        mask = agreeing(vector, self.merged)
        layers = None if self.settings.scale == "global" else self.places
        return self.mask_parts(mask, factor(vector, torch.where(mask, self.merged, 0.0), layers))


def elected(vectors: Sequence[Tensor]) -> Tensor:
    """tau, float32 (elements,), of task vectors, float32 (elements,); their order is irrelevant."""
    total = torch.zeros_like(vectors[0], dtype=torch.float64)
    for vector in vectors:
        total += vector
    gamma = torch.where(total > 0, 1.0, -1.0).to(vectors[0].dtype)
    size = torch.zeros_like(vectors[0])
    for vector in vectors:
        size = torch.maximum(size, vector * gamma)
    return gamma * size


def agreeing(vector: Tensor, merged: Tensor) -> Tensor:
    """M_t, bool (elements,): where the task's vector has the elected sign. Where it has, tau is not zero."""
    return vector.sign() * merged.sign() > 0


def factor(vector: Tensor, taken: Tensor, layers: FlatLayout | None = None) -> Tensor:
    """r_t, float32 (1,).

    Args:
        vector, taken: tau_t and M_t tau, float32 (elements,).
        layers: sums of the layers' mean magnitudes are compared, as the paper's script for vision transformers does;
            None: L1 norms.
    """

    def size(flat: Tensor) -> Tensor:
        sizes = flat.double().abs()
        return sizes.sum() if layers is None else torch.stack([part.mean() for part in layers.parts(sizes)]).sum()

    of_mask = size(taken)
    ratio = torch.where(of_mask > 0, size(vector) / of_mask, 0.0)
    return ratio.float().reshape(1)
