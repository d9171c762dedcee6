"""The network that a user's scenario names, and how images are normalised for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError
from benchmark.scenarios.yaml_values import choice, known_keys, numbers, text

if TYPE_CHECKING:
    from benchmark.backbones.timm_models import InputsOf
    from benchmark.data.tasks import Normalisation

LEAST_STD, LARGEST_MEAN = 1e-6, 1e6  #: of pixels in 0 to 1; beyond these float32 has no digits left


def backbone_of(content: Mapping[str, Any], where: str) -> tuple[str, InputsOf | None]:
    """The backbone's name, and what images timm trained it on if it is one of timm's."""
    from benchmark.backbones.builder import require_known
    from benchmark.backbones.timm_models import inputs_of, is_timm

    name = text(content, "backbone", where)
    try:
        require_known(name)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error
    return name, inputs_of(name) if is_timm(name) else None


def require_size(backbone: str, size: int, channels: int, where: str) -> None:
    from benchmark.backbones.builder import require_image_size

    try:
        require_image_size(backbone, size, channels)
    except RequestError as error:
        raise RequestError(f"{where}: image_size does not suit the backbone: {error}") from error


def normalisation_of(content: Mapping[str, Any], channels: int, where: str, usual: Normalisation) -> Normalisation:
    """``usual``: what stands where the file names none; None: each task's own."""
    from benchmark.data.tasks import IMAGENET_MEAN, IMAGENET_STD

    if "normalisation" not in content:
        return usual
    value = content["normalisation"]
    where = f"{where}, normalisation"
    if isinstance(value, dict):
        known_keys(value, ("mean", "std"), where)
        mean, std = numbers(value, "mean", where, channels), numbers(value, "std", where, channels)
        if min(std) <= 0:
            raise RequestError(f"{where}: every std must be above 0, not {list(std)}.")
        if min(std) < LEAST_STD or max(map(abs, mean)) > LARGEST_MEAN:
            raise RequestError(
                f"{where}: every std must be at least {LEAST_STD:g} and every mean at most {LARGEST_MEAN:g}, on pixels "
                f"in 0 to 1, not {list(std)} and {list(mean)}."
            )
        return mean, std
    if choice({"normalisation": value}, "normalisation", where, ("imagenet", "per-task")) == "per-task":
        return None
    if channels != 3:
        raise RequestError(f"{where}: imagenet needs 3 channels.")
    return IMAGENET_MEAN, IMAGENET_STD
