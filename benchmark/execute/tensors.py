"""From a scenario's tasks to what a strategy learns from: tensors on the device, the validation split, experiences."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.data.pixel_file import PixelFile
from benchmark.plan.planning import augmentation_of
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Split, Task
from methods.engine.augment import Augmenting
from methods.engine.stored_images import StoredImages
from methods.engine.streams import Streams
from methods.engine.tensor_data import ImageDataset, Images, TaskImages, TensorImages
from results.schema import VALIDATION

VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class PreparedTask:
    """One task, ready: ``images`` to learn from, ``test`` to measure on."""

    task: Task
    images: TaskImages
    test: Images


def balanced_subset(labels: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """Positions of at most ``limit`` images, as even over the classes as can be, the same for every seed."""
    everything = np.arange(len(labels))
    if limit is None or limit >= len(labels):
        return everything
    shuffled = np.random.default_rng(0).permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # of each image among those of its class
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turn[members] = np.arange(len(members))
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.sort(order[:limit])


def validation_split(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (train, validation): a tenth of every class is held out (one at least, of two or more)."""
    generator = np.random.default_rng(seed)
    held_out = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        count = max(1, int(len(members) * VALIDATION_SHARE + 0.5)) if len(members) > 1 else 0
        held_out.append(members[:count])
    validation = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def fits(tasks: Sequence[Task], device: torch.device, workers: int) -> bool:
    """Whether all images of a run may live on the device: half of what is free there, shared by ``workers`` runs.

    Those that stay in their file do not count.
    """
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    images = [split.images for task in tasks for split in (task.train, task.test)]
    return sum(each.nbytes for each in images if not isinstance(each, PixelFile)) <= free / 2 / workers


def prepare(spec: RunSpec, task: Task, device: torch.device, *, resident: bool = True) -> PreparedTask:
    """Tensors of one task under the spec's limits, selection rule and augmentation.

    Args:
        resident: the images live on the device; False: on the CPU, from where every batch is sent (``fits``).
    """
    own = augmentation_of(spec, task.augmentation)
    size = spec.backbone.image_size
    augmenting = Augmenting(size, own.crop_padding, own.flip, own.random_resized_crop, own.cutout)
    train = _split(task, task.train, augmenting, device, resident)
    kept = balanced_subset(task.train.labels, spec.train_limit)
    images = TaskImages(train.at(kept), None)
    if spec.selection == VALIDATION:
        seed = Streams(spec.seed).derive("validation", task.index - 1)
        learning, validation = validation_split(task.train.labels[kept], seed)
        images = TaskImages(train.at(kept[learning]), train.at(kept[validation]))
    if spec.measured_on == VALIDATION:  # the test images stay unseen
        assert images.selection is not None
        return PreparedTask(task, images, images.selection)
    test = _split(task, task.test, augmenting, device, resident).at(balanced_subset(task.test.labels, spec.test_limit))
    if spec.selection == "legacy-test":
        images = TaskImages(images.train, test)
    return PreparedTask(task, images, test)


def _split(
    task: Task, split: Split, augmenting: Augmenting, device: torch.device, resident: bool
) -> _Tensors | _InAFile:
    if isinstance(split.images, PixelFile):
        return _InAFile(task, split.images, split.labels, augmenting, device)
    return _Tensors(task, split.images, split.labels, augmenting, device, resident)


class _InAFile:
    """One split's images in their file."""

    def __init__(
        self, task: Task, images: PixelFile, labels: NDArray[np.int64], augmenting: Augmenting, device: torch.device
    ) -> None:
        self._images, self._labels = images, torch.from_numpy(np.array(labels)).to(device)
        self._task, self._augmenting = task, augmenting

    def at(self, rows: NDArray[np.int64]) -> StoredImages:
        """The images at these positions."""
        labels = self._labels[torch.from_numpy(rows).to(self._labels.device)]
        return StoredImages(self._images, labels, self._task.mean, self._task.std, self._augmenting, rows)


class _Tensors:
    """One split's images on the device, subsets of which share them."""

    def __init__(
        self,
        task: Task,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        augmenting: Augmenting,
        device: torch.device,
        resident: bool,
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a memory map is read-only, and so are we
            self._images = torch.from_numpy(images)
        if resident:
            self._images = self._images.to(device)
        self._labels = torch.from_numpy(np.array(labels)).to(device)
        self._task, self._augmenting = task, augmenting

    def at(self, rows: NDArray[np.int64]) -> TensorImages:
        """The images at these positions; a subset keeps no copy of its own."""
        index = torch.from_numpy(rows).to(self._images.device)
        whole = len(rows) == len(self._labels)
        return TensorImages(
            self._images,
            self._labels[index.to(self._labels.device)],
            self._task.mean,
            self._task.std,
            self._augmenting,
            None if whole else index,
        )


def experiences(tasks: Sequence[PreparedTask]) -> list[Any]:
    """One Avalanche experience per task, task label = position in ``tasks``, each carrying its device tensors."""
    from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark, with_classes_timeline
    from avalanche.benchmarks.utils import as_classification_dataset

    train = [as_classification_dataset(ImageDataset(task.images.train)) for task in tasks]
    test = [as_classification_dataset(ImageDataset(task.test)) for task in tasks]
    built = with_classes_timeline(task_incremental_benchmark(benchmark_from_datasets(train=train, test=test)))
    stream = list(built.streams["train"])
    for experience, task in zip(stream, tasks, strict=True):
        experience.task_images = task.images
        # a set of all classes of the task: a small training subset may lack one
        experience.classes_in_this_experience = list(range(len(task.task.class_names)))
    return stream
