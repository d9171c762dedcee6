"""Backbones of the library timm, named ``timm:NAME``. The library is an optional extra; it fetches no weights here.

A network is taken as timm makes it without its classifier: what it gives are the features that the classifier would
see. Weights come from a file, as for every backbone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

PREFIX = "timm:"


@dataclass(frozen=True)
class InputsOf:
    """The images that a network of timm was trained on."""

    image_size: int  #: side in pixels
    mean: tuple[float, ...]  #: per colour channel, of pixels scaled to [0, 1]
    std: tuple[float, ...]

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel; for grey images the colours' averages."""
        if channels == len(self.mean):
            return self.mean, self.std
        return (_average(self.mean),) * channels, (_average(self.std),) * channels


def is_timm(name: str) -> bool:
    """The name is of timm's networks; whether there is such a one is for :func:`inputs_of` to say."""
    return name.startswith(PREFIX)


@functools.cache
def inputs_of(name: str) -> InputsOf:
    """What timm says of the network's images. Imports timm, hence torch.

    Raises:
        RequestError: timm is not installed, or has no such network.
    """
    configuration = _configuration(name)
    return InputsOf(int(configuration.input_size[-1]), tuple(configuration.mean), tuple(configuration.std))


def timm_model(name: str, width: float = 1.0, channels: int = 3) -> nn.Module:
    """A freshly initialised network of timm without its classifier: float32 (n, channels, h, w) -> (n, feature_dim).

    Raises:
        RequestError: timm is not installed or has no such network, or a width other than 1.
    """
    inputs = inputs_of(name)
    if width != 1:
        raise RequestError(f"{name} has one width; leave out backbone.width, or choose a narrower network of timm.")
    network = _made(name, channels)
    network.feature_dim = _passed(name, channels, inputs.image_size)  # type: ignore[assignment]
    return network


def require_image_size(name: str, channels: int, size: int) -> None:
    """Raises RequestError where the network does not run on images of ``size`` pixels: tried without any arithmetic."""
    _passed(name, channels, size)


@functools.cache
def _passed(name: str, channels: int, size: int) -> int:
    """Features of images of that size. Two images: a batch norm over one number each is an error in training mode."""
    import torch

    with torch.random.fork_rng(devices=[]):  # whether it was tried must not change what is drawn next
        network = _made(name, channels).eval().to("meta")
    try:
        features = network(torch.zeros(2, channels, size, size, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        usual = inputs_of(name).image_size
        raise RequestError(
            f"{name} does not run on images of {size} pixels ({_first_line(error)}); timm's size for it is {usual}."
        ) from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or not features.shape[1]:
        raise RequestError(f"{name} gives no vector of features per image; choose another network of timm.")
    return int(features.shape[1])


def _made(name: str, channels: int) -> nn.Module:
    try:
        network: nn.Module = _timm(name).create_model(
            name.removeprefix(PREFIX), pretrained=False, num_classes=0, in_chans=channels
        )
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise RequestError(
            f"timm cannot make {name} for images of {channels} channels ({_first_line(error)}); choose another network."
        ) from error
    return network


def _configuration(name: str) -> Any:
    timm, wanted = _timm(name), name.removeprefix(PREFIX)
    plain = wanted.partition(".")[0]
    if not timm.models.is_model(plain):
        known = timm.list_models()
        raise RequestError(
            f"timm has no network {wanted!r}.{did_you_mean(plain, known)} "
            f"It has {len(known):,}; python -c 'import timm; print(*timm.list_models())' lists them."
        )
    try:
        found = timm.models.get_pretrained_cfg(wanted)
    except RuntimeError as error:
        raise RequestError(
            f"timm has no {wanted!r}: {str(error).rstrip('.')}; leave out what stands behind the point, weights come "
            "from --weights."
        ) from error
    if found is None:
        raise RequestError(f"timm does not say what images {wanted!r} takes; choose another network.")
    return found


def _timm(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise RequestError(
            f"The backbone {name} needs the library timm, and it cannot be imported ({error}); install it with "
            "pip install 'maskbench[timm]' or pip install timm."
        ) from error
    return timm


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _average(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
