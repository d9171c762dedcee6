"""Masks on a frozen backbone: Piggyback, KSM and every point between (METHODS.md 1.3 and 2; KSM, algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from methods import batchnorm, masks, values
from methods.contract import MaskCount, StoredItem
from methods.fitting import Plan, Snapshot
from methods.layout import FlatLayout, layout_of, weight_layers
from methods.optimise import Group, Optimizers, Schedule
from methods.packing import pack_bits, unpack_bits
from methods.settings import MaskedSettings, MaskSettings
from methods.strategy import LearningTask
from methods.whole import InitialTraining

SCORES, BITS, VALUES, SCALES = "scores", "mask.bits", "mask.values", "mask.scales"


class MaskedBackbone(InitialTraining):
    """One mask, one head and (BN policy "per-task") one BN set per task on weights that never change.

    Args:
        mask: the point of the mask grid; see ``methods.masks``.
    """

    #: the mask that a preset class stands for
    preset = MaskSettings()
    #: the BN policy of the preset's source (METHODS.md 1.5)
    preset_bn = batchnorm.PER_TASK

    def __init__(self, *, mask: MaskSettings | None = None, **arguments: Any) -> None:
        arguments.setdefault("settings", MaskedSettings())
        arguments.setdefault("bn_policy", self.preset_bn)
        super().__init__(**arguments)
        self.mask = self.preset if mask is None else mask
        masks.check(self.mask)
        self.layout: FlatLayout = layout_of(self.view.backbone, self.mask.units, self.mask.hidden_linear)
        self._frozen: Tensor | None = None

    @property
    def frozen_weights(self) -> Tensor:
        """The backbone's masked weights, flat (elements,), copied once from the finished backbone."""
        if self._frozen is None:
            self._frozen = self.layout.flatten(dict(self.view.backbone.named_parameters()))
        return self._frozen

    def adopt(self, label: int, backbone: Snapshot, head: Snapshot) -> None:
        """See ``InitialTraining.adopt``."""
        super().adopt(label, backbone, head)
        self._frozen = None

    def load_shared(self, tensors: Any) -> None:
        """See ``TaskStrategy.load_shared``."""
        super().load_shared(tensors)
        self._frozen = None

    def begin_on_backbone(self, task: LearningTask) -> None:
        """Constant scores (all units kept), a fresh head, and the backbone's BN set to start from."""
        self._frozen = None
        own = batchnorm.bn_set(self.view.backbone) if self.bn_trains else {}
        scores = masks.initial_scores(self.layout, self.mask, self.generators["noise"]).requires_grad_()
        self.current = {SCORES: scores} | self.own_copies(own) | self.new_head(task.classes)

    def learn_on_backbone(self, task: LearningTask) -> None:
        """Adam on scores, BN and head; the backbone has no gradient."""
        self.fit(task, "train", self._plan)

    def _plan(self) -> Plan:
        settings: MaskedSettings = self.settings
        schedule = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)
        trained = {name: tensor for name, tensor in self.current.items() if tensor.requires_grad}
        head = [tensor for name, tensor in trained.items() if name.startswith("head.")]
        rest = [tensor for name, tensor in trained.items() if not name.startswith("head.")]
        groups = [Group(rest, "adam", settings.lr, schedule), Group(head, "adam", settings.head_lr, schedule)]
        return Plan("train", settings.epochs, Optimizers(groups))

    def backbone_training_tensors(self) -> dict[str, Tensor]:
        """Masked weights, differentiable in the scores (algorithm 1, lines 3 to 5), and the task's BN set."""
        scores = self.current[SCORES]
        noise = masks.logistic_noise(scores, self.mask, self.generators["noise"]) if self.mask.noise else None
        effective = masks.effective_weights(scores, self.frozen_weights, self.layout, self.mask, noise)
        return effective | self.overrides(self.current)

    def current_tensors(self) -> dict[str, Tensor]:
        """The network as its mask stands, without noise."""
        if SCORES not in self.current:
            return super().current_tensors()
        finished = masks.finished(self.current[SCORES], self.layout, self.mask)
        return self._masked(finished.numbers) | self.overrides(self.current)

    def _masked(self, numbers: Tensor) -> dict[str, Tensor]:
        return self.layout.views(self.layout.scale(self.frozen_weights, numbers))

    def keep_on_backbone(self, task: LearningTask, kept: Snapshot) -> Snapshot:
        """One bit per unit and, with soft values, one number per dropped unit."""
        finished = masks.finished(kept.pop(SCORES), self.layout, self.mask)
        kept[BITS] = pack_bits(finished.bits)
        if self.mask.soft != "none":
            kept[VALUES], scales = values.encode(finished.values, finished.bits, self.layout, self.mask.values_dtype)
            if scales is not None:
                kept[SCALES] = scales
        return kept

    def restored_tensors(self, learned: Snapshot, label: int) -> dict[str, Tensor]:
        """Masked weights of a learned task; the backbone itself for the initial one."""
        own = self.overrides(learned)
        if BITS not in learned:
            return own
        return self._masked(self.restored_mask(learned).numbers) | own

    def restored_mask(self, learned: Snapshot) -> masks.Mask:
        """The mask that a task's stored bits and values stand for."""
        bits = unpack_bits(learned[BITS], self.layout.units)
        if VALUES not in learned:
            return masks.Mask(bits, torch.zeros(self.layout.units, device=self.device))
        return masks.Mask(bits, values.decode(learned[VALUES], learned.get(SCALES), bits, self.layout))

    def storage(self) -> list[StoredItem]:
        """Backbone, heads, BN sets; per task one bit per unit and the soft values of dropped units."""
        items = super().storage()
        for label, learned in self.learned.items():
            if BITS in learned:
                items.append(StoredItem("mask bits", label, self.layout.units, 1, "bit", "which units are kept"))
            if VALUES in learned:
                count, dtype = learned[VALUES].numel(), str(learned[VALUES].dtype).removeprefix("torch.")
                bits = values.BITS[self.mask.values_dtype]
                items.append(StoredItem("mask values", label, count, bits, dtype, "soft values of dropped units"))
            if SCALES in learned:
                count = learned[SCALES].numel()
                items.append(StoredItem("mask scales", label, count, 32, "float32", "a soft value's step, per layer"))
        return items

    def mask_statistics(self) -> list[MaskCount]:
        """Per learned task and layer, in the network's order; a dropped unit with value exactly 0 counts as zero."""
        counts = []
        place = {name: at for at, (name, _) in enumerate(weight_layers(self.view.backbone))}
        slots = sorted(self.layout.slots, key=lambda slot: place[slot.name])
        for label, learned in self.learned.items():
            if BITS not in learned:
                continue
            mask = self.restored_mask(learned)
            for slot in slots:
                ones = int(mask.bits[slot.unit_slice].sum())
                soft = int((mask.values[slot.unit_slice] != 0).sum())
                counts.append(MaskCount(label, slot.name, slot.units, ones, soft, slot.units - ones - soft))
        return counts


#: Piggyback's point of the grid: element units, straight-through, strictly above the threshold, no soft values
PIGGYBACK = MaskSettings(units="element", surrogate="straight-through", soft="none", strict=True)


class Piggyback(MaskedBackbone):
    """Mallya, Davis and Lazebnik (ECCV 2018): element-wise binary masks, straight-through, BN frozen."""

    preset = PIGGYBACK
    preset_bn = batchnorm.FROZEN


class KSM(MaskedBackbone):
    """Yang, He, Zhang and Fan (CVPR 2021): kernel-wise soft masks with the sigmoid surrogate, BN per task."""

    preset = MaskSettings()
