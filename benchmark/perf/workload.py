"""What every contender trains on: the same uint8 images in the same order, the same backbone, the same batch size."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.backbones.builder import build
from benchmark.data.pixel_file import PixelFile
from benchmark.errors import RequestError
from benchmark.plan.planning import augmentation_of
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Augmentation, Scenario, Task, silent
from methods.engine.augment import Augmenting
from methods.engine.stored_images import StoredImages
from methods.engine.streams import Streams
from methods.engine.tensor_data import Images, TensorImages


@dataclass(frozen=True)
class Pixels:
    """Images to train on.

    Attributes:
        images: uint8 (n, channels, height, width), on the device; or a file of images of any size.
        labels: int64 (n,), on the device.
        classes: labels are 0 to classes - 1.
        mean, std, augmentation: the scenario's.
        synthetic: the images are noise of the scenario's shape, because its data are not here.
    """

    images: Tensor | PixelFile
    labels: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    synthetic: bool


@dataclass(frozen=True)
class Workload:
    """One cell of the measurement: pixels cut into ``steps`` batches of ``batch_size`` for one backbone."""

    pixels: Pixels
    spec: RunSpec
    device: torch.device
    batch_size: int
    steps: int

    def backbone(self) -> nn.Module:
        """A backbone on the device, always with the same weights."""
        chosen = self.spec.backbone
        with Streams(0).initialising(0):
            return build(chosen.name, width=chosen.width, channels=chosen.channels).to(self.device)

    def train_images(self) -> Images:
        """Exactly ``steps`` batches of training images."""
        count = self.batch_size * self.steps
        own = augmentation_of(self.spec, self.pixels.augmentation)
        size = self.spec.backbone.image_size
        augmenting = Augmenting(size, own.crop_padding, own.flip, own.random_resized_crop, own.cutout)
        rows = torch.arange(count, device=self.device) % len(self.pixels.labels)
        pixels, labels = self.pixels, self.pixels.labels[rows]
        if isinstance(pixels.images, PixelFile):
            return StoredImages(pixels.images, labels, pixels.mean, pixels.std, augmenting, rows.cpu().numpy())
        return TensorImages(pixels.images, labels, pixels.mean, pixels.std, augmenting, rows)

    def generators(self) -> tuple[torch.Generator, torch.Generator]:
        """Fresh generators for order and augmentation."""
        streams = Streams(0)
        return streams.generator("order", 0, self.device), streams.generator("augmentation", 0, self.device)

    def with_spec(self, spec: RunSpec) -> Workload:
        """The same pixels for another method's spec."""
        return dataclasses.replace(self, spec=spec)

    def synchronise(self) -> None:
        """Wait until the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def read_pixels(scenario: Scenario, root: Path | None, device: torch.device, *, required: bool = False) -> Pixels:
    """The second task's training images, noise of the same shape where the data are not here.

    The second: the first one trains the backbone, which is not what is measured.

    Raises:
        RequestError: the data are ``required`` and not there, or damaged.
    """
    index = min(2, len(scenario.task_names))
    try:
        task = scenario.read(root, [index], silent).tasks[0]
    except RequestError:
        if required:
            raise
        classes = max(2, scenario.classes[index - 1])
        return noise(scenario.image_size, scenario.channels, classes, 2048, device)
    return _pixels(task, device)


def _pixels(task: Task, device: torch.device) -> Pixels:
    found = task.train.images
    images = found if isinstance(found, PixelFile) else torch.tensor(found, device=device)
    labels = torch.tensor(task.train.labels, dtype=torch.int64, device=device)
    return Pixels(images, labels, len(task.class_names), task.mean, task.std, task.augmentation, synthetic=False)


def noise(size: int, channels: int, classes: int, count: int, device: torch.device) -> Pixels:
    """``count`` images of noise, ``size`` pixels wide and high, with random labels."""
    generator = torch.Generator().manual_seed(0)
    augmentation = Augmentation(crop_padding=size // 8, flip=True) if channels == 3 else Augmentation()
    images = torch.randint(256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    half = (0.5,) * channels
    return Pixels(images.to(device), labels.to(device), classes, half, half, augmentation, synthetic=True)
