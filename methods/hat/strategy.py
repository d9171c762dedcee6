"""HAT (Serra et al., ICML 2018): a gate per unit and task, trained with the weights, which later tasks must spare.

Per task: weights that no earlier task protects train, and so do the task's gates, ever steeper within an epoch; the
regulariser keeps gates of free units shut. When the task is finished, weights between units that it uses are protected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.engine import batchnorm
from methods.engine.optimise import Group, Optimizers
from methods.engine.parts import (
    BACKBONE,
    OVERRIDE,
    MaskCount,
    Part,
    Parts,
    head_parts,
    overrides,
    own_parts,
    tensors_of,
)
from methods.engine.schedule import Schedule, plateau_of
from methods.engine.state import LearningTask, Plan, Snapshot
from methods.engine.task_strategy import TaskStrategy
from methods.engine.weight_training import all_tensors, by_rate
from methods.hat import gates as equations
from methods.hat.card import HAT, HATSettings
from methods.hat.unit_graph import units_of

EMBEDDING = "embedding"
#: how far protected weights have moved so far, float32 (1,)
DRIFT = "drift"


class HardAttention(TaskStrategy):
    """Shared weights, gates per task; the BN set goes on from the task before and is kept per task.

    With BN policy "frozen" the first task's BN set is everybody's. On a pretrained backbone nothing is protected before
    the first task.

    Raises:
        UnknownUnits: the backbone's units cannot be found (``methods.hat.unit_graph``).
    """

    card = HAT
    settings: HATSettings
    shared_changes = True

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.units = units_of(self.view.backbone).to(self.device)
        self._scale = 1 / self.settings.scale
        self._gates: Tensor | None = None  #: of the step under way
        self._before = torch.zeros(self.units.count, device=self.device)
        self._factors: dict[str, Tensor] = {}
        self._drift = torch.zeros(1, device=self.device)

    @property
    def bn_trains(self) -> bool:
        """BN learns with task 1 in any case, later under policy "per-task" only."""
        first = not self.learned and not self.pretrained
        return first or super().bn_trains

    # ------------------------------------------------------------------ one task

    def begin(self, task: LearningTask) -> None:
        """Copies of the shared network as the last task left it, a fresh head, and fresh embeddings."""
        tensors, norms = all_tensors(self.view.backbone), batchnorm.bn_set(self.view.backbone)
        if not self.bn_trains:
            tensors = {name: tensor for name, tensor in tensors.items() if name not in norms}
        noise = self.state.generators["noise"]
        embedding = equations.fresh_embedding(self.units.count, self.settings.start, noise)
        self.state.current = self.own_copies(tensors) | self.new_head(task.classes)
        self.current[EMBEDDING] = embedding.requires_grad_()

    def learn(self, task: LearningTask) -> None:
        """One phase of weights and gates together."""
        self.fit(task, "train", lambda: self._plan(task))

    def _plan(self, task: LearningTask) -> Plan:
        settings = self.settings
        self._before = self.used()
        self._factors = self._protecting(self._before)
        schedule = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)
        trained = {name: item for name, item in self.current.items() if item.requires_grad and name != EMBEDDING}
        rates = by_rate(trained, settings, settings.lr)
        groups = [
            Group(tensors, "sgd", rate, schedule, settings.momentum, settings.nesterov)
            for rate, tensors in rates.items()
        ]
        groups.append(Group([self.current[EMBEDDING]], "sgd", settings.lr, schedule))
        return Plan(
            "train",
            settings.epochs,
            Optimizers(groups, settings.clip),
            before_iteration=self._anneal,
            after_backward=self._correct_gradients,
            plateau=plateau_of(settings, settings.lr, settings.schedule, settings.gamma),
        )

    @torch.no_grad()
    def _anneal(self, epoch: int, iteration: int, iterations: int) -> None:
        """Bound the embedding as the last step left it, and make the gates steeper."""
        bound = equations.EMBEDDING_BOUND
        self.current[EMBEDDING].clamp_(-bound, bound)
        self._scale = equations.annealed(iteration, iterations, self.settings.scale)

    @torch.no_grad()
    def _correct_gradients(self) -> None:
        """Decay by hand, then protect weights of earlier tasks; compensate the embedding for the annealing."""
        decay = self.settings.weight_decay
        for layer in self.units.writes if decay else ():
            weight = self.current[_weight(layer)]
            if weight.grad is not None:
                weight.grad.add_(weight.detach(), alpha=decay)
        for name, factor in self._factors.items():
            gradient = self.current[name].grad
            if gradient is not None:
                gradient.mul_(factor)
        embedding = self.current[EMBEDDING]
        if embedding.grad is not None:
            compensation = equations.compensation(embedding, self._scale, self.settings.scale)
            embedding.grad.mul_(compensation * self.settings.gate_rate)

    def _protecting(self, before: Tensor) -> dict[str, Tensor]:
        """What the gradients of weights and biases are multiplied by, by name in ``current``; none before a task."""
        factors: dict[str, Tensor] = {}
        for layer, writes in self.units.writes.items() if self.learned else ():
            weight, bias = _weight(layer), _bias(layer)
            dimensions = self.current[weight].dim()
            factors[weight] = equations.weight_factor(before, writes, self.units.reads[layer], dimensions)
            if bias in self.current:
                factors[bias] = equations.bias_factor(before, writes)
        return factors

    def training_tensors(self) -> dict[str, Tensor]:
        """The network with its gates as steep as they are in this step."""
        self._gates = equations.gates_of(self.current[EMBEDDING], self._scale)
        return self._with_gates(self._gates)

    def current_tensors(self) -> dict[str, Tensor]:
        """The network with its gates as they would be kept."""
        return self._with_gates(self._finished())

    def _with_gates(self, gates: Tensor) -> dict[str, Tensor]:
        own = overrides(self.current)
        return own | equations.gated(dict(self.view.backbone.named_parameters()) | own, gates, self.units.scaled)

    def _finished(self) -> Tensor:
        settings = self.settings
        return equations.finished_gates(self.current[EMBEDDING].detach(), settings.scale, settings.binarise)

    def criterion(self) -> Tensor:
        """Cross-entropy; in training with the regulariser."""
        loss: Tensor = super().criterion()
        if not self.view.training or self._gates is None:
            return loss
        return loss + self.settings.sparsity * equations.regulariser(self._gates, self._before)

    # ------------------------------------------------------------------ after a task

    @torch.no_grad()
    def keep(self, task: LearningTask) -> Parts:
        """Weights go back to what all share; the head, the BN set and the gates are the task's."""
        trained = {
            name: tensor.detach().clone()
            for name, tensor in overrides(self.current).items()
            if not name.endswith(batchnorm.COUNTER)
        }
        self._drift += self._moved(trained)
        self.view.backbone.load_state_dict(trained, strict=False)
        gates, self._gates, self._factors = self._finished(), None, {}
        norms = batchnorm.bn_set(self.view.backbone) if self.bn_policy == batchnorm.PER_TASK else {}
        own = {OVERRIDE + name: tensor for name, tensor in trained.items() if name in norms}
        head = {name: tensor.detach().clone() for name, tensor in self.current.items()}
        purpose = "the task's own BN set"
        return head_parts(head) | own_parts(own, purpose) | equations.stored(gates, self.settings.binarise)

    def _moved(self, trained: Mapping[str, Tensor]) -> Tensor:
        """By how much the task has moved protected weights, as a share of their sum of magnitudes, (1,)."""
        moved, whole = torch.zeros(1, device=self.device), torch.zeros(1, device=self.device)
        shared = dict(self.view.backbone.named_parameters())
        for name, factor in self._factors.items():
            weight = shared[name.removeprefix(OVERRIDE)]
            moved += ((trained[name.removeprefix(OVERRIDE)] - weight).abs() * (1 - factor)).sum()
            whole += (weight.abs() * (1 - factor)).sum()
        return moved / whole.clamp_min(torch.finfo(whole.dtype).tiny)

    def used(self) -> Tensor:
        """The cumulative gates of all learned tasks, float32 (units,)."""
        kept = [tensors_of(parts) for parts in self.learned.values()]
        return equations.cumulative(self.units.count, kept, self.device)

    def measures(self) -> dict[str, float]:
        """The share of units in use, and by how much protected weights have moved, relative to their magnitudes."""
        return {"units_used": float(self.used().mean()), "weight_drift": float(self._drift)}

    def mask_statistics(self) -> list[MaskCount]:
        """Open, half open and shut gates of every learned task, by the layer that writes the units first."""
        layers, seen = {}, torch.zeros(self.units.count, dtype=torch.bool, device=self.device)
        for layer, units in self.units.writes.items():
            if not bool(seen[units].all()):
                layers[_weight(layer).removeprefix(OVERRIDE)] = units[~seen[units]]
                seen[units] = True
        counts = []
        for label, parts in self.learned.items():
            gates = equations.stored_gates(tensors_of(parts), self.units.count)
            for layer, units in layers.items():
                ones, zeros = int((gates[units] == 1).sum()), int((gates[units] == 0).sum())
                counts.append(MaskCount(label, layer, len(units), ones, len(units) - ones - zeros, zeros))
        return counts

    def trainable_parameters(self) -> int:
        """Numbers that a step may move: protected weights are none."""
        protected = 0
        for name, factor in self._protecting(self.used()).items():
            tensor = self.current[name]
            protected += int((factor == 0).expand_as(tensor).sum()) if tensor.requires_grad else 0
        return super().trainable_parameters() - protected

    # ------------------------------------------------------------------ what tasks share

    def shared(self) -> Snapshot:
        """The backbone, the unit of each channel, and how far protected weights have moved."""
        return super().shared() | equations.shared_units(self.units.count, self.units.scaled) | {DRIFT: self._drift}

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Put ``shared`` tensors back."""
        super().load_shared({name: tensor for name, tensor in tensors.items() if name.startswith(BACKBONE)})
        self._drift = tensors[DRIFT].to(self.device, copy=True)

    def stored_shared(self) -> Parts:
        """Weights and biases, with BN policy "frozen" the BN set, and the unit of each channel."""
        own = batchnorm.bn_set(self.view.backbone) if self.bn_policy == batchnorm.PER_TASK else {}
        parts: Parts = {}
        for name, tensor in self.shared().items():
            if name.startswith(BACKBONE) and name.removeprefix(BACKBONE) not in own:
                parts[name] = Part(tensor, "backbone", "the weights that all tasks share")
            elif name.startswith(equations.UNITS) or name == equations.UNIT_COUNT:
                parts[name] = Part(tensor, "units", "which unit each channel is")
        return parts


def _weight(layer: str) -> str:
    """The name in ``current`` of a layer's weight."""
    return f"{OVERRIDE}{layer}.weight" if layer else f"{OVERRIDE}weight"


def _bias(layer: str) -> str:
    """The name in ``current`` of a layer's bias."""
    return f"{OVERRIDE}{layer}.bias" if layer else f"{OVERRIDE}bias"
