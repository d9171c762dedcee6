"""What a scenario is. Nothing here imports torch: ``list``, ``check`` and ``--dry-run`` must answer at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError
from benchmark.scenarios.sources import DataSource
from methods.engine.knobs import knob

if TYPE_CHECKING:  # ``list`` answers without numpy
    import numpy as np
    from numpy.typing import NDArray

    from benchmark.data.pixel_file import PixelFile

#: ``progress(what, done, total)``, called while images are decoded. With a total of 0 ``what`` is a sentence to tell.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """A Progress that says nothing."""


@dataclass(frozen=True)
class Augmentation:
    """Training augmentation of one task, done batch by batch on the device.

    The test view is always the centre crop of ``Scenario.image_size``, without any of these.
    """

    crop_padding: int = knob(0, "zero padding around a random crop of the image's own size (CIFAR: 4)", "pixels")
    flip: bool = knob(False, "horizontal flip with probability 1/2")
    random_resized_crop: bool = knob(False, "torchvision's RandomResizedCrop to the network's image size")
    cutout: int = knob(0, "side of one square hole after normalisation; 0: none", "pixels")


@dataclass(frozen=True)
class Split:
    """``images``: uint8 (n, channels, height, width), possibly a read-only memory map, or a file of images of any size;
    ``labels``: int64 (n,)."""

    images: NDArray[np.uint8] | PixelFile
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """One task. ``labels`` run from 0 to ``len(class_names) - 1`` within the task."""

    index: int  #: 1-based position in the scenario
    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    mean: tuple[float, ...]  #: per channel, of pixels scaled to [0, 1]
    std: tuple[float, ...]
    augmentation: Augmentation = Augmentation()
    notes: tuple[str, ...] = ()  #: what ``check`` says of its source: files left out, a drawn split
    resize: str = "short-side"  #: how images were brought to their stored size (``benchmark.data.images``)
    whole: bool = False  #: the whole of each image is stored, for random crops; False: a square

    @property
    def stored_side(self) -> int:
        """The shorter side of the stored images, pixels."""
        images = self.test.images
        return int(getattr(images, "side", 0) or images.shape[-1])  # type: ignore[union-attr]


@dataclass(frozen=True)
class ScenarioData:
    """The tasks asked for, and a fingerprint (sha256, hex) that goes into the record: of their names, class names,
    decoded images and labels, so that two layouts of the same images have the same one."""

    tasks: tuple[Task, ...]
    fingerprint: str

    @property
    def sha256(self) -> str:
        """sha256 (hex) of all that a run takes from here: images, normalisation and augmentation of each task."""
        import hashlib  # ``list`` does without

        seen = [(task.name, task.mean, task.std, dataclasses.astuple(task.augmentation)) for task in self.tasks]
        return hashlib.sha256(f"{self.fingerprint} {seen!r}".encode()).hexdigest()


def notes_of(tasks: Iterable[Task]) -> list[str]:
    """What the tasks' sources are to be told of, each with its task's name."""
    return list(dict.fromkeys(f"{task.name}: {note}" for task in tasks for note in task.notes))


@dataclass(frozen=True)
class Vouched:
    """What a manifest says of a task whose files are as it has them; no image was decoded for it."""

    class_names: tuple[str, ...]
    train: int  #: images
    test: int
    notes: tuple[str, ...]  #: sentences, without a full stop
    in_both_splits: int  #: test images that are training images too, byte by byte
    content: str  #: sha256 (hex) of the files' names and bytes


#: ``vouch(data_root, task_index, progress)``: None where there is no manifest. Raises RequestError when the files are
#: not those of the manifest.
Voucher = Callable[[Path | None, int, Progress], Vouched | None]

#: ``read(data_root, task_indices, progress)``: the tasks with these 1-based indices, every image decoded and checked.
#: Raises RequestError: data absent (says what is expected where and how to get it) or faulty (names file and fault).
Reader = Callable[[Path | None, Sequence[int], Progress], ScenarioData]


@dataclass(frozen=True)
class PretrainedOn:
    """The data set whose network all tasks start from: a row of the published table, though no task of the scenario.

    Its validation images lie below the data root in one folder a class; the order of the classes in the weights' own
    head is that of the folders' names.
    """

    name: str
    title: str
    classes: int
    place: str  #: below the data root
    images: int  #: validation images as published


@dataclass(frozen=True)
class Scenario:
    """A definition shared by all methods. ``settings`` maps a method, or a family of them (``Card.section``),
    to knobs that this scenario sets otherwise, for example ``{"masked": {"lr": 1e-4}}``."""

    name: str
    summary: str  #: one line for ``list``
    task_names: tuple[str, ...]
    classes: tuple[int, ...]  #: classes per task, as far as known without the data; 0: unknown
    read: Reader
    backbone: str  #: key of ``benchmark.backbones``
    image_size: int  #: side in pixels of what the network sees
    title: str = ""  #: a few words for headings; the name where empty
    channels: int = 3
    backbone_options: Mapping[str, Any] = field(default_factory=dict)  #: e.g. {"width": 1.0}
    pretrained: bool = (
        False  #: True: the backbone comes from ``--weights`` and every task is masked/fine-tuned from it;
    )
    #: False: the initial task is trained from scratch and its network is the backbone
    weights: Path | None = None  #: a user's scenario may name its own weights
    weights_help: str = ""  #: which file to get and where it must lie, for the error message
    weights_files: tuple[str, ...] = ()  #: their usual names, by which they are looked for where none are named
    pretrained_on: PretrainedOn | None = None
    batch_size: int = 32
    eval_batch_size: int = 100
    whole: tuple[int, ...] = ()  #: 1-based indices of the tasks that are stored whole, for random crops up to the edges
    threads: int = 0  #: CPU threads that suit its network; 0: torch's own choice
    protocol: str = ""  #: the name under which methods' cards say what their sources set here; empty: their defaults
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: over these, see above
    data_help: str = ""  #: what is expected under the data root and how to get it
    images: tuple[
        tuple[int, int], ...
    ] = ()  #: (train, test) images per task in the source; ``check`` notes what differs
    source: str = ""  #: the paper whose protocol this reproduces
    wanted: tuple[DataSource, ...] = ()  #: the data sets to be got, for who has none of them
    vouch: Voucher | None = None  #: asked by ``check`` before it decodes a task
    generate: Reader | None = None  #: as ``read``, of generated images of the true sizes and counts
    generated: bool = False  #: ``read`` generates its images, and no weights are needed

    def with_generated_images(self) -> Scenario:
        """The scenario for ``--synthetic-data``. Raises RequestError: its sizes are not known without its images."""
        if self.generate is None:
            raise RequestError(
                f"--synthetic-data needs to know how many images of which size a scenario has; of {self.name} that is "
                "known from its images alone. Take cifar100-20, cifar100-superclass or imagenet2sketch."
            )
        return dataclasses.replace(self, read=self.generate, wanted=(), vouch=None, generated=True)
