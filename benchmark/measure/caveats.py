"""Timing caveats: a busy or throttled device, a debug build, a processor that others share.

Nothing here stops a run (``--require-idle-gpu`` does, before it starts): caveats are recorded and shown with the times.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

from benchmark.measure.nvml import card
from benchmark.measure.provenance import cores
from benchmark.plan.execution import RunOptions
from benchmark.plan.spec import RunSpec
from results.reader import read_value
from results.schema import RECORD_NAME
from results.seal import require_seal

#: load average per core above which the processor counts as busy
BUSY_LOAD = 0.75
#: share of a GPU's time in use by others from which on it counts as busy, percent
BUSY_UTILISATION = 10
#: share of a run's processor time that others may take before it is worth a word
SHARED_LIMIT = 0.01

#: NVML's reasons for lower clocks that mean throttling (idle and chosen clocks do not)
THROTTLING = {
    0x4: "its power limit",
    0x8: "a hardware slowdown",
    0x20: "heat",
    0x40: "heat (hardware)",
    0x80: "a power brake",
}


def other_gpu_processes(chosen: Any) -> list[int] | None:
    """Process ids of others that compute on the card; None where NVML cannot tell."""
    try:
        import pynvml

        running = pynvml.nvmlDeviceGetComputeRunningProcesses(card(chosen))
    except Exception:
        return None
    return [process.pid for process in running if process.pid != os.getpid()]


def gpu_utilisation(chosen: Any) -> int | None:
    """Percent of the last moments in which the card computed, whoever for; None where NVML cannot tell."""
    try:
        import pynvml

        return int(pynvml.nvmlDeviceGetUtilizationRates(card(chosen)).gpu)
    except Exception:
        return None


def busy_gpu(chosen: Any) -> str | None:
    """In words, who else uses the card; a container may hide the process but not the utilisation."""
    others = other_gpu_processes(chosen)
    if others:
        return f"{len(others)} other process{'es' if len(others) > 1 else ''}"
    utilisation = gpu_utilisation(chosen)
    if utilisation is not None and utilisation >= BUSY_UTILISATION:
        return f"work of others that cannot be seen from here ({utilisation} % utilisation)"
    return None


def refusal(chosen: Any) -> str | None:
    """Why ``--require-idle-gpu`` refuses to start, in one sentence; None: it does not."""
    if other_gpu_processes(chosen) is None:
        return (
            "Whether the GPU is idle cannot be told without NVML; install nvidia-ml-py or leave out --require-idle-gpu."
        )
    if busy := busy_gpu(chosen):
        return f"The GPU is busy with {busy}; wait, or leave out --require-idle-gpu."
    return None


def before(chosen: Any) -> list[str]:
    """Doubts that can be known before a run starts on torch device ``chosen``."""
    import torch

    found = []
    if torch.version.debug:
        found.append("torch is a debug build")
    if sysconfig.get_config_var("Py_DEBUG"):
        found.append("Python is a debug build")
    if chosen.type == "cuda":
        if busy := busy_gpu(chosen):
            found.append(f"the GPU was busy with {busy} when the run began")
        return found
    return found + busy_cpu("began")


def busy_cpu(moment: str, own: float = 0.0) -> list[str]:
    """The caveat that others compute on the processor, if they do.

    Args:
        moment: "began" or "ended".
        own: this run's own part of the load.
    """
    load = os.getloadavg()[0]
    if load - own <= BUSY_LOAD * cores():
        return []
    return [f"the CPU was busy: load {load:.1f} on {cores()} cores when the run {moment}"]


def shared_card(workers: int) -> list[str]:
    """The caveat that runs of the same command computed on the card, too: times and joules are then of them all."""
    return [f"up to {workers} runs of one command shared the GPU"] if workers > 1 else []


def of_device(described: dict[str, Any], moment: str = "began") -> list[str]:
    """Doubts from ``provenance.device``: the card runs below its clocks. ``moment``: "began" or "ended"."""
    reasons = described.get("throttle_reasons") or 0
    return [
        f"the GPU was throttled by {text} when the run {moment}" for bit, text in THROTTLING.items() if reasons & bit
    ]


def other_devices(described: dict[str, Any], options: RunOptions, spec: RunSpec) -> list[str]:
    """Doubts from earlier runs of the same scenario in the results folder: made on another device."""
    others: dict[str, None] = {}
    for path in sorted(options.results.glob(f"{spec.scenario}-*/{RECORD_NAME}")):
        try:
            record = read_value(path)
            require_seal(record)
            if record["spec"]["scenario"] == spec.scenario and record["status"] == "finished":
                others[record["provenance"]["device"]["name"]] = None
        except (ValueError, KeyError, TypeError):
            continue  # the report names what cannot be read
    others.pop(described["name"], None)
    if not others:
        return []
    names = ", ".join(others)
    return [f"earlier runs of {spec.scenario} in this folder were made on {names}, this one on {described['name']}"]


def counters() -> dict[str, float]:
    """Processor seconds since boot: ``total`` of this machine, ``stolen`` by other virtual machines, ``throttled`` by
    the container's quota; and ``hot``, how often cores slowed themselves down. Only those that the system tells."""
    found: dict[str, float] = {}
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        hertz = os.sysconf("SC_CLK_TCK")
        found |= {"total": sum(ticks) / hertz, "stolen": ticks[7] / hertz}
    except (OSError, ValueError, IndexError):
        pass
    try:
        lines = dict(line.split() for line in Path("/sys/fs/cgroup/cpu.stat").read_text().splitlines())
        found["throttled"] = int(lines["throttled_usec"]) / 1e6
    except (OSError, ValueError, KeyError):
        pass
    try:
        hot = list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
        if hot:
            found["hot"] = float(sum(int(path.read_text()) for path in hot))
    except (OSError, ValueError):
        pass
    return found


def during(earlier: dict[str, float], later: dict[str, float], seconds: float) -> list[str]:
    """Doubts from ``counters`` around a run of ``seconds``: processor time that went to others."""
    spent = {name: later[name] - earlier[name] for name in later if name in earlier}
    found = []
    if spent.get("stolen", 0) > SHARED_LIMIT * spent.get("total", 0):
        share = 100 * spent["stolen"] / spent["total"]
        found.append(f"the CPU was shared: {share:.0f} % of its time went to other virtual machines during the run")
    if spent.get("throttled", 0) > SHARED_LIMIT * seconds:
        found.append(f"the CPU was throttled by the container's quota for {spent['throttled']:.0f} s during the run")
    if spent.get("hot", 0) > 0:
        found.append("the CPU was throttled by heat during the run")
    return found
