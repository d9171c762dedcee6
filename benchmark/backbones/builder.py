"""The backbones by name. torch is imported only when one is built."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from benchmark.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class _Entry:
    """Where a backbone is defined (``module:function``, called with ``width`` and ``channels``)."""

    target: str
    smallest_image: int  #: side in pixels below which its pooling layers have nothing left to pool


_BACKBONES = {
    "small_cnn": _Entry("benchmark.backbones.small_cnn:small_cnn", 2),
    "lenet": _Entry("benchmark.backbones.lenet:lenet", 1),
    "vgg16_bn": _Entry("benchmark.backbones.vgg:vgg16_bn", 32),
    "resnet18": _Entry("benchmark.backbones.resnet:resnet18", 1),
    "resnet50": _Entry("benchmark.backbones.resnet:resnet50", 1),
    "squeezenet1_1": _Entry("benchmark.backbones.squeezenet:squeezenet1_1", 17),
    "mobilenet_v2": _Entry("benchmark.backbones.mobilenet:mobilenet_v2", 1),
    "mobilenet_v2_expanded": _Entry("benchmark.backbones.mobilenet:mobilenet_v2_expanded", 1),
}


def known_backbones() -> tuple[str, ...]:
    """Every name that :func:`build` takes, the small net first."""
    return tuple(_BACKBONES)


def smallest_image(name: str) -> int:
    """The smallest image side in pixels on which the backbone runs.

    Raises:
        RequestError: unknown name.
    """
    return _entry(name).smallest_image


def build(name: str, width: float = 1.0, channels: int = 3) -> nn.Module:
    """A freshly initialised backbone, drawn from torch's global random state.

    Args:
        name: one of :func:`known_backbones`.
        width: factor on every layer's width; 1 gives the published network, and torchvision's keys and shapes.
        channels: channels of the input images.

    Raises:
        RequestError: unknown name, a width that is no positive number, or no channels.
    """
    entry = _entry(name)
    if not isinstance(width, int | float) or not (math.isfinite(width) and width > 0):
        raise RequestError(f"backbone.width is {width!r}, it must be a positive number such as 0.25 or 1.")
    if not isinstance(channels, int) or channels < 1:
        raise RequestError(f"A backbone needs at least 1 input channel, not {channels!r}.")
    module, function = entry.target.split(":")
    return cast("nn.Module", getattr(importlib.import_module(module), function)(width=float(width), channels=channels))


def _entry(name: str) -> _Entry:
    if name not in _BACKBONES:
        raise RequestError(
            f"Unknown backbone {name!r}.{did_you_mean(name, _BACKBONES)} Known: {', '.join(_BACKBONES)}."
        )
    return _BACKBONES[name]
