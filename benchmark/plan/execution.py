"""How runs are carried out: what users say of it, and what a run's process is told. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.plan.options import HOW, option
from benchmark.plan.slurm_option import read_slurm
from methods.engine.knobs import knob


@dataclass(frozen=True)
class Execution:
    """Where and how runs are carried out; of it only device and threads can change a number, by rounding."""

    results: Path = option(Path("results/runs"), "folder that gets one folder a run", group=HOW, metavar="DIR")
    data_root: Path | None = option(
        None, "folder with the data", group=HOW, metavar="DIR", told="$BENCHMARK_DATA_ROOT, else ./data"
    )
    device: str = option("auto", "auto, cpu, cuda:N, several with commas, or cuda: all cards", group=HOW, metavar="D")
    workers: int = option(1, "runs at a time on each device", group=HOW, metavar="N", at_least=1)
    executor: str = option(
        "process", "process: a child process a run; slurm: jobs of a cluster; local: in this process, for debugging",
        group=HOW, metavar="E", choices=("process", "slurm", "local"),
    )  # fmt: skip
    slurm: Mapping[str, Any] | None = option(
        None, "what --executor slurm asks for: partition=NAME, time=MINUTES, gpus, cpus, memory (GB), constraint, "
        "account, qos, exclude, parallel (jobs at a time), chunk (runs a job), tries", group=HOW,
        metavar="NAME=VALUE,…", reader=read_slurm,
    )  # fmt: skip
    threads: int = option(
        0,
        "CPU threads per run",
        group=HOW,
        metavar="N",
        told="what suits the scenario, else torch's choice",
        at_most=1024,
    )
    plugins: tuple[str, ...] = option(
        (), "take the methods of this module too, repeatable", group=HOW, word="plugin", metavar="MODULE"
    )
    log: tuple[str, ...] = option(
        (), "write logs for tensorboard, wandb or as csv too, repeatable, comma lists", group=HOW, metavar="TOOL",
        choices=("tensorboard", "wandb", "csv"), also=("logger", "loggers", "tensorboard", "wandb"),
    )  # fmt: skip
    keep_weights: str = option(
        "tasks", "which learned weights stay: all, none, or tasks: all but whole networks; those that other runs start "
        "from stay anyway", group=HOW, metavar="W",
        choices=("tasks", "all", "none"),
    )  # fmt: skip
    download: bool = option(False, "let torchvision fetch CIFAR-100 into the data root", group=HOW, everywhere=False)
    force: bool = option(False, "repeat finished runs", group=HOW, everywhere=False)
    resume: bool = option(True, "start unfinished runs afresh", group=HOW, everywhere=False)
    require_idle_gpu: bool = option(
        False, "refuse when another process computes on the GPU", group=HOW, everywhere=False
    )


@dataclass(frozen=True)
class RunOptions(Execution):
    """How one run is carried out, resolved."""

    device: str = "cpu"  #: the run's own, with an index where there are several
    scenario_source: str = ""  #: what ``load_scenario`` takes: the name, or the YAML file's path
    weights: Path | None = None
    command: str = ""
    data_sha256: str = ""  #: of what the runs read: a run that another process finishes on it meanwhile is not repeated
    measure: str = knob("full", "minimal leaves out memory, energy and CUDA events", choices=("full", "minimal"))
    checkpoint_seconds: float = knob(60.0, "least time between two checkpoints within a task", "seconds")

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value."""
        values = dataclasses.asdict(self)
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
