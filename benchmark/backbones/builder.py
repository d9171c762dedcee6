"""The backbones by name: our own, and ``timm:NAME``. torch is imported only when one is built, or is of timm."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from benchmark.backbones.timm_models import is_timm
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
    """The names of our own, the small net first; :func:`build` takes those of timm too."""
    return tuple(_BACKBONES)


def require_known(name: str) -> None:
    """Raises RequestError: there is no backbone of that name. A name of timm's is looked up there."""
    if not is_timm(name):
        _entry(name)
        return
    from benchmark.backbones.timm_models import inputs_of

    inputs_of(name)


def smallest_image(name: str) -> int:
    """The smallest image side in pixels on which one of our own backbones runs.

    Raises:
        RequestError: unknown name.
    """
    return _entry(name).smallest_image


def require_image_size(name: str, size: int, channels: int = 3) -> None:
    """Raises RequestError: unknown name, or a backbone that does not run on images of ``size`` pixels."""
    if is_timm(name):
        from benchmark.backbones import timm_models

        timm_models.require_image_size(name, channels, size)
    elif size < smallest_image(name):
        raise RequestError(f"{name} needs images of at least {smallest_image(name)} pixels, not {size}.")


def build(name: str, width: float = 1.0, channels: int = 3) -> nn.Module:
    """A freshly initialised backbone, drawn from torch's global random state.

    Args:
        name: one of :func:`known_backbones`, or ``timm:NAME``.
        width: factor on every layer's width; 1 gives the published network, and torchvision's keys and shapes. Those of
            timm have no other.
        channels: channels of the input images.

    Raises:
        RequestError: unknown name, a width that is no positive number, or no channels.
    """
    entry = None if is_timm(name) else _entry(name)
    if not isinstance(width, int | float) or not (math.isfinite(width) and width > 0):
        raise RequestError(f"backbone.width is {width!r}, it must be a positive number such as 0.25 or 1.")
    if not isinstance(channels, int) or channels < 1:
        raise RequestError(f"A backbone needs at least 1 input channel, not {channels!r}.")
    if entry is None:
        from benchmark.backbones.timm_models import timm_model

        return timm_model(name, float(width), channels)
    module, function = entry.target.split(":")
    return cast("nn.Module", getattr(importlib.import_module(module), function)(width=float(width), channels=channels))


def _entry(name: str) -> _Entry:
    if name not in _BACKBONES:
        raise RequestError(
            f"There is no backbone {name!r}.{did_you_mean(name, _BACKBONES)} Known are {', '.join(_BACKBONES)}, and "
            "timm:NAME with a name of the library timm."
        )
    return _BACKBONES[name]
