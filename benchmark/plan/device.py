"""Which device a request means, without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import RequestError


def device_of(wanted: str) -> str:
    """``auto`` resolved: a CUDA device when driver and torch have one. Raises RequestError."""
    if wanted == "auto":
        return "cuda:0" if _has_cuda() else "cpu"
    kind, _, index = wanted.partition(":")
    if kind == "mps":
        raise RequestError(f"--device {wanted} is not supported: its sums were never checked; choose cpu.")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise RequestError(f"--device {wanted!r} is unknown; choose auto, cpu, cuda or cuda:N.")
    return f"cuda:{index or 0}" if kind == "cuda" else "cpu"


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
