"""Masks on a frozen backbone: Piggyback, KSM (algorithm 1 of its paper) and every point between."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from methods.card import Card
from methods.engine import masks, values
from methods.engine.layers import warn_of_unmasked
from methods.engine.layout import FlatLayout, layout_of
from methods.engine.optimise import Group, Optimizers
from methods.engine.packing import pack_bits
from methods.engine.parts import BITS, HEAD, SCALES, VALUES, Part, Parts, overrides
from methods.engine.restore import stored_mask
from methods.engine.schedule import Schedule, plateau_of, score_rate, score_schedule
from methods.engine.state import LearningTask, Plan, Snapshot
from methods.engine.task_strategy import TaskStrategy
from methods.settings import MaskedSettings, MaskSettings

SCORES = "scores"


class Update(NamedTuple):
    """How a trained tensor is updated."""

    optimizer: str
    momentum: float = 0.0
    weight_decay: float = 0.0


ADAM = Update("adam")


class MaskedBackbone(TaskStrategy):
    """One mask, one head and (BN policy "per-task") one BN set per task on weights that never change.

    Args:
        mask: the point of the mask grid (``methods.engine.masks``); None: the card's.
    """

    layout: FlatLayout
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
        self.layout = layout_of(self.view.backbone, self.mask.units, self.mask.hidden_linear, rows=self.mask.rows)
        warn_of_unmasked(self.view.backbone, self.layout.names, "they stay as the backbone has them")
        self._frozen: Tensor | None = None

    @property
    def frozen_weights(self) -> Tensor:
        """The backbone's masked weights, flat (elements,), copied once from the finished backbone."""
        if self._frozen is None:
            self._frozen = self.layout.flatten(dict(self.view.backbone.named_parameters()))
        return self._frozen

    def adopt(self, label: int, backbone: Snapshot, head: Snapshot) -> None:
        """See ``Method.adopt``."""
        super().adopt(label, backbone, head)
        self._frozen = None

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """See ``Method.load_shared``."""
        super().load_shared(tensors)
        self._frozen = None

    def begin(self, task: LearningTask) -> None:
        """Constant scores (all units kept), a fresh head, and the backbone's BN set to start from."""
        self._frozen = None
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
        parted: dict[tuple[float, Schedule, Update], list[Tensor]] = {}
        for name, tensor in self.current.items():
            how = (rate, for_scores) if name == SCORES else (self.rate_of(name), for_others)
            if tensor.requires_grad:
                parted.setdefault((*how, self.update_of(name)), []).append(tensor)
        groups = [
            Group(tensors, update.optimizer, lr, schedule, update.momentum, weight_decay=update.weight_decay)
            for (lr, schedule, update), tensors in parted.items()
        ]
        plateau = plateau_of(settings, rate, settings.schedule, settings.gamma)
        return Plan("train", settings.epochs, Optimizers(groups), plateau=plateau)

    def rate_of(self, name: str) -> float:
        """The rate of a tensor of the task's head or BN set."""
        settings: MaskedSettings = self.settings
        if name.startswith(HEAD):
            return settings.head_lr
        return settings.lr if settings.bn_lr is None else settings.bn_lr

    def update_of(self, name: str) -> Update:
        """How a tensor of ``current`` is updated: by Adam."""
        return ADAM

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
