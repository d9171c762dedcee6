"""Tiny networks and tasks for tests of the methods: random images that a small net can tell apart."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from methods.engine.augment import Augmenting
from methods.engine.tensor_data import ImageDataset, TaskImages, TensorImages


class TinyNet(nn.Module):
    """3 x 3 and 1 x 1 convolutions with BN, pooling, and a hidden linear layer with bias: every kind of layer."""

    feature_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 8, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.hidden = nn.Linear(8, 6)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.bn1(self.conv1(images)))
        hidden = torch.relu(self.bn2(self.conv2(hidden)))
        hidden = torch.relu(self.conv3(hidden)).mean((2, 3))
        return torch.relu(self.hidden(hidden))


def tiny_net(seed: int = 0) -> TinyNet:
    """A TinyNet with fixed initial weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TinyNet()


def tiny_split(task: int, count: int, seed: int) -> TensorImages:
    """``count`` 6 x 6 images of three classes: the place of a bright bar gives the class, shifted from task to task."""
    generator = torch.Generator().manual_seed(1000 * task + seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 120, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    for index, label in enumerate(labels.tolist()):
        row = (2 * label + task) % 6
        if task % 2:
            images[index, 0, :, row] = 250
        else:
            images[index, 0, row, :] = 250
    return TensorImages(images, labels, (0.4,), (0.3,), Augmenting(6))


def tiny_task(task: int, count: int = 66) -> tuple[TaskImages, TensorImages]:
    """(images to learn from and select on, test images)."""
    return TaskImages(tiny_split(task, count, 0), tiny_split(task, 30, 1)), tiny_split(task, 30, 2)


def tiny_stream(tasks: int, fast: bool = True) -> tuple[list[Any], list[TensorImages]]:
    """Avalanche experiences of ``tasks`` tiny tasks and their test images; ``fast``: with device tensors attached."""
    from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark, with_classes_timeline
    from avalanche.benchmarks.utils import as_classification_dataset

    made = [tiny_task(task) for task in range(tasks)]
    train = [as_classification_dataset(ImageDataset(images.train)) for images, _ in made]
    test = [as_classification_dataset(ImageDataset(images)) for _, images in made]
    stream = with_classes_timeline(task_incremental_benchmark(benchmark_from_datasets(train=train, test=test)))
    experiences = list(stream.streams["train"])
    if fast:
        for experience, (images, _) in zip(experiences, made, strict=True):
            experience.task_images = images
    return experiences, [images for _, images in made]


def make_strategy(name: str, epochs: int = 4, **changes: Any) -> Any:
    """The method ``name`` on a TinyNet with short phases; ``changes`` go to its constructor."""
    import dataclasses

    from avalanche.training.plugins import EvaluationPlugin

    from methods.registry import METHODS
    from methods.settings import TrainSettings

    info = METHODS[name]
    settings: Any = info.settings
    if info.section == "masked":
        settings = dataclasses.replace(settings.with_epochs(epochs), lr=5e-3, head_lr=1e-2)
    elif info.section == "cpg":
        settings = dataclasses.replace(
            settings.with_epochs(epochs), pick_lr=5e-3, prune_ratios=(0.3, 0.6), prune_epochs=2, prune_ramp=1,
            prune_every=1, retrain_epochs=2, min_train_accuracy=0.5,
        )  # fmt: skip
    else:
        settings = settings.with_epochs(epochs)
    arguments: dict[str, Any] = {
        "backbone": tiny_net(),
        "settings": settings,
        "bn_policy": info.bn_policy,
        "task_count": 3,
        "train_mb_size": 16,
        "evaluator": EvaluationPlugin(),
    }
    if info.mask is not None:
        arguments["mask"] = info.mask
    if info.needs.networks_of is not None:
        arguments["networks"] = tiny_networks(info.needs.networks_of, changes.get("bn_policy", info.bn_policy), epochs)
    if info.needs.task1_network:
        arguments["scratch"] = TrainSettings().with_epochs(epochs)
    return info.load()(**{**arguments, **changes})


@functools.cache
def tiny_networks(name: str, bn_policy: str, epochs: int) -> Any:
    """What the method ``name`` learns of three tiny tasks, with their images to select on."""
    from methods.engine.merging import LearnedNetworks

    experiences, _ = tiny_stream(3)
    strategy = make_strategy(name, epochs, bn_policy=bn_policy)
    learn(strategy, experiences)
    return LearnedNetworks(strategy, {label: item.task_images.selection for label, item in enumerate(experiences)})


def learn(strategy: Any, experiences: list[Any]) -> None:
    """Learn the experiences one after another, without evaluation in between."""
    for experience in experiences:
        strategy.train(experience, eval_streams=[])
