"""What SLURM's own commands say: whether there is one, what is in the queue, and why."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.errors import RequestError
from benchmark.plan.slurm_option import SlurmOptions

#: the name of every job
JOB_NAME = "maskbench"

#: states in which a job is still to run, runs, or is about to run again
ALIVE = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT",
         "RESIZING", "REQUEUED", "REQUEUE_FED")  # fmt: skip

#: reasons of a waiting job that no waiting ends; what a person held or closed, a person may let go again
HOPELESS = re.compile(
    r"PartitionTimeLimit|PartitionConfig|PartitionNodeLimit|BadConstraints|AccountingPolicy"
    r"|Invalid\w*|JobHoldMaxRequeue|JobLaunchFailure|launch failed.*held.*|\w*(PerJob|PerNode)Limit"
    r"|Assoc(Max|Grp)Wall\w*|QOS(Max|Min)?(Wall|Time)\w*|QOSNotAllowed|DependencyNeverSatisfied"
)

#: seconds that a command of SLURM may take
PATIENCE = 60


@dataclass(frozen=True)
class Standing:
    """Where a job stands: its state, and SLURM's reason for it."""

    state: str
    reason: str

    @property
    def alive(self) -> bool:
        """It runs, or will without anybody's doing."""
        return self.state in ALIVE

    @property
    def hopeless(self) -> bool:
        """It waits for what will not come."""
        return self.state == "PENDING" and HOPELESS.fullmatch(self.reason) is not None

    def __str__(self) -> str:
        return self.state + (f" ({self.reason})" if self.reason not in ("", "None") else "")


def require_slurm(options: SlurmOptions) -> None:
    """SLURM is here and takes jobs of this kind; nothing is submitted.

    Raises:
        RequestError: no SLURM, no submitit, no such partition, or whatever else SLURM has against it.
    """
    require_commands()
    words = ["sbatch", "--test-only", f"--time={options.time}", "--wrap=true"]
    words += [f"--{name}={value}" for name, value in flags(options).items()]
    done = _said(words)
    if done.returncode:
        raise RequestError(refusal(done.stderr))


def require_commands() -> None:
    """Raises RequestError: SLURM or submitit is not here."""
    import importlib.util

    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        raise RequestError(
            "--executor slurm needs SLURM's sbatch and squeue, which are not here; give the command on a login node of "
            "a cluster, or leave out --executor."
        )
    if importlib.util.find_spec("submitit") is None:
        raise RequestError("--executor slurm needs submitit: pip install 'maskbench[slurm]'.")


def flags(options: SlurmOptions) -> dict[str, str]:
    """Options of sbatch that decide where a job may run, by their long name."""
    names = {"partition": options.partition, "constraint": options.constraint, "account": options.account,
             "qos": options.qos, "exclude": options.exclude, "gpus-per-node": options.gpus or None,
             "cpus-per-task": options.cpus}  # fmt: skip
    memory = None if options.memory is None else f"{max(1, round(options.memory * 1024))}M"
    return {name: str(value) for name, value in {**names, "mem": memory}.items() if value is not None}


def refusal(said: str) -> str:
    """Why sbatch takes no job, in a sentence, from what it said."""
    lines = [re.sub(r"^(sbatch|srun|slurm_\w+): (error|fatal): ", "", line.strip()) for line in said.splitlines()]
    told = [line.removeprefix("Batch job submission failed: ").removeprefix("allocation failure: ") for line in lines]
    told = list(dict.fromkeys(line.rstrip(".") for line in told if line and "sleeping and retrying" not in line))
    why = "; ".join(told[-3:]) or "it says nothing"
    return f"SLURM takes no such job ({why}); change --slurm, or look at 'sinfo' and 'squeue'."


def require_room(jobs: int) -> None:
    """Raises RequestError: the queue holds so many jobs that it will not take these."""
    most = limits().get("MaxJobCount")
    there = _said(["squeue", "--noheader", "--array", "--format=%i"]).stdout.count("\n")
    if most is not None and there + jobs > most:
        raise RequestError(
            f"SLURM's queue is full: it takes {most} jobs, {there} are there and {jobs} more are asked for; wait, or "
            "put more runs into a job with --slurm chunk=N."
        )


def limits() -> dict[str, int]:
    """Whole numbers of SLURM's configuration, by name; empty where it does not tell."""
    found = re.findall(r"^(\w+)\s*=\s*(\d+)\b", _said(["scontrol", "show", "config"]).stdout, re.M)
    return {name: int(value) for name, value in found}


def standings() -> dict[str, Standing] | None:
    """The user's jobs of this name that SLURM remembers, by id (``12_3`` of an array); None: it does not answer."""
    words = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--name={JOB_NAME}"]
    done = _said([*words, "--format=%i|%T|%r"])
    if done.returncode:
        return None
    found = {}
    for line in done.stdout.splitlines():
        name, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        found[name] = Standing(state, reason)
    return found


def cancel(jobs: Sequence[str]) -> None:
    """End jobs."""
    if jobs:
        _said(["scancel", *jobs])


def _said(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What a command said; one that does not answer has failed."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", f"{words[0]} does not answer ({type(error).__name__})")
