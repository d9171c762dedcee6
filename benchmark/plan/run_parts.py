"""What a run's specification is made of beside the method's settings. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.scenarios.contract import Augmentation
from methods.engine.knobs import knob


@dataclass(frozen=True)
class Backbone:
    """The network that all tasks share."""

    name: str
    channels: int  #: of the images
    image_size: int  #: side of what it sees, pixels
    pretrained: bool
    width: float = knob(
        1.0, "factor on every layer's channels", above=0, also=("width_multiplier", "width_mult", "depth_multiplier")
    )
    weights: str | None = None  #: the file's name
    weights_sha256: str | None = None


@dataclass(frozen=True)
class Batches:
    """How images come to the network."""

    batch_size: int = knob(32, "training images per step", "images", above=0, also=("bs", "train_mb_size"))
    eval_batch_size: int = knob(
        100, "images per step of evaluation; changes no number", "images", above=0, also=("eval_mb_size",)
    )
    augmentation: Mapping[str, Any] = field(default_factory=dict)  #: what replaces the tasks' own


@dataclass(frozen=True)
class Inputs:
    """What the network sees of one task's images, resolved."""

    task: str
    resize: str  #: how images were brought to their stored size: ``benchmark.data.images``; "short-side, whole": all of
    #: each image was kept, not its central square
    mean: tuple[float, ...]  #: per channel, of pixels in 0 to 1
    std: tuple[float, ...]
    augmentation: Augmentation


@dataclass(frozen=True)
class Tuning:
    """How a run's settings were chosen: by trials on validation images (``benchmark.tuning``)."""

    trials: int  #: of this method
    tasks: int  #: that each trial learned
    seed: int
    space: tuple[str, ...]  #: the axes that were searched, in words
    trial: int  #: whose settings these are; 0: the protocol's own
    validation: float  #: that trial's mean accuracy on validation images, a fraction
    untuned: float  #: the same of the protocol's own settings
    pruned: int = 0  #: trials that were given up early
