"""Images that stay in their file: read some batches ahead of the training, cropped and normalised on its device.

For images that are too many, or too unlike in size, to live in one tensor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.engine.augment import Augmenting, augmented, cut_out
from methods.engine.resized_crops import Boxes, central_boxes, random_boxes, resized_boxes
from methods.engine.tensor_data import affine, batch_bounds

AHEAD = 2  #: batches that are read while the one before them is trained on


class PixelStore(Protocol):
    """Images of varying sizes that are read one by one."""

    @property
    def shapes(self) -> NDArray[np.int64]:
        """(n, 2): height and width, pixels."""

    @property
    def channels(self) -> int:
        """The same for all of them."""

    def read(self, place: int) -> NDArray[np.uint8]:
        """One image, uint8 (height, width, channels). Called from another thread."""


@dataclass(frozen=True)
class StoredImages:
    """One split of one task, in a file.

    Attributes:
        store: the images.
        labels: int64 (n,), 0 to classes - 1 within the task, on the training device, where batches are delivered.
        mean, std: per channel, of pixels scaled to [0, 1].
        augmenting: what training batches go through; evaluation takes the centre crop. Random-resized crops reach
            every pixel of an image, as torchvision's do; any other augmentation starts from the centre crop.
        rows: int64 (n,): where the split's images stand in the store.
    """

    store: PixelStore
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmenting: Augmenting
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def single(self, index: int) -> Tensor:
        """One image as the network sees it in evaluation, float32 (channels, h, w), on the CPU."""
        scale, shift = affine(self.mean, self.std, torch.device("cpu"))
        places = self.rows[index : index + 1]
        batch = _images_first(torch.from_numpy(_cut(self.store, places, self._central(places), pinned=False)))
        return torch.addcmul(shift, batch.float(), scale)[0]

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One shuffled pass; the last batch may be smaller, a last batch of one joins the one before (BN needs two)."""
        permutation = torch.randperm(len(self), generator=order, device=order.device)
        places = self.rows[permutation.cpu().numpy()]
        scale, shift = affine(self.mean, self.std, self.labels.device)
        bounds, how = batch_bounds(len(self), batch_size), self.augmenting
        boxes, mirrored = self._central(places), None
        if how.random_resized_crop:
            boxes = random_boxes(self.store.shapes[places], augmentation)
            if how.flip:
                mirrored = torch.rand(len(self), generator=augmentation, device=augmentation.device) < 0.5
        wanted = [(places[start:stop], boxes[start:stop]) for start, stop in bounds]
        index = permutation.to(self.labels.device)
        for (start, stop), pixels in zip(bounds, self._ahead(wanted), strict=True):
            if how.random_resized_crop:
                flips = None if mirrored is None else mirrored[start:stop]
                batch = resized_boxes(pixels, boxes[start:stop, 2:], how.size, flips)
            else:
                batch = augmented(_images_first(pixels), how, augmentation)
            inputs = torch.addcmul(shift, batch.float(), scale)
            if how.cutout:
                inputs = cut_out(inputs, how.cutout, augmentation)
            yield inputs, self.labels[index[start:stop]]

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass in order: centre crop, normalised."""
        scale, shift = affine(self.mean, self.std, self.labels.device)
        boxes = self._central(self.rows)
        starts = range(0, len(self), batch_size)
        wanted = [(self.rows[at : at + batch_size], boxes[at : at + batch_size]) for at in starts]
        for start, pixels in zip(starts, self._ahead(wanted), strict=True):
            inputs = torch.addcmul(shift, _images_first(pixels).float(), scale)
            yield inputs, self.labels[start : start + batch_size]

    def first(self, count: int) -> StoredImages:
        """The first ``count`` images of the split."""
        return replace(self, labels=self.labels[:count], rows=self.rows[:count])

    def on_the_host(self) -> StoredImages:
        """The same, delivered on the CPU."""
        return replace(self, labels=self.labels.cpu())

    def _central(self, places: NDArray[np.int64]) -> Boxes:
        return central_boxes(self.store.shapes[places], self.augmenting.size)

    def _ahead(self, wanted: Iterable[tuple[NDArray[np.int64], Boxes]]) -> Iterator[Tensor]:
        """The boxes of each batch, uint8 (n, most height, most width, channels), on the device; the next batches are
        read meanwhile."""
        pinned = self.labels.device.type == "cuda"
        with ThreadPoolExecutor(1, "images") as reader:
            reading: deque[Future[NDArray[np.uint8]]] = deque()
            for places, boxes in wanted:
                reading.append(reader.submit(_cut, self.store, places, boxes, pinned))
                if len(reading) > AHEAD:
                    yield self._sent(torch.from_numpy(reading.popleft().result()))
            while reading:
                yield self._sent(torch.from_numpy(reading.popleft().result()))

    def _sent(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.labels.device, non_blocking=True)


def _cut(store: PixelStore, places: NDArray[np.int64], boxes: Boxes, pinned: bool) -> NDArray[np.uint8]:
    """The boxes of the images at these places: uint8 (n, most height, most width, channels)."""
    high, wide = (int(most) for most in boxes[:, 2:].max(0))
    shape = (len(places), high, wide, store.channels)
    room: NDArray[np.uint8] = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned).numpy()
    for target, place, (top, left, height, width) in zip(room, places.tolist(), boxes.tolist(), strict=True):
        target[:height, :width] = store.read(place)[top : top + height, left : left + width]
    return room


def _images_first(pixels: Tensor) -> Tensor:
    """(n, h, w, channels) -> (n, channels, h, w), contiguous."""
    return pixels.permute(0, 3, 1, 2).contiguous()
