"""Masks found after training: the networks of all tasks merged into one vector, of which each task takes a part.

With theta_0 what every task's network started from and tau_t = theta_t - theta_0 (a task vector), all tasks share
theta_0 and one merged vector tau; the network of task t is theta_0 + r_t m_t tau, elementwise, with its mask m_t and
perhaps one factor r_t. What is merged are the weights of convolutions and linear layers inside the backbone, and their
biases; head, BN set and whatever else another method's network has stay the task's own. Nothing trains.

Tasks come one after another. With each of them the networks of all tasks so far are merged anew: after task t
everything is what one merge of the first t networks gives, and after the last what one merge of all gives. So the
merged vector, the masks and the accuracies of earlier tasks change as tasks arrive.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from methods.engine import batchnorm
from methods.engine.layout import FlatLayout, layout_of
from methods.engine.masks import Mask
from methods.engine.packing import pack_bits, unpack_bits
from methods.engine.parts import (
    BACKBONE,
    HEAD_BIAS,
    HEAD_WEIGHT,
    MERGED,
    MERGED_BITS,
    MERGED_SCALE,
    OVERRIDE,
    Part,
    Parts,
    head_parts,
    own_parts,
    tensors_of,
)
from methods.engine.restore import WholeNetwork, merged_layout, whole_network
from methods.engine.state import LearningTask, Snapshot
from methods.engine.task_strategy import TaskStrategy
from methods.engine.tensor_data import Images


class TaskNetworks(Protocol):
    """The networks that are merged, by task label."""

    def network(self, label: int) -> WholeNetwork:
        """The task's whole network."""

    def images(self, label: int) -> Images | None:
        """What a choice for the task may be made on; None where there are no such images."""


class LearnedNetworks:
    """The networks of a strategy that has learned the tasks, for a script of one's own.

    Args:
        strategy: one that promises not to forget, ``FineTune`` say.
        images: by task label, to choose on.
    """

    def __init__(self, strategy: TaskStrategy, images: Mapping[int, Images] | None = None) -> None:
        self._strategy, self._images = strategy, dict(images or {})

    def network(self, label: int) -> WholeNetwork:
        """See ``TaskNetworks``. Raises KeyError: the strategy has not learned the task."""
        strategy, kept = self._strategy, tensors_of(self._strategy.learned[label])
        return whole_network(strategy.card.load_restore(), strategy.shared(), kept, strategy.layout)

    def images(self, label: int) -> Images | None:
        """See ``TaskNetworks``."""
        return self._images.get(label)


