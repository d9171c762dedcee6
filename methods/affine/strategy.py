"""Affine masks: W_eff = k0 W + k1 + k2 B + k3 W B, with four scalars for each layer and one mask B for each task.

Piggyback is k = (0, 0, 0, 1). B = [M > tau] and its straight-through derivative are those of ``methods.engine.masks``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from methods.affine.card import AFFINE, BITS_PER_WEIGHT, AffineSettings
from methods.affine.transform import FORMS, SCALARS, transformed
from methods.engine import masks
from methods.engine.masked import SCORES, MaskedBackbone
from methods.engine.parts import Part, Parts, overrides
from methods.engine.state import LearningTask


class AffineMasks(MaskedBackbone):
    """One mask and four scalars a layer, one head and (BN policy "per-task") one BN set per task."""

    card = AFFINE
    settings: AffineSettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.form = FORMS[self.settings.form]

    def begin(self, task: LearningTask) -> None:
        """Scores as for masks; scalars with which the transformation is the identity."""
        super().begin(task)
        scalars = self.form.initial(self.layout.parts(self.frozen_weights))
        self.state.current[SCALARS] = scalars.requires_grad_()

    def usual_rate(self, name: str) -> float:
        """Adam's rate for a tensor other than the scores."""
        if name == SCALARS:
            return self.settings.lr if self.settings.scalar_lr is None else self.settings.scalar_lr
        return super().usual_rate(name)

    def training_tensors(self) -> dict[str, Tensor]:
        """Transformed weights, differentiable in scores and scalars, and the task's BN set."""
        own = overrides(self.current)
        if SCORES not in self.current:
            return own
        scores, generator = self.current[SCORES], self.state.generators["noise"]
        noise = masks.logistic_noise(scores, self.mask, generator) if self.mask.noise else None
        return self._transformed(masks.mask(scores, self.layout, self.mask, noise)) | own

    def current_tensors(self) -> dict[str, Tensor]:
        """The network as its mask stands, without noise."""
        if SCORES not in self.current:
            return overrides(self.current)
        finished = masks.finished(self.current[SCORES], self.layout, self.mask)
        return self._transformed(finished.numbers) | overrides(self.current)

    def _transformed(self, numbers: Tensor) -> dict[str, Tensor]:
        scalars = self.form.all_scalars(self.current[SCALARS])
        return transformed(numbers, scalars, self.frozen_weights, self.layout)

    @torch.no_grad()
    def keep(self, task: LearningTask) -> Parts:
        """The mask, and all four scalars of every layer."""
        kept = super().keep(task)
        scalars = self.form.all_scalars(self.current[SCALARS].detach())
        kept[SCALARS] = Part(scalars, "affine scalars", "k0 to k3 of every layer")
        return kept

    def measures(self) -> dict[str, float]:
        """Bits of a mask and of the scalars over the weights."""
        bits = self.layout.units + 4 * 32 * len(self.layout.slots)
        return {BITS_PER_WEIGHT.name: bits / self.layout.elements}
