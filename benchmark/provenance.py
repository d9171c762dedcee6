"""Where and with what a run was made: enough to repeat it, and to know which numbers may stand side by side."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("maskbench", "torch", "torchvision", "avalanche-lib", "numpy", "safetensors", "pandas")

#: load average per core above which times are not to be trusted
BUSY_LOAD = 0.75


def packages() -> dict[str, str]:
    """Installed versions of what a run depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that ``folder`` lies in; None outside one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def cpu_name() -> str:
    """The processor's own name for itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def host() -> dict[str, Any]:
    """Processor, cores this process may use, system, torch threads, and the load before the run."""
    import torch

    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "os": platform.platform(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "shared": _shared_cpu(),
    }


def _shared_cpu() -> bool:
    """This looks like a virtual machine or a container with a CPU quota: times may be throttled from outside."""
    try:
        quota = Path("/sys/fs/cgroup/cpu.max").read_text().split()[0]
    except OSError:
        quota = "max"
    try:
        hypervisor = "hypervisor" in Path("/proc/cpuinfo").read_text()
    except OSError:
        hypervisor = False
    return quota != "max" or hypervisor


def device(chosen: Any) -> dict[str, Any]:
    """Name, driver, memory and power limit of a torch device; the CPU's name for "cpu"."""
    import torch

    if chosen.type != "cuda":
        return {"type": "cpu", "name": cpu_name(), "driver": None, "power_limit_watts": None}
    properties = torch.cuda.get_device_properties(chosen)
    found: dict[str, Any] = {
        "type": "cuda",
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "driver": None,
        "power_limit_watts": None,
    }
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(chosen.index or 0)
        found["driver"] = _text(pynvml.nvmlSystemGetDriverVersion())
        found["power_limit_watts"] = pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        found["throttle_reasons"] = int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    except Exception:  # noqa: BLE001  no NVML: the fields stay null
        pass
    return found


def other_gpu_processes(chosen: Any) -> list[int] | None:
    """Process ids of others that compute on the card; None where NVML cannot tell."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(chosen.index or 0)
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except Exception:  # noqa: BLE001
        return None
    return [process.pid for process in running if process.pid != os.getpid()]


def notes(chosen: Any) -> list[str]:
    """What makes the times of a run started now doubtful; shown with them."""
    import torch

    found = []
    if torch.version.debug:
        found.append("torch is a debug build")
    if chosen.type == "cuda":
        others = other_gpu_processes(chosen)
        if others:
            found.append(f"the GPU was busy with {len(others)} other process{'es' if len(others) > 1 else ''}")
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        load = os.getloadavg()[0]
        if load > BUSY_LOAD * cores:
            found.append(f"the CPU was busy: load {load:.1f} on {cores} cores when the run began")
    return found


def provenance(chosen: Any, command: str) -> dict[str, Any]:
    """The record's ``provenance``, but for the times, which the runner adds."""
    return {
        "command": command or " ".join(sys.argv),
        "git": git_state(Path(__file__).parent),
        "packages": packages(),
        "host": host(),
        "device": device(chosen),
        "notes": notes(chosen),
    }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
