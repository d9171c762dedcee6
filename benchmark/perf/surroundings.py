"""What a timing must be read beside: the device, torch, the threads, and how busy the machine is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def surroundings(device: torch.device) -> list[str]:
    """One line each."""
    name = device_name(device)
    if device.type == "cpu":
        name += f", {torch.get_num_threads()} of {os.cpu_count()} threads"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return [f"device: {name}; torch {torch.__version__}", f"load of the machine (1, 5, 15 minutes): {load}"]


def device_name(device: torch.device) -> str:
    """The card's or the processor's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
