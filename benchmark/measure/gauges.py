"""What is read beside the clock at a phase's edges: peak memory, energy, and the CUDA device's own time.

A small network changes phases a hundred times a second, so every reading here costs microseconds: files stay open,
and slow counters are read at most every ``SLOW_SECONDS``.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.measure.clock import Gauge
from benchmark.measure.nvml import card

#: energy counters advance about ten times a second; asking them more often costs time and tells nothing
SLOW_SECONDS = 0.05

#: what ``ru_maxrss`` counts in: macOS bytes, Linux KiB
MAXRSS_BYTES = 1.0 if sys.platform == "darwin" else 1024.0


class ResidentMemory:
    """Peak resident memory of the process within a phase, bytes (Linux: the kernel's high-water mark, reset).

    The process keeps what it frees (``benchmark.execute.allocator``): the mark of a phase that follows training is not
    below what training left.
    Where the mark cannot be reset it is the peak since the process began.
    """

    def __init__(self) -> None:
        self._reset: int | None = None
        with suppress(OSError):
            self._reset = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)

    def start(self) -> None:
        """Reset the high-water mark where the system lets us."""
        if self._reset is not None:
            with suppress(OSError):
                os.write(self._reset, b"5")

    def stop(self) -> dict[str, float]:
        """The mark since ``start``."""
        return {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES}


class CudaMemory:
    """Peak allocated and reserved bytes on one CUDA device within a phase."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def start(self) -> None:
        """Reset torch's peak counters."""
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)

    def stop(self) -> dict[str, float]:
        """The peaks since ``start``."""
        import torch

        statistics = torch.cuda.memory_stats_as_nested_dict(self._device)  # ``memory_stats`` sorts a hundred names
        return {
            f"peak_{kind}_bytes": float(statistics.get(f"{kind}_bytes", {}).get("all", {}).get("peak", 0))
            for kind in ("allocated", "reserved")
        }


class CudaEvents:
    """The same phases timed by CUDA events, as a check on the host's clock.

    Both events are recorded at edges, where the device has just been waited for: reading them back waits for nothing.
    """

    def __init__(self, device: Any) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._first: Any = None

    def start(self) -> None:
        """Record an event at the phase's edge."""
        self._first = self._record()

    def stop(self) -> dict[str, float]:
        """Seconds on the device between the edges."""
        last = self._record()
        last.synchronize()
        return {"cuda_seconds": self._first.elapsed_time(last) / 1000}

    def _record(self) -> Any:
        event: Any = self._torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(self._torch.cuda.current_stream(self._device))
        return event


class Energy:
    """Joules by a counter that only grows.

    The sum over all phases is exact; a phase of less than ``SLOW_SECONDS`` may find its share in its neighbour's.
    """

    def __init__(self, joules: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> None:
        self._joules, self._clock = joules, clock
        self._read_at = float("-inf")
        self._value = self._before = 0.0

    def _now(self) -> float:
        now = self._clock()
        if now - self._read_at >= SLOW_SECONDS:
            self._value, self._read_at = self._joules(), now
        return self._value

    def start(self) -> None:
        """Remember the counter."""
        self._before = self._now()

    def stop(self) -> dict[str, float]:
        """Joules since ``start``."""
        return {"joules": self._now() - self._before}


def gpu_joules(device: Any) -> Callable[[], float] | None:
    """NVML's energy counter of one card (the whole card, not this process alone); None where it has none."""
    try:
        import pynvml

        handle = card(device)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no NVML, or a card without the counter: energy stays null
        return None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000


class CpuCounters:
    """Joules of the CPU packages since this object was made (Linux RAPL), over the counters' wrap-around."""

    def __init__(self, packages: list[Path]) -> None:
        self._counters = [package / "energy_uj" for package in packages]
        self._ranges = [int((package / "max_energy_range_uj").read_text()) for package in packages]
        self._last = self._read()
        self._total = 0

    def _read(self) -> list[int]:
        return [int(counter.read_text()) for counter in self._counters]

    def __call__(self) -> float:
        """Joules so far."""
        now = self._read()
        self._total += sum((new - old) % span for new, old, span in zip(now, self._last, self._ranges, strict=True))
        self._last = now
        return self._total / 1e6


def cpu_joules(root: Path = Path("/sys/class/powercap")) -> CpuCounters | None:
    """The package counters; None where there are none or this user may not read them."""
    packages = [folder for folder in sorted(root.glob("intel-rapl:*")) if folder.name.count(":") == 1]
    try:
        return CpuCounters(packages) if packages else None
    except (OSError, ValueError):
        return None


def gauges_for(device: Any, measure: str) -> tuple[Gauge, ...]:
    """The gauges of a torch device; none under ``measure`` "minimal"."""
    if measure == "minimal":
        return ()
    cuda = device.type == "cuda"
    memory: tuple[Gauge, ...] = (CudaEvents(device), CudaMemory(device)) if cuda else (ResidentMemory(),)
    joules = gpu_joules(device) if cuda else cpu_joules()
    return memory if joules is None else (*memory, Energy(joules))
