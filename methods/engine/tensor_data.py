"""Images that live on the training device as one uint8 tensor; batches are cut, augmented and normalised there.

Where a device cannot hold them all they stay in the host's memory, and each batch is sent over as it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from methods.engine.augment import Augmenting, augmented, centre_crop, cut_out


class Images(Protocol):
    """One split of one task: in a tensor (``TensorImages``), or in a file (``methods.engine.stored_images``)."""

    @property
    def labels(self) -> Tensor:
        """int64 (n,), 0 to classes - 1 within the task, on the training device, where batches are delivered."""

    def __len__(self) -> int: ...

    def single(self, index: int) -> Tensor:
        """One image as the network sees it in evaluation, float32 (channels, h, w), on the CPU."""

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One shuffled pass over augmented images, float32 (n, channels, h, w), and their labels."""

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass in order: centre crop, normalised."""

    def first(self, count: int) -> Images:
        """The first ``count`` images of the split."""

    def on_the_host(self) -> Images:
        """The same, on the CPU."""


@dataclass(frozen=True)
class TensorImages:
    """One split of one task, in memory.

    Attributes:
        images: uint8 (n, channels, height, width), on the training device or on the CPU.
        labels: int64 (n,), 0 to classes - 1 within the task, on the training device, where batches are delivered.
        mean, std: per channel, of pixels scaled to [0, 1].
        augmenting: what training batches go through; evaluation takes the centre crop.
        rows: int64 (n,), on the device of ``images``: where the split's images stand there; None: ``images`` holds
            just them, in order.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmenting: Augmenting
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def single(self, index: int) -> Tensor:
        """One image as the network sees it in evaluation, float32 (channels, h, w), on the CPU."""
        scale, shift = affine(self.mean, self.std, self.labels.device)
        image = centre_crop(self._take(slice(index, index + 1)), self.augmenting.size)
        return torch.addcmul(shift, image.float(), scale)[0].cpu()

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One shuffled pass; the last batch may be smaller, a last batch of one joins the one before (BN needs two)."""
        permutation = torch.randperm(len(self), generator=order, device=order.device).to(self.images.device)
        scale, shift = affine(self.mean, self.std, self.labels.device)
        for start, stop in batch_bounds(len(self), batch_size):
            index = permutation[start:stop]
            batch = augmented(self._take(index), self.augmenting, augmentation)
            inputs = torch.addcmul(shift, batch.float(), scale)
            if self.augmenting.cutout:
                inputs = cut_out(inputs, self.augmenting.cutout, augmentation)
            yield inputs, self.labels[index]

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass in order: centre crop, normalised."""
        scale, shift = affine(self.mean, self.std, self.labels.device)
        for start in range(0, len(self), batch_size):
            batch = centre_crop(self._take(slice(start, start + batch_size)), self.augmenting.size)
            yield torch.addcmul(shift, batch.float(), scale), self.labels[start : start + batch_size]

    def first(self, count: int) -> TensorImages:
        """The first ``count`` images of the split."""
        rows = torch.arange(count, device=self.images.device) if self.rows is None else self.rows[:count]
        return replace(self, labels=self.labels[:count], rows=rows)

    def _take(self, index: Tensor | slice) -> Tensor:
        """The images at these positions of the split, uint8."""
        taken = self.images[index if self.rows is None else self.rows[index]]
        return taken.to(self.labels.device, non_blocking=True)

    def on_the_host(self) -> TensorImages:
        """The same, images and all, on the CPU."""
        rows = None if self.rows is None else self.rows.cpu()
        return replace(self, images=self.images.cpu(), labels=self.labels.cpu(), rows=rows)


def affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Normalisation as (scale, shift), each (channels, 1, 1), of uint8 values."""
    deviation = torch.tensor(std, dtype=torch.float64)
    scale = (1 / (255 * deviation)).float().to(device, non_blocking=True)[:, None, None]
    shift = (-torch.tensor(mean, dtype=torch.float64) / deviation).float()
    return scale, shift.to(device, non_blocking=True)[:, None, None]


def batch_bounds(count: int, batch_size: int) -> list[tuple[int, int]]:
    """(start, stop) of each batch of one pass over ``count`` images.

    >>> batch_bounds(65, 32)
    [(0, 32), (32, 65)]
    """
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], count], strict=True))


@dataclass(frozen=True)
class TaskImages:
    """What a strategy learns a task from: training images and, unless the last epoch counts, those it selects on."""

    train: Images
    selection: Images | None = None


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """A split as an ordinary torch data set with ``targets``, for Avalanche's benchmark builders."""

    def __init__(self, images: Images) -> None:
        self.source = images
        self.targets: list[int] = images.labels.tolist()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.source.single(index), self.targets[index]
