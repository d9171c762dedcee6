"""Generated images of a scenario's true sizes and counts, for runs whose time, memory and size are what is wanted.

Noise by numpy's frozen generator (MT19937), the same everywhere. Small images are generated one by one. Large ones are
a few per split, of varying widths, that lie in the cache as real ones do and stand there again and again: each is read,
cropped and resized like any other, and nothing large is written.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmark.data.images import Encoded, Preparation
from benchmark.data.listing import SPLITS, Listing, TaskSource
from benchmark.data.pixel_file import PixelFile
from benchmark.data.pixel_statistics import mean_and_std
from benchmark.data.tasks import Normalisation, TaskPlan, fingerprint, read_tasks
from benchmark.scenarios.contract import Augmentation, Progress, ScenarioData, Split, Task

VERSION = 1  #: of the generating; part of every fingerprint
DISTINCT = {"train": 32, "test": 8}  #: large images of a task
WIDEST = 1.5  #: longer side over the shorter one, of the images that are kept whole
NOTE = "its images are generated: noise of the true sizes and counts"

Counts = tuple[int, int]  #: training and test images


def small_tasks(
    indices: Sequence[int],
    names: Sequence[str],
    class_names: Sequence[Sequence[str]],
    counts: Sequence[Counts],
    shape: tuple[int, int, int],
    augmentation: Augmentation,
    normalisation: Normalisation = None,
) -> ScenarioData:
    """Tasks of images in memory, uint8 (n, channels, height, width).

    Args:
        indices: 1-based; of which tasks.
        names, class_names, counts: of all tasks.
        shape: of an image: channels, height, width.
        normalisation: None: by the task's own training images.
    """
    tasks, marks = [], []
    for index in indices:
        name, classes = names[index - 1], tuple(class_names[index - 1])
        splits = [
            Split(_noise(2 * index + place, (count, *shape)), _labels(count, len(classes)))
            for place, count in enumerate(counts[index - 1])
        ]
        mean, std = normalisation or tuple(tuple(values) for values in mean_and_std(splits[0].images))  # type: ignore[arg-type]
        tasks.append(Task(index, name, classes, splits[0], splits[1], mean, std, augmentation, (NOTE,)))
        marks.append(_mark([name, classes, counts[index - 1], shape]))
    return ScenarioData(tuple(tasks), fingerprint(marks))


def source_of_large(index: int, preparation: Preparation) -> TaskSource:
    """The few images of a task, as its files would be found; ``large_tasks`` repeats them."""
    size = preparation.size

    def encoded(split: str) -> Iterator[tuple[str, Encoded]]:
        random = np.random.RandomState(2 * index + SPLITS.index(split))
        for number in range(DISTINCT[split]):
            ratio = math.exp(random.uniform(-1, 1) * math.log(WIDEST)) if preparation.whole else 1.0
            height, width = round(size * max(1, 1 / ratio)), round(size * max(1, ratio))
            pixels = np.frombuffer(random.bytes(height * width * 3), dtype=np.uint8).reshape(height, width, 3)
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "BMP")
            yield f"generated {split} image {number}", content.getvalue()

    def listing(split: str) -> Listing:
        labels = np.zeros(DISTINCT[split], dtype=np.int64)
        return Listing(f"generated {split} images", ("noise",), labels, lambda: encoded(split))

    return TaskSource(Path("generated"), (), listing, ("generated", VERSION, index, *DISTINCT.values()))


def large_tasks(
    plans: Sequence[TaskPlan], classes: Sequence[int], counts: Sequence[Counts], progress: Progress
) -> ScenarioData:
    """Tasks whose few images (``source_of_large``) stand again and again, as often as the data set has images.

    Args:
        classes, counts: of each plan's task.
    """
    found = read_tasks(plans, progress)
    tasks = []
    for task, number, count in zip(found.tasks, classes, counts, strict=True):
        names = tuple(f"class {place}" for place in range(number))
        train, test = (
            _repeated(split, images, number) for split, images in zip((task.train, task.test), count, strict=True)
        )
        tasks.append(replace(task, class_names=names, train=train, test=test, notes=(NOTE,)))
    return ScenarioData(tuple(tasks), _mark([found.fingerprint, list(classes), list(counts)]))


def _repeated(split: Split, count: int, classes: int) -> Split:
    assert isinstance(split.images, PixelFile)
    return Split(split.images.at(np.arange(count) % len(split.images)), _labels(count, classes))


def _labels(count: int, classes: int) -> NDArray[np.int64]:
    """As even as can be, in order."""
    return np.sort(np.arange(count, dtype=np.int64) % classes)


def _noise(seed: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(np.random.RandomState(seed).bytes(math.prod(shape)), dtype=np.uint8).reshape(shape)


def _mark(value: object) -> str:
    return hashlib.sha256(json.dumps(["generated", VERSION, value]).encode()).hexdigest()
