"""Peak memory of one contender: what building it and training a pass add to what was there before."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from benchmark.allocator import give_back_freed_blocks

Built = TypeVar("Built")


def with_peak(work: Callable[[], Built], device: torch.device) -> tuple[Built, int]:
    """``work()`` and the bytes it added at its peak.

    On a GPU what torch allocated, exactly; on the CPU resident memory, which freed blocks that the process still holds
    make look smaller: read it as a magnitude.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        built = work()
        torch.cuda.synchronize(device)
        return built, torch.cuda.max_memory_allocated(device) - before
    give_back_freed_blocks()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass
    before = _status("VmRSS")
    built = work()
    return built, max(0, _status("VmHWM") - before)


def _status(key: str) -> int:
    """A line of this process's status, in bytes; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":")), 0)
