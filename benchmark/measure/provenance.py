"""Where and with what a run was made: enough to repeat it, and to know which numbers may stand side by side."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.backbones.timm_models import is_timm
from benchmark.measure.nvml import card
from benchmark.plan.execution import RunOptions
from benchmark.plan.spec import RunSpec

PACKAGES = ("maskbench", "torch", "torchvision", "avalanche-lib", "numpy", "safetensors", "pandas")


def packages(backbone: str) -> dict[str, str]:
    """Installed versions of what a run on that backbone depends on; torch's with its build, which changes numbers,
    too."""
    import torch

    found = {"python": platform.python_version()}
    for name in (*PACKAGES, "timm") if is_timm(backbone) else PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | {"torch": str(torch.__version__)}


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
        "cores": cores(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "os": platform.platform(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "shared": _shared_cpu(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shared_cpu() -> bool:
    """A virtual machine, or a container with a CPU quota: others may take part of the processor."""
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
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": None,
        "power_limit_watts": None,
    }
    try:
        import pynvml

        handle = card(chosen)
        found["driver"] = _text(pynvml.nvmlSystemGetDriverVersion())
        found["power_limit_watts"] = pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        found["throttle_reasons"] = int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    except Exception:  # no NVML: the fields stay null
        pass
    return found


def flags() -> dict[str, Any]:
    """Switches of torch that change numbers or times."""
    import torch

    return {
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def provenance(chosen: Any, options: RunOptions, spec: RunSpec) -> dict[str, Any]:
    """The record's ``provenance`` as far as it is known when the run starts on torch device ``chosen``.

    ``notes`` are the timing caveats, in words; the report shows them.
    """
    from benchmark.measure import caveats

    found_caveats = caveats.before(chosen)
    described = device(chosen)
    return {
        "command": options.command or " ".join(sys.argv),
        "git": git_state(Path(__file__).parent),
        "packages": packages(spec.backbone.name),
        "host": host(),
        "device": described,
        "flags": flags(),
        "options": options.to_json(),
        "notes": found_caveats
        + caveats.of_device(described)
        + (caveats.shared_card(options.workers) if chosen.type == "cuda" else [])
        + caveats.other_devices(described, options, spec),
        "counters": caveats.counters(),
        **slurm(),
    }


def slurm() -> dict[str, Any]:
    """Job and node of SLURM that this process runs in; nothing outside one."""
    names = {"job": "SLURM_JOB_ID", "array": "SLURM_ARRAY_JOB_ID", "task": "SLURM_ARRAY_TASK_ID",
             "node": "SLURMD_NODENAME", "restarts": "SLURM_RESTART_COUNT"}  # fmt: skip
    found = {key: os.environ[name] for key, name in names.items() if name in os.environ}
    return {"slurm": found} if "job" in found else {}


def of_session(facts: dict[str, Any]) -> dict[str, Any]:
    """What one session of a run was carried out on, for the checkpoints of the sessions to come."""
    kept = {key: facts.get(key) for key in ("started", "git", "packages", "device", "notes")}
    return kept | {"threads": facts["host"]["threads"], "cpu": facts["host"]["cpu"]}


def notes_of_sessions(sessions: list[dict[str, Any]], notes: list[str]) -> list[str]:
    """The notes of a whole run: of every session, and where the last was not carried out on what the first was.

    Args:
        sessions: ``of_session`` of each; at least one.
        notes: of the last one, with what ``afterwards`` found.
    """
    first, last = sessions[0], sessions[-1]
    found = dict.fromkeys(note for session in sessions[:-1] for note in session["notes"])
    kinds = {"device": "device", "CPU": "cpu", "threads": "threads", "commit": "git", "versions": "packages"}
    for what, key in kinds.items():
        if first[key] != last[key] and _telling(key, first[key]) != _telling(key, last[key]):
            found[f"the run was interrupted and went on with other {what}: its times mix both"] = None
    return list(found | dict.fromkeys(notes))


def _telling(key: str, fact: Any) -> Any:
    """What of a fact makes two sessions different: of a device not its temperature's mark."""
    if key == "device" and isinstance(fact, dict):
        return fact.get("name"), fact.get("driver")
    return fact


def afterwards(chosen: Any, facts: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What ``facts`` of ``provenance`` gain from the run of ``seconds`` on torch device ``chosen``: the notes, with
    whether others took the processor or the card, and whether the card was still throttled at its end."""
    from benchmark.measure import caveats

    later = caveats.counters()
    earlier = facts.pop("counters", later)
    notes = facts["notes"] + caveats.during(earlier, later, seconds)
    if facts["device"]["type"] == "cpu":
        notes += caveats.busy_cpu("ended", own=facts["host"]["threads"])
    else:
        notes += caveats.of_device(device(chosen), "ended")
        if others := caveats.other_gpu_processes(chosen):
            notes.append(
                f"{len(others)} other process{'es' if len(others) > 1 else ''} used the GPU when the run ended"
            )
    return {"notes": notes}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
