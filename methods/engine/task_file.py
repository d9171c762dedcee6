"""A learned task as one file, and a plain torch network that looks through it. Needs torch and safetensors only.

>>> network = load_task(backbone, "birds.safetensors")      # doctest: +SKIP
>>> logits = network(network.normalise(images))             # uint8 images in, one logit per class name out
>>> network.switch("cars.safetensors")                      # the same backbone, another task

The file holds what the task adds to the shared backbone: packed masks, head, BN set; and as JSON metadata the unit
layout of the masks, class names and normalisation. Reading one never runs code from it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from methods.engine.augment import centre_crop, resized
from methods.engine.layout import FlatLayout, arrange
from methods.engine.parts import BACKBONE, BITS, HEAD_BIAS, HEAD_WEIGHT, overrides
from methods.engine.restore import DamagedParts, masked_weights
from methods.engine.sealing import tensors_sha256, unsealed
from methods.engine.weight_training import all_tensors

FORMAT, VERSION = "maskbench task", 1
METADATA = "maskbench"  #: key of the JSON text in the file's metadata


class TaskFileError(ValueError):
    """The file is no task of this backbone, or damaged; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class TaskFile:
    """One task, read. ``tensors`` are packed as stored; ``about`` is the metadata, see ``describe``."""

    path: Path
    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]

    @property
    def layout(self) -> FlatLayout | None:
        """Where the masked weights lie; None without masks."""
        layers = self.about["layers"]
        return arrange((name, tuple(shape), unit_size) for name, shape, unit_size in layers) if layers else None

    def to(self, device: torch.device | str) -> TaskFile:
        """The same with its tensors on ``device``: switching between tasks then copies nothing."""
        return TaskFile(self.path, {name: tensor.to(device) for name, tensor in self.tensors.items()}, self.about)


def describe(layout: FlatLayout | None, **about: Any) -> dict[str, Any]:
    """A task file's metadata.

    Args:
        layout: of the masks; None where the task has none.
        about: ``name``, ``class_names``, ``mean``, ``std``, ``image_size``, ``resize`` (``how`` and to which ``size``),
            ``backbone`` (what it is called and its width), ``backbone_sha256`` (of the one that belongs to it; None:
            the file brings all weights itself), and whatever else is worth knowing.
    """
    slots = layout.slots if layout is not None else ()
    layers = [(slot.name, list(slot.shape), slot.unit_size) for slot in slots]
    return {"format": FORMAT, "version": VERSION, **about, "layers": layers}


