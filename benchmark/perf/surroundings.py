"""What a timing must be read beside: the device, torch, the threads, and how busy the machine is."""

from __future__ import annotations

import argparse
import os
import warnings

import torch

from benchmark.execute.allocator import keep_freed_blocks
from benchmark.execute.preflight import usable
from benchmark.measure.provenance import cores, cpu_name


def made_ready(args: argparse.Namespace) -> torch.device:
    """The device of ``--device``, with as many threads as ``--threads`` asks for, ready to be timed.

    Raises:
        RequestError: this torch does not see it.
    """
    warnings.filterwarnings("ignore", message="No loggers specified")
    keep_freed_blocks()
    if args.threads:
        torch.set_num_threads(args.threads)
    device: torch.device = usable(args.device)
    return device


#: load of the last minute, over the cores, from which on another process takes a part of them
BUSY = 0.6


def surroundings(device: torch.device) -> list[str]:
    """One line each; the last is a warning where the machine is busy."""
    name = device_name(device)
    if device.type == "cpu":
        name += f", {torch.get_num_threads()} of {os.cpu_count()} threads"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    lines = [f"device: {name}; torch {torch.__version__}", f"load of the machine (1, 5, 15 minutes): {load}"]
    return [*lines, *busy()]


def busy() -> list[str]:
    """A warning where the load says that others use the processor; empty on an idle machine."""
    if not hasattr(os, "getloadavg") or os.getloadavg()[0] <= BUSY * cores():
        return []
    load = f"{os.getloadavg()[0]:.1f} on {cores()} cores"
    return [f"warning: the machine is busy (load {load}); times vary with what else it does. Measure when it is idle."]


def device_name(device: torch.device) -> str:
    """The card's or the processor's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
