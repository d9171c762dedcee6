"""Where a run's seconds go: named phases per task, the device synchronised at phase edges only (MEASURING.md)."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

#: phases of a run; anything else would be a typing slip
PHASES = ("load", "warm-up", "task-1 network", "goal", "train", "prune", "choose", "retrain", "eval", "save")

#: phases outside any task are kept under this name
RUN = "run"


class Gauge(Protocol):
    """Something read beside the clock: memory or energy."""

    def start(self) -> None:
        """A phase begins."""

    def stop(self) -> dict[str, float]:
        """It ends: readings by name; names that start with "peak" are maxima, all others sums."""


@dataclass
class Stopwatch:
    """Seconds, peaks and energies by task and phase. A phase inside a phase interrupts the outer one.

    Attributes:
        synchronise: waits until the device is done; called at every edge.
        gauges: read at every edge.
        task: whose phases are timed; ``RUN`` outside any task.
    """

    synchronise: Callable[[], None] = lambda: None
    gauges: tuple[Gauge, ...] = ()
    task: str = RUN
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    readings: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    wall_before: float = 0.0
    _started: float = field(default_factory=time.perf_counter)
    _open: list[str] = field(default_factory=list)
    _edge: float = 0.0

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time one phase of the current task."""
        if phase not in PHASES:
            raise ValueError(f"there is no phase {phase!r}; phases are {', '.join(PHASES)}")
        if self._open:
            self._close(self._open[-1])
        self._open.append(phase)
        self._begin()
        try:
            yield
        finally:
            self._close(self._open.pop())
            if self._open:
                self._begin()

    def _begin(self) -> None:
        self.synchronise()
        for gauge in self.gauges:
            gauge.start()
        self._edge = time.perf_counter()

    def _close(self, phase: str) -> None:
        self.synchronise()
        elapsed = time.perf_counter() - self._edge
        phases = self.seconds.setdefault(self.task, {})
        phases[phase] = phases.get(phase, 0.0) + elapsed
        readings = self.readings.setdefault(self.task, {}).setdefault(phase, {})
        for gauge in self.gauges:
            for name, value in gauge.stop().items():
                before = readings.get(name, 0.0)
                readings[name] = max(before, value) if name.startswith("peak") else before + value

    @property
    def wall_seconds(self) -> float:
        """Since the run began in its process, earlier sittings of a resumed run counted up to their checkpoint."""
        return self.wall_before + time.perf_counter() - self._started

    @property
    def accounted_seconds(self) -> float:
        """All phases of all tasks together."""
        return sum(sum(phases.values()) for phases in self.seconds.values())

    def state(self) -> dict[str, Any]:
        """For a checkpoint; the phase under way counts up to now."""
        open_phase = self._open[-1] if self._open else None
        if open_phase is not None:
            self._close(open_phase)
            self._begin()
        return {"seconds": self.seconds, "readings": self.readings, "wall": self.wall_seconds}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where a checkpoint stood: its work is counted once, lost work not at all."""
        self.seconds = {task: dict(phases) for task, phases in state["seconds"].items()}
        self.readings = {
            task: {phase: dict(values) for phase, values in phases.items()}
            for task, phases in state["readings"].items()
        }
        self.wall_before = state["wall"]
        self._started = time.perf_counter()


class ResidentMemory:
    """Peak resident memory of the process within a phase, bytes (Linux: the kernel's high-water mark, reset)."""

    def __init__(self) -> None:
        self._reset = Path("/proc/self/clear_refs")
        self._status = Path("/proc/self/status")

    def start(self) -> None:
        """Reset the high-water mark where the system lets us."""
        try:
            self._reset.write_text("5")
        except OSError:
            pass

    def stop(self) -> dict[str, float]:
        """The mark since ``start`` (or since the process began, where it cannot be reset)."""
        try:
            for line in self._status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return {"peak_rss_bytes": float(line.split()[1]) * 1024}
        except OSError:
            pass
        return {"peak_rss_bytes": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024}


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

        return {
            "peak_allocated_bytes": float(torch.cuda.max_memory_allocated(self._device)),
            "peak_reserved_bytes": float(torch.cuda.max_memory_reserved(self._device)),
        }


class CudaEvents:
    """The same phases timed by CUDA events, as a check on the host's clock."""

    def __init__(self, device: Any) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._first: Any = None

    def start(self) -> None:
        """Record an event at the phase's edge."""
        self._first = self._torch.cuda.Event(enable_timing=True)
        self._first.record(self._torch.cuda.current_stream(self._device))

    def stop(self) -> dict[str, float]:
        """Seconds on the device between the edges."""
        last = self._torch.cuda.Event(enable_timing=True)
        last.record(self._torch.cuda.current_stream(self._device))
        last.synchronize()
        return {"cuda_seconds": self._first.elapsed_time(last) / 1000}


class GpuEnergy:
    """Joules of one NVIDIA card (NVML's total energy counter; the whole card, not this process alone)."""

    def __init__(self, handle: Any, nvml: Any) -> None:
        self._handle, self._nvml = handle, nvml
        self._before = 0.0

    def start(self) -> None:
        """Read the counter."""
        self._before = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000

    def stop(self) -> dict[str, float]:
        """Joules since ``start``."""
        return {"joules": self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000 - self._before}


class CpuEnergy:
    """Joules of the CPU packages (Linux RAPL counters), where this user may read them."""

    ROOT = Path("/sys/class/powercap")

    def __init__(self, counters: list[Path]) -> None:
        self._counters = counters
        self._before: list[int] = []

    @classmethod
    def find(cls) -> CpuEnergy | None:
        """The package counters, None where there are none or they cannot be read."""
        counters = sorted(cls.ROOT.glob("intel-rapl:[0-9]*/energy_uj"))
        try:
            for counter in counters:
                counter.read_text()
        except OSError:
            return None
        return cls(counters) if counters else None

    def start(self) -> None:
        """Read the counters."""
        self._before = [int(counter.read_text()) for counter in self._counters]

    def stop(self) -> dict[str, float]:
        """Joules since ``start``; a counter that wrapped around gives nothing."""
        now = [int(counter.read_text()) for counter in self._counters]
        spent = [after - before for before, after in zip(self._before, now, strict=True)]
        return {"joules": sum(item for item in spent if item >= 0) / 1e6}


def gauges_for(device: Any, measure: str) -> tuple[Gauge, ...]:
    """The gauges of a torch device; none under ``measure`` "minimal"."""
    if measure == "minimal":
        return ()
    if device.type == "cuda":
        gauges: list[Gauge] = [CudaEvents(device), CudaMemory(device)]
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(device.index or 0)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            gauges.append(GpuEnergy(handle, pynvml))
        except Exception:  # noqa: BLE001  no NVML, or a card without the counter: energy stays null
            pass
        return tuple(gauges)
    energy = CpuEnergy.find()
    return (ResidentMemory(), energy) if energy else (ResidentMemory(),)