def read_task(path: str | Path) -> TaskFile:
    """Read a file that ``python -m benchmark export`` wrote.

    Raises:
        TaskFileError: absent, truncated, or no task file of this version.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get(METADATA)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except FileNotFoundError as error:
        raise TaskFileError(f"The task file {path} does not exist.") from error
    except (OSError, SafetensorError) as error:
        raise TaskFileError(f"{path} is damaged or no task file ({error}); export the task again.") from error
    try:
        about = unsealed(text, tensors) if text else {}
    except ValueError as error:
        raise TaskFileError(f"{path} is damaged ({error}); export the task again.") from error
    if about.get("format") != FORMAT or HEAD_WEIGHT not in tensors:
        raise TaskFileError(f"{path} is no task file; `python -m benchmark export` writes them.")
    if about.get("version") != VERSION:
        raise TaskFileError(f"{path} is a task file of version {about.get('version')}, this reader knows {VERSION}.")
    return TaskFile(path, tensors, about)


def load_task(backbone: nn.Module, file: str | Path) -> TaskNetwork:
    """A network for one task, in evaluation mode, on the backbone's device.

    Args:
        backbone: images (n, c, h, w) -> features (n, d), with the run's shared weights (``export --backbone-to``).
            It is copied, never changed.
        file: written by ``python -m benchmark export``.

    Raises:
        TaskFileError: damaged file, or a backbone that does not belong to it.
    """
    return TaskNetwork(backbone).switch(file)


class TaskNetwork(nn.Module):
    """A backbone that can be switched from task to task; ``switch`` first."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.task: TaskFile | None = None
        self._own: dict[str, Tensor] = {name: tensor.data for name, tensor in self._tensors().items()}
        self._sha256: str | None = None
        self._prepared: dict[Path, tuple[TaskFile, dict[str, Tensor]]] = {}
        self._room: Tensor | None = None  #: of the masked weights of the task at hand, used again by the next
        self.eval()

    def _tensors(self) -> dict[str, Tensor]:
        return all_tensors(self.backbone)

    def switch(self, task: TaskFile | str | Path) -> TaskNetwork:
        """Become the network of ``task``: a file, or one already read; at once if it was prepared.

        Otherwise its weights are computed into those of the task before: one pass over the masked weights (a tenth of
        a second for the 34 million of VGG16-BN on one core), and the first time a checksum of the backbone.

        Raises:
            TaskFileError: damaged file, or it belongs to another backbone; the network stays what it was.
        """
        path = task.path if isinstance(task, TaskFile) else Path(task)
        if path in self._prepared:
            self.task, replaced = self._prepared[path]
        else:
            found = self._checked(task)
            self._room = _room(self._room, found.layout, self._own)
            self.task, replaced = found, _effective(found, self._own, self._room)
        for name, tensor in self._tensors().items():
            tensor.data = replaced.get(name, self._own[name])
        return self

    def prepare(self, *tasks: TaskFile | str | Path) -> TaskNetwork:
        """Keep these tasks' unpacked weights in memory (as much as the backbone's, each), so that ``switch`` to one
        of them costs next to nothing. To be called on the device where the network shall stay.

        Raises:
            TaskFileError: as ``switch``.
        """
        for task in tasks:
            found = self._checked(task)
            self._prepared[found.path] = found, _effective(found, self._own, _room(None, found.layout, self._own))
        return self

    def _checked(self, task: TaskFile | str | Path) -> TaskFile:
        """The task on the network's device, fit for this backbone. Raises TaskFileError."""
        found = task if isinstance(task, TaskFile) else read_task(task)
        device = next(iter(self._tensors().values())).device
        self._own = {name: tensor.to(device) for name, tensor in self._own.items()}
        found = found.to(device)
        self._check(found, self._own)
        return found

    def _check(self, task: TaskFile, own: Mapping[str, Tensor]) -> None:
        brought = overrides(task.tensors)
        wanted = {name: tuple(shape) for name, shape, _ in task.about["layers"]}
        wanted |= {name: tuple(tensor.shape) for name, tensor in brought.items()}
        named = task.about.get("backbone", {}).get("name", "another network")
        for name, shape in wanted.items():
            if name not in own or tuple(own[name].shape) != shape:
                raise TaskFileError(
                    f"{task.path} belongs to the backbone {named}, which has {name} of shape {shape}; this one has not."
                )
        expected = task.about["backbone_sha256"]
        if expected is None:
            return
        if self._sha256 is None:
            self._sha256 = tensors_sha256(own)
        if self._sha256 != expected:
            raise TaskFileError(
                f"{task.path} belongs to a {named} with other weights; load those that `export --backbone-to` of the "
                "same run writes."
            )

    def _current(self) -> TaskFile:
        if self.task is None:
            raise RuntimeError("no task is selected yet: call switch first")
        return self.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per logit."""
        return tuple(self._current().about["class_names"])

    def normalise(self, images: Tensor) -> Tensor:
        """Decoded images, uint8 (n, c, h, w) -> float32 as the network wants them: resized by the rule that the task
        was trained with, central crop, the task's normalisation.

        Raises:
            ValueError: they have another number of channels.
        """
        about = self._current().about
        if images.shape[1] != len(about["mean"]):
            raise ValueError(f"the images have {images.shape[1]} channels, the task wants {len(about['mean'])}")
        if rule := about.get("resize"):  # absent from files of earlier versions, whose images come resized
            images = resized(images, rule["size"], rule["how"])
        std = torch.tensor(about["std"], dtype=torch.float64)
        scale = (1 / (255 * std)).float().to(images.device)[:, None, None]
        shift = (-torch.tensor(about["mean"], dtype=torch.float64) / std).float().to(images.device)[:, None, None]
        return torch.addcmul(shift, centre_crop(images, about["image_size"]).float(), scale)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (n, c, h, w) -> logits (n, classes)."""
        tensors = self._current().tensors
        return functional.linear(self.backbone(images), tensors[HEAD_WEIGHT], tensors[HEAD_BIAS])


def _room(before: Tensor | None, layout: FlatLayout | None, own: Mapping[str, Tensor]) -> Tensor | None:
    """Memory for the masked weights, (elements,): ``before`` where it fits; None without masks."""
    if layout is None:
        return None
    weight = own[layout.slots[0].name]
    if before is not None and len(before) == layout.elements and before.device == weight.device:
        return before
    return torch.empty(layout.elements, dtype=weight.dtype, device=weight.device)


def _effective(task: TaskFile, own: Mapping[str, Tensor], room: Tensor | None) -> dict[str, Tensor]:
    """What replaces the backbone's tensors, by name there; the masked weights are computed into ``room``. Raises
    TaskFileError before anything is changed."""
    layout = task.layout
    shared = {BACKBONE + slot.name: own[slot.name] for slot in layout.slots} if layout else {}
    try:
        if layout is not None and BITS not in task.tensors:
            raise DamagedParts("it has none")
        return masked_weights(shared, task.tensors, layout, room=room, selects=bool(task.about["selects"]))
    except DamagedParts as error:
        raise TaskFileError(
            f"{task.path} is damaged: its masks do not fit its layers ({error}); export the task again."
        ) from error
