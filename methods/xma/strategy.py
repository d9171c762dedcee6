"""XMA: every crossbar column of a frozen backbone is dropped or shifted by a power of two.

W_eff = v(M) W with one score M for a block of ``rows`` weights of an output; v is zero or the nearest of a few powers
of two (``methods.xma.levels``). dL/dM is dL/dv, the sum of W dL/dW_eff over the block.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.engine import masks
from methods.engine.frozen import FrozenBackbone
from methods.engine.layout import layout_of
from methods.engine.masked import SCORES
from methods.engine.parts import Part, Parts, overrides
from methods.engine.schedule import score_rate, score_schedule
from methods.engine.state import LearningTask, Plan
from methods.settings import MaskSettings
from methods.xbm.card import MASK_MEMORY
from methods.xma.card import IDEAL_MEMORY, XMASettings
from methods.xma.card import XMA as CARD
from methods.xma.levels import (
    LEVELS,
    SCHEME,
    Levels,
    group_of,
    levelled,
    pack_levels,
    scheme_of,
    stored_levels,
)


class XMA(FrozenBackbone):
    """One level for each column, one head and (BN policy "per-task") one BN set per task."""

    card = CARD
    settings: XMASettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.levels = Levels.of(self.settings)
        self.use_layout(layout_of(self.view.backbone, "block", "block", rows=self.settings.rows))

    def begin(self, task: LearningTask) -> None:
        """Constant scores, at 1 the backbone itself."""
        super().begin(task)
        scores = torch.full((self.layout.units,), self.settings.initial, device=self.device)
        self.state.current = {SCORES: scores.requires_grad_()} | self.current

    def learn(self, task: LearningTask) -> None:
        """Adam on scores, BN and head."""
        self.fit(task, "train", lambda: self._plan(task))

    def _plan(self, task: LearningTask) -> Plan:
        # ``reach`` counts distances from the starting score to the level below it
        below = self.settings.initial / math.sqrt(2)
        distance = MaskSettings(initial=self.settings.initial, threshold=below)
        for_scores = score_schedule(self.settings)
        rate = score_rate(self.settings, distance, self.trainer.steps_per_epoch(task))
        for_others = dataclasses.replace(for_scores, warm_up=0.0)
        return self.frozen_plan(
            lambda name: (rate, for_scores) if name == SCORES else (self.usual_rate(name), for_others)
        )

    def training_tensors(self) -> dict[str, Tensor]:
        """Levelled weights, differentiable in the scores, and the task's BN set."""
        own = overrides(self.current)
        if SCORES not in self.current:
            return own
        numbers = levelled(self.current[SCORES], self.levels)
        return masks.masked(self.frozen_weights, numbers, self.layout) | own

    @torch.no_grad()
    def keep(self, task: LearningTask) -> Parts:
        """The level of every column, packed, and by which scheme."""
        kept = super().keep(task)
        packed, groups = pack_levels(self.levels.index(self.current[SCORES]), self.levels.base)
        size, bits = group_of(self.levels.base)
        kind = f"{size} numbers below {self.levels.base}"
        kept[LEVELS] = Part(packed, "mask levels", "which power of two each column has", bits, groups, kind)
        scheme = scheme_of(self.settings.rows, self.levels).to(self.device)
        kept[SCHEME] = Part(scheme, "mask scheme", "weights of a column, and which powers of two")
        return kept

    def mask_of(self, kept: Mapping[str, Tensor]) -> masks.Mask | None:
        """Columns that stay as they are, and the values of the others; see ``Method.mask_of``."""
        if LEVELS not in kept:
            return None
        _, numbers = stored_levels(kept, self.layout)
        same = numbers == 1
        return masks.Mask(same, numbers.masked_fill(same, 0.0))

    def measures(self) -> dict[str, float]:
        """Bits of a mask, as stored and as they could be, over the weights that it masks."""
        size, bits = group_of(self.levels.base)
        stored = -(-self.layout.units // size) * bits
        ideal = self.layout.units * math.log2(self.levels.base)
        return {
            MASK_MEMORY.name: 100 * stored / self.layout.elements,
            IDEAL_MEMORY.name: 100 * ideal / self.layout.elements,
        }
