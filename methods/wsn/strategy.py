"""WSN (Kang et al., ICML 2022): one network, of which every task uses a part; what is used never changes again.

Weights and scores train together; the forward pass sees the share of each layer with the largest scores by magnitude
(``methods.wsn.selection``). When a task is done its mask is kept, and the weights in it are frozen: later tasks may use
them, but not train them. Scores go on from task to task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.engine.masks import Mask, fan_in_scores
from methods.engine.optimise import Group, Optimizers
from methods.engine.owned import OwnedWeights
from methods.engine.packing import pack_bits, unpack_bits
from methods.engine.parts import BITS, Part, Parts
from methods.engine.pruning import FREE
from methods.engine.restore import POSITION, stored_mask
from methods.engine.schedule import Schedule, plateau_of
from methods.engine.state import LearningTask, Plan, Snapshot
from methods.engine.weight_training import by_rate
from methods.wsn.card import WSN as CARD
from methods.wsn.card import WSNSettings
from methods.wsn.coding import coded_bits
from methods.wsn.selection import Selected, used

SCORES = "scores"


class WSN(OwnedWeights):
    """Winning subnetworks: the owner of a weight is the first task whose mask holds it."""

    card = CARD
    settings: WSNSettings
    head_std: ClassVar[float | None] = None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        scores = fan_in_scores(self.layout, self.streams.generator("scores", 0, torch.device("cpu")))
        #: M, (elements,): Kaiming-uniform with a = sqrt(5) once, trained on by every task
        self.scores = scores.to(self.device).requires_grad_()

    def own_pretrained(self) -> None:
        """Nothing is used before the first task, unless ``protect_initial``."""
        if self.settings.protect_initial:
            self.owner.masked_fill_(used(self.weights.detach(), self.layout, self.settings.density), 1)

    def mutable(self) -> Snapshot:
        """Scores too."""
        return super().mutable() | {SCORES: self.scores}

    def shared(self) -> Snapshot:
        """Scores too: the next task starts from them."""
        return super().shared() | {SCORES: self.scores}

    @torch.no_grad()
    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Put ``shared`` tensors back."""
        super().load_shared(tensors)
        self.scores.copy_(tensors[SCORES])

    def stored_shared(self) -> Parts:
        """The weights; scores and owners serve only further tasks."""
        return self.stored_weights() | self.stored_latest()

    def learn(self, task: LearningTask) -> None:
        """One phase of everything that is free, and all scores."""
        self.fit(task, "train", lambda: self._plan(task))

    def _plan(self, task: LearningTask) -> Plan:
        settings = self.settings
        position = self.position_of(task)
        schedule = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)
        return Plan(
            "train",
            settings.epochs,
            Optimizers(self.weight_groups(settings.lr, schedule), settings.clip),
            after_backward=lambda: self.decay_and_mask(position),
            plateau=plateau_of(settings, settings.lr, settings.schedule, settings.gamma),
        )

    def weight_groups(self, lr: float, schedule: Schedule) -> list[Group]:
        """Weights, scores, and the task's own tensors, with moments of their own: none is an earlier task's."""
        settings = self.settings
        own = {name: tensor for name, tensor in self.current.items() if tensor.requires_grad}
        score_lr = lr if settings.score_lr is None else settings.score_lr
        return [
            Group(tensors, settings.optimizer, rate, schedule, settings.momentum, settings.nesterov)
            for rate, tensors in ((lr, [self.weights]), (score_lr, [self.scores]), *by_rate(own, settings, lr).items())
        ]

    def bits(self) -> Tensor:
        """B of the task under way, bool (elements,)."""
        return used(self.scores, self.layout, self.settings.density)

    def training_tensors(self) -> dict[str, Tensor]:
        """The weights that the scores select, and the task's biases and BN set."""
        selected: Tensor = Selected.apply(  # type: ignore[no-untyped-call]
            self.weights, self.scores, self.layout, self.settings.density
        )
        return super().training_tensors() | self.layout.views(selected)

    def keep(self, task: LearningTask) -> Parts:
        """One bit per weight, from the scores as they are kept; weights outside it are free for later tasks."""
        bits = self.bits()
        self.owner.masked_fill_((self.owner == self.position_of(task)) & ~bits, FREE)
        kept = super().keep(task)
        del kept[POSITION]
        kept[BITS] = Part(pack_bits(bits), "mask bits", "which weights the task uses", 1, self.layout.elements, "bit")
        return kept

    def mask_of(self, kept: Mapping[str, Tensor]) -> Mask:
        """See ``Method.mask_of``."""
        return stored_mask(kept, self.layout)

    def trainable_parameters(self) -> int:
        """Scores too."""
        return super().trainable_parameters() + self.scores.numel()

    def measures(self) -> dict[str, float]:
        """Masks coded together and plain, bytes; and the capacity used, in percent of the network's weights."""
        masks = [
            unpack_bits(parts[BITS].tensor, self.layout.elements) for parts in self.learned.values() if BITS in parts
        ]
        coded, elements = coded_bits(masks), self.layout.elements
        in_use = torch.stack(masks).any(0).sum().item()
        return {
            "coded_mask_bytes": coded / 8,
            "plain_mask_bytes": len(masks) * elements / 8,
            "capacity": 100 * (in_use / elements + coded / (32 * elements)),
        }
