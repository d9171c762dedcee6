"""Which devices a request means, without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import RequestError


def device_of(wanted: str) -> str:
    """The first of ``devices_of``."""
    return devices_of(wanted)[0]


def devices_of(wanted: str) -> tuple[str, ...]:
    """The devices that runs are spread over, each once: ``auto`` is a CUDA device when driver and torch have one,
    ``cuda`` all of them. ``cpu:0,cpu:1`` are two places on the processor, for trying how runs are spread.

    Raises:
        RequestError: an unknown device, or devices of two kinds.
    """
    words = [word.strip() for word in wanted.split(",")]
    found = dict.fromkeys(name for word in words for name in _named(word, alone=len(words) == 1))
    if len({kind_of(name) for name in found}) > 1:
        raise RequestError(
            f"--device {wanted}: the runs of one command are all on one kind of device; give the command once for each."
        )
    return tuple(found)


def kind_of(name: str) -> str:
    """``cpu`` or ``cuda``, of a device with or without an index."""
    return name.partition(":")[0]


def torch_name(name: str) -> str:
    """What torch calls a device: places on the processor are all one to it."""
    return "cpu" if kind_of(name) == "cpu" else name


def _named(word: str, alone: bool) -> tuple[str, ...]:
    if word == "auto" and alone:
        return ("cuda:0" if _has_cuda() else "cpu",)
    kind, colon, index = word.partition(":")
    if kind == "mps":
        raise RequestError(f"--device {word} is not supported: its sums were never checked; choose cpu.")
    if kind not in ("cpu", "cuda") or (colon and not (index.isascii() and index.isdecimal() and len(index) < 5)):
        raise RequestError(f"--device {word!r} is unknown; choose auto, cpu, cuda, cuda:N, or several with commas.")
    if kind == "cuda" and not colon:
        return tuple(f"cuda:{at}" for at in range(max(1, _cards())))
    return (f"{kind}:{int(index)}" if colon else kind,)


def _cards() -> int:
    """How many cards torch will see, as far as driver and environment tell."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([word for word in visible.split(",") if word.strip() not in ("", "-1")])
    folder = Path("/proc/driver/nvidia/gpus")
    try:
        return len(list(folder.iterdir()))
    except OSError:
        return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _has_cuda() -> bool:
    """The driver shows a card, nobody hides it, and the installed torch is no build for the CPU alone."""
    from importlib import metadata

    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    if not (Path("/proc/driver/nvidia/gpus").is_dir() or Path("/dev/nvidia0").exists()):
        return False
    try:
        return not metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False
