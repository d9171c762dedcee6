"""Peak memory of one contender: the bytes of tensors that building it and training a pass add at their peak."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from itertools import accumulate
from typing import Any, TypeVar

import torch

Built = TypeVar("Built")


def with_peak(work: Callable[[], Built], device: torch.device) -> tuple[Built, int]:
    """``work()`` and the bytes of tensors it added at its peak: what torch's allocator gave, exactly.

    On a GPU by the allocator's own counters, on the CPU by those of torch's profiler; libraries' scratch memory is in
    neither.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        built = work()
        torch.cuda.synchronize(device)
        return built, torch.cuda.max_memory_allocated(device) - before
    from torch.profiler import ProfilerActivity, profile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            built = work()
    return built, peak_of(profiler)


def peak_of(profiler: Any) -> int:
    """The highest sum, bytes, of what was allocated and not yet freed while a torch profiler watched."""
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate(change for _, change in changes), default=0)
