"""Networks of three numbers, so that merging them can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tiny import make_strategy, tiny_split
from torch import Tensor, nn

from methods.engine.restore import WholeNetwork
from methods.engine.state import LearningTask
from methods.engine.tensor_data import TensorImages

#: theta_0; powers of two, so that adding small numbers to it rounds nothing
START = (1.0, -2.0, 4.0)


class ThreeNumbers(nn.Module):
    """A linear layer of one output: its weights are all that is merged."""

    feature_dim = 1

    def __init__(self, weights: Sequence[float] = START) -> None:
        super().__init__()
        self.layer = nn.Linear(len(weights), 1, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([list(weights)]))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer(images.flatten(1)[:, : self.layer.in_features])
        return features


class HandNetworks:
    """theta_0 + tau_t for every task, given tau_t; heads of two classes; ``images`` to choose on, or none."""

    def __init__(
        self, vectors: Sequence[Sequence[float]], start: Sequence[float] = START, images: TensorImages | None = None
    ) -> None:
        self.vectors, self.start, self._images = vectors, start, images

    def network(self, label: int) -> WholeNetwork:
        weight = (torch.tensor(self.start) + torch.tensor(self.vectors[label])).view(1, -1)
        head = {"head.weight": torch.tensor([[1.0], [-1.0]]), "head.bias": torch.full((2,), float(label))}
        return WholeNetwork({"layer.weight": weight}, head)

    def images(self, label: int) -> TensorImages | None:
        return self._images


def merged(name: str, vectors: Sequence[Sequence[float]], **changes: Any) -> Any:
    """The method ``name``, which has merged theta_0 + these vectors; every task has a vector (a pretrained theta_0)."""
    start = changes.pop("start", START)
    arguments = {"networks": HandNetworks(vectors, start, changes.pop("images", None)), "pretrained": True, **changes}
    strategy = make_strategy(name, backbone=ThreeNumbers(start), task_count=len(vectors), **arguments)
    for label in range(len(vectors)):
        strategy.state.progress = None
        strategy.learn_task(LearningTask(label, label + 1, 2, None))
    return strategy


def estimates(strategy: Any) -> list[list[float]]:
    """What of each task's vector is found again: the restored weights less theta_0."""
    kept = [{name: part.tensor for name, part in parts.items()} for parts in strategy.learned.values()]
    start = strategy.view.backbone.layer.weight.detach()
    return [(strategy.restored(parts)["layer.weight"] - start).flatten().tolist() for parts in kept]


def masks(strategy: Any) -> list[list[int]]:
    """Every task's mask."""
    return [
        strategy.mask_of({n: p.tensor for n, p in parts.items()}).bits.int().tolist()
        for parts in strategy.learned.values()
    ]


def some_images() -> TensorImages:
    """Thirty images to choose on."""
    return tiny_split(0, 30, 1)
