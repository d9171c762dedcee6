"""ImpressLearn (Bhardwaj et al., 2022): few masks, many tasks.

The first K tasks learn masks on a random backbone as SupSup does ("heterogeneous"; the masks may also come from K
trainings of the first task, or from chance). Every further task learns only how much of each mask it takes, layer by
layer, with a BN set and a head of its own (``methods.impresslearn.combination``).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.engine import masks
from methods.engine.frozen import ADAM, Update
from methods.engine.masked import SCORES
from methods.engine.packing import pack_bits, packed_length
from methods.engine.parts import BITS, Part, Parts
from methods.engine.state import LearningTask, Snapshot
from methods.engine.task_strategy import TaskStrategy
from methods.impresslearn.card import HETEROGENEOUS, HOMOGENEOUS, IMPRESSLEARN, NETWORK, RANDOM, ImpressLearnSettings
from methods.impresslearn.combination import COEFFICIENTS, IMPRESSIONS, Combined, summed, unpacked
from methods.supsup.strategy import SupSup


class ImpressLearn(SupSup):
    """Linear combinations of ``settings.impressions`` masks on a random backbone."""

    card = IMPRESSLEARN
    settings: ImpressLearnSettings
    shared_changes = True

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        #: packed bits of the masks known so far, uint8 (impressions, bytes)
        self.impressions = torch.zeros(0, packed_length(self.layout.elements), dtype=torch.uint8, device=self.device)
        self._masks: Tensor | None = None
        settings = self.settings
        if settings.kind == RANDOM:
            for number in range(settings.impressions):
                self._add_impression(masks.finished(self._scores(number), self.layout, self.mask).bits)
        if settings.kind == HETEROGENEOUS and self.task_count is not None and self.task_count <= settings.impressions:
            warnings.warn(
                f"with impressions={settings.impressions} and {self.task_count} tasks every task learns a mask of its "
                "own, as in SupSup; set impresslearn.impressions below the number of tasks",
                stacklevel=2,
            )

    def _scores(self, number: int) -> Tensor:
        """Fresh scores (elements,) of impression ``number``, from a stream of their own."""
        return masks.initial_scores(self.layout, self.mask, self.streams.generator("impression", number, self.device))

    def _add_impression(self, bits: Tensor) -> None:
        self.impressions = torch.cat([self.impressions, pack_bits(bits)[None]])
        self._masks = None

    @property
    def known(self) -> Tensor:
        """The impressions known so far, bool (impressions, elements)."""
        if self._masks is None:
            self._masks = unpacked(self.impressions, self.layout)
        return self._masks

    # ------------------------------------------------------------------ what tasks share

    def shared(self) -> Snapshot:
        """The random backbone, and the impressions."""
        return super().shared() | {IMPRESSIONS: self.impressions}

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Put ``shared`` tensors back."""
        self.impressions = tensors[IMPRESSIONS].to(self.device, copy=True)
        self._masks = None
        super().load_shared({name: tensor for name, tensor in tensors.items() if name != IMPRESSIONS})

    def stored_shared(self) -> Parts:
        """The backbone, and one bit per weight and impression."""
        stored = super().stored_shared()
        count, purpose = len(self.impressions) * self.layout.elements, "the masks that tasks combine"
        stored[IMPRESSIONS] = Part(self.impressions, "impressions", purpose, 1, count, "bit")
        return stored

    # ------------------------------------------------------------------ a task

    def _learns_masks(self, task: LearningTask) -> bool:
        """The task's own masks become impressions."""
        kind, count = self.settings.kind, self.settings.impressions
        return task.position <= {HETEROGENEOUS: count, HOMOGENEOUS: 1, RANDOM: 0}[kind]

    def begin(self, task: LearningTask) -> None:
        """Scores where the task learns masks, else coefficients, all 1 / K; a fresh head and BN set."""
        if self._learns_masks(task):
            super().begin(task)
            return
        self._frozen = None
        TaskStrategy.begin(self, task)
        count = len(self.impressions)
        width = 1 if self.settings.per == NETWORK else len(self.layout.slots)
        coefficients = torch.full((count, width), 1 / count, device=self.device).requires_grad_()
        self.state.current = {COEFFICIENTS: coefficients} | self.current

    def learn(self, task: LearningTask) -> None:
        """One training; of the first task of "homogeneous" K, from different scores."""
        super().learn(task)
        if self.settings.kind != HOMOGENEOUS or not self._learns_masks(task):
            return
        assert self.progress is not None
        for number in range(1, self.settings.impressions):
            self.progress.once(f"impression {number}", functools.partial(self._begin_again, task, number))
            self.fit(task, f"train {number}", lambda: self._plan(task))

    @torch.no_grad()
    def _begin_again(self, task: LearningTask, number: int) -> None:
        """Keep the mask that stands as an impression, and start the task anew from other scores."""
        self._add_impression(masks.finished(self.current[SCORES], self.layout, self.mask).bits)
        with self.streams.initialising(task.label):
            fresh = self.own_copies(self.own_norms()) | self.new_head(task.classes)
        for name, tensor in fresh.items():
            self.current[name].copy_(tensor)
        self.current[SCORES].copy_(self._scores(number))

    def training_tensors(self) -> dict[str, Tensor]:
        """The weights times the sum of impressions, or, where the task learns masks, as in SupSup."""
        if COEFFICIENTS not in self.current:
            return super().training_tensors()
        own = TaskStrategy.training_tensors(self)
        effective: Tensor = Combined.apply(  # type: ignore[no-untyped-call]
            self._per_layer(self.current[COEFFICIENTS]), self.known, self.frozen_weights, self.layout
        )
        return self.layout.views(effective) | own

    def current_tensors(self) -> dict[str, Tensor]:
        """See ``Method.current_tensors``."""
        return self.training_tensors() if COEFFICIENTS in self.current else super().current_tensors()

    def _per_layer(self, coefficients: Tensor) -> Tensor:
        """(impressions, layers), where there is one for the whole network too."""
        return coefficients.expand(-1, len(self.layout.slots))

    def usual_rate(self, name: str) -> float:
        """See ``FrozenBackbone.usual_rate``."""
        return self.settings.coefficient_lr if name == COEFFICIENTS else super().usual_rate(name)

    def update_of(self, name: str) -> Update:
        """See ``FrozenBackbone.update_of``."""
        return ADAM if name == COEFFICIENTS else super().update_of(name)

    @torch.no_grad()
    def keep(self, task: LearningTask) -> Parts:
        """The task's coefficients; where it learned masks, 1 for its own and 0 for those before."""
        purpose = "how much of each mask the task takes, per layer"
        if COEFFICIENTS in self.current:
            kept = TaskStrategy.keep(self, task)
            coefficients = self.current[COEFFICIENTS].detach().clone()
        else:
            self._add_impression(masks.finished(self.current[SCORES], self.layout, self.mask).bits)
            kept = super().keep(task)
            del kept[BITS]
            coefficients = torch.zeros(len(self.impressions), len(self.layout.slots), device=self.device)
            coefficients[-1] = 1
        kept[COEFFICIENTS] = Part(coefficients, "coefficients", purpose)
        return kept

    def mask_of(self, kept: Mapping[str, Tensor]) -> masks.Mask:
        """Ones where a task uses a mask as it is; else a sum of masks counts as values of units that are not kept."""
        coefficients = kept[COEFFICIENTS]
        numbers = summed(coefficients, self.known[: len(coefficients)], self.layout)
        bits = numbers == 1
        return masks.Mask(bits, torch.where(bits, 0.0, numbers))