class MergedNetworks(TaskStrategy):
    """Base of the methods that merge: says how vectors are merged (``merge``) and what a task takes (``take``).

    Unless ``pretrained``, the first task's network is theta_0 itself: it has no vector, no mask, and stays exact. The
    vectors of all tasks so far are held in memory, as much as the merged weights for each task.

    Args:
        networks: what is merged; all of its networks started from one theta_0, which is ``backbone`` where that is
            ``pretrained``, else the first task's.
    """

    shared_changes: ClassVar[bool] = True
    kept_changes: ClassVar[bool] = True
    layout: FlatLayout

    def __init__(self, *, networks: TaskNetworks, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.networks = networks
        self.layout = layout_of(self.view.backbone)
        self.places = merged_layout(self.layout, self.view.backbone.state_dict())
        self.merged = torch.zeros(self.places.elements, device=self.device)
        self._vectors: dict[int, Tensor] = {}  #: tau of each task that was read
        self._start: Tensor | None = None
        self._found: Parts = {}  #: what the task under way takes

    # ------------------------------------------------------------------ what a method defines

    @abstractmethod
    def merge(self, vectors: Sequence[Tensor]) -> Tensor:
        """tau_1, tau_2, ..., each float32 (elements,) -> the merged vector, float32 (elements,)."""

    @abstractmethod
    def take(self, label: int, vector: Tensor) -> Parts:
        """What task ``label`` takes of ``self.merged``, ``mask_parts`` say; ``vector``: its tau_t."""

    def mask_parts(self, mask: Tensor, scale: Tensor | None = None) -> Parts:
        """A mask, bool (elements,), and a factor, float32 (1,), as they are stored."""
        bits = pack_bits(mask)
        parts = {MERGED_BITS: Part(bits, "mask bits", "what the task takes of the merged vector", 1, len(mask), "bit")}
        if scale is not None:
            parts[MERGED_SCALE] = Part(scale, "mask scales", "the task's factor on what it takes")
        return parts

    # ------------------------------------------------------------------ one task after another

    @property
    def trains_backbone(self) -> bool:
        """Nothing trains."""
        return False

    @property
    def bn_trains(self) -> bool:
        """Nothing trains."""
        return False

    @property
    def start(self) -> Tensor:
        """theta_0 where it is merged, float32 (elements,)."""
        if self._start is None:
            self._start = self.places.flatten(self.view.backbone.state_dict())
        return self._start

    def begin(self, task: LearningTask) -> None:
        """The task's network: its head, and what is not merged where it differs from theta_0."""
        with self.phase("load"):
            network = self._network(task.label)
            if not self.learned and not self.pretrained:
                self.load_shared({BACKBONE + name: tensor for name, tensor in network.backbone.items()})
            backbone = self.view.backbone.state_dict()
            merged = set(self.places.names)
            own = {
                OVERRIDE + name: tensor.clone()
                for name, tensor in network.backbone.items()
                if name not in merged
                and not name.endswith(batchnorm.COUNTER)
                and not torch.equal(tensor, backbone[name])
            }
            self.state.current = own | {name: tensor.clone() for name, tensor in network.head.items()}
            if self.learned or self.pretrained:
                self._vectors[task.label] = self.places.flatten(network.backbone).sub_(self.start)

    def learn(self, task: LearningTask) -> None:
        """Merge the vectors of all tasks so far, and find anew what each of them takes."""
        labels = [label for label, parts in self.learned.items() if MERGED_BITS in parts]
        if self.learned or self.pretrained:
            labels.append(task.label)
        with self.phase("load"):
            vectors = {label: self._vector(label) for label in labels}
        self._found = {}
        with self.phase("choose"), torch.no_grad():
            if vectors:
                self.merged = self.merge(list(vectors.values()))
            for label, vector in vectors.items():
                found = self.take(label, vector)
                if label in self.learned:
                    self.learned[label] = self.learned[label] | found
                else:
                    self.state.current |= tensors_of(found)
                    self._found = found
        self.forget_view()

    def keep(self, task: LearningTask) -> Parts:
        """Head, the tensors that are not merged, mask and factor."""
        return head_parts(self.current) | own_parts(self.current, "the task's own BN set") | self._found

    def current_tensors(self) -> dict[str, Tensor]:
        """The network that is kept."""
        return self.restored(self.current)

    def _network(self, label: int) -> WholeNetwork:
        network = self.networks.network(label)
        backbone = {name: tensor.detach().to(self.device) for name, tensor in network.backbone.items()}
        return WholeNetwork(backbone, {name: tensor.detach().to(self.device) for name, tensor in network.head.items()})

    def _vector(self, label: int) -> Tensor:
        """tau of a task, float32 (elements,): kept in memory, read again after a resume."""
        if label not in self._vectors:
            self._vectors[label] = self.places.flatten(self._network(label).backbone).sub_(self.start)
        return self._vectors[label]

    def chosen_accuracy(self, label: int, parts: Parts) -> float | None:
        """Accuracy of task ``label`` as the network that takes ``parts``, on the images to choose on; None without."""
        images = self.networks.images(label)
        if images is None:
            return None
        own = self.current if label not in self.learned else tensors_of(self.learned[label])
        kept = {**own, **tensors_of(parts)}
        batchnorm.set_modes(self.view, training=False, bn_trains=False)
        self.view.activate(self.restored(kept), kept[HEAD_WEIGHT], kept[HEAD_BIAS])
        return self._count(images) / len(images)

    def measures(self) -> dict[str, float]:
        """``share_taken``: of the merged vector's numbers, the mean over tasks; nothing before there is a mask."""
        masks = [parts[MERGED_BITS].tensor for parts in self.learned.values() if MERGED_BITS in parts]
        taken = [float(unpack_bits(bits, self.places.elements).float().mean()) for bits in masks]
        return {"share_taken": sum(taken) / len(taken)} if taken else {}

    # ------------------------------------------------------------------ what all tasks share

    def shared(self) -> Snapshot:
        """theta_0 and the merged vector."""
        return {**super().shared(), MERGED: self.merged}

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """See ``Method.load_shared``; either of the two may be left out."""
        if MERGED in tensors:
            self.merged = tensors[MERGED].to(self.device)
        self._start = None
        self._vectors.clear()
        super().load_shared({name: tensor for name, tensor in tensors.items() if name.startswith(BACKBONE)})

    def stored_shared(self) -> Parts:
        """theta_0 and the merged vector."""
        parts = super().stored_shared()
        parts[MERGED] = Part(self.merged, "merged vector", "what the networks of all tasks were merged into")
        return parts

    def adopt(self, label: int, backbone: Snapshot, head: Snapshot) -> None:
        """See ``Method.adopt``."""
        super().adopt(label, backbone, head)
        self._start = None

    def mask_of(self, kept: Mapping[str, Tensor]) -> Mask | None:
        """The mask over the weights; biases, which lie behind them, are in no statistic."""
        if MERGED_BITS not in kept:
            return None
        bits = unpack_bits(kept[MERGED_BITS], self.places.elements)[: self.layout.units]
        return Mask(bits, torch.zeros(len(bits), device=bits.device))
