"""Masks on a frozen backbone: Piggyback, KSM (algorithm 1 of its paper) and every point between."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.card import Card
from methods.engine import masks, values
from methods.engine.frozen import FrozenBackbone
from methods.engine.layout import layout_of
from methods.engine.packing import pack_bits
from methods.engine.parts import BITS, SCALES, VALUES, Part, Parts, overrides
from methods.engine.restore import stored_mask
from methods.engine.schedule import plateau_of, score_rate, score_schedule
from methods.engine.state import LearningTask, Plan
from methods.settings import MaskedSettings, MaskSettings

SCORES = "scores"


class MaskedBackbone(FrozenBackbone):
    """One mask, one head and (BN policy "per-task") one BN set per task on weights that never change.

    Args:
        mask: the point of the mask grid (``methods.engine.masks``); None: the card's.
    """

    card = Card(
        name="masked",
        title="Masked backbone",
        summary="any point of the mask grid",
        strategy="methods.engine.masked:MaskedBackbone",
        settings=MaskedSettings(),
        mask=MaskSettings(),
    )

    def __init__(self, *, mask: MaskSettings | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        preset = self.card.mask
        assert preset is not None
        self.mask = preset if mask is None else mask
        masks.check(self.mask)
        mask = self.mask
        self.use_layout(layout_of(self.view.backbone, mask.units, mask.hidden_linear, rows=mask.rows))

    def begin(self, task: LearningTask) -> None:
        """Constant scores (all units kept), a fresh head, and the backbone's BN set to start from."""
        scores = masks.initial_scores(self.layout, self.mask, self.state.generators["noise"]).requires_grad_()
        super().begin(task)
        self.state.current = {SCORES: scores} | self.current

    def learn(self, task: LearningTask) -> None:
        """Adam on scores, BN and head; the backbone has no gradient."""
        self.fit(task, "train", lambda: self._plan(task))

    def _plan(self, task: LearningTask) -> Plan:
        settings: MaskedSettings = self.settings
        for_scores, rate = score_schedule(settings), score_rate(settings, self.mask, self.trainer.steps_per_epoch(task))
        for_others = dataclasses.replace(for_scores, warm_up=0.0)
        return self.frozen_plan(
            lambda name: (rate, for_scores) if name == SCORES else (self.usual_rate(name), for_others),
            plateau=plateau_of(settings, rate, settings.schedule, settings.gamma),
        )

    def training_tensors(self) -> dict[str, Tensor]:
        """Masked weights, differentiable in the scores (algorithm 1, lines 3 to 5), and the task's BN set."""
        own = super().training_tensors()
        if SCORES not in self.current:
            return own
        scores, generator = self.current[SCORES], self.state.generators["noise"]
        noise = masks.logistic_noise(scores, self.mask, generator) if self.mask.noise else None
        return masks.effective_weights(scores, self.frozen_weights, self.layout, self.mask, noise) | own

    def current_tensors(self) -> dict[str, Tensor]:
        """The network as its mask stands, without noise."""
        if SCORES not in self.current:
            return super().current_tensors()
        finished = masks.finished(self.current[SCORES], self.layout, self.mask)
        return masks.masked(self.frozen_weights, finished.numbers, self.layout) | overrides(self.current)

    @torch.no_grad()
    def keep(self, task: LearningTask) -> Parts:
        """One bit per unit and, with soft values, one number per dropped unit."""
        kept = super().keep(task)
        finished = masks.finished(self.current[SCORES], self.layout, self.mask)
        bits = pack_bits(finished.bits)
        kept[BITS] = Part(bits, "mask bits", "which units are kept", 1, self.layout.units, "bit")
        if self.mask.soft != "none":
            dtype = self.mask.values_dtype
            soft, scales = values.encode(finished.values, finished.bits, self.layout, dtype)
            kept[VALUES] = Part(soft, "mask values", "soft values of dropped units", values.VALUE_BITS[dtype])
            if scales is not None:
                kept[SCALES] = Part(scales, "mask scales", "a soft value's step, per layer")
        return kept

    def mask_of(self, kept: Mapping[str, Tensor]) -> masks.Mask | None:
        """See ``Method.mask_of``; the initial task has none."""
        return stored_mask(kept, self.layout) if BITS in kept else None
