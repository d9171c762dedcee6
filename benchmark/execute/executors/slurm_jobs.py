"""Which job of SLURM carries out which runs: one small file an array, below ``<results>/.slurm``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.execute.executors.interface import Job
from benchmark.execute.executors.slurm_task import Chunk
from benchmark.plan.slurm_option import SlurmOptions
from results.atomic import write_json
from results.reader import read_value
from results.schema import SchemaError

FOLDER = ".slurm"

#: seconds before a job's end at which SLURM warns it, of a long enough job
WARNING = 90
#: how often submitit may queue a job again; what a run gets further each time is looked at instead
REQUEUES = 100_000


def folder_of(results: Path) -> Path:
    """Where jobs are described, and what they print."""
    return results / FOLDER


def submit(results: Path, options: SlurmOptions, chunks: Sequence[Sequence[Job]]) -> dict[str, list[Job]]:
    """Submit one array, a job for every group of runs.

    Returns:
        The runs of every job, by its id (``12_3``; of an array of one ``12``).

    Raises:
        RequestError: SLURM takes no such job.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    from benchmark.errors import RequestError
    from benchmark.execute.executors.slurm_queue import JOB_NAME, flags, refusal

    folder = folder_of(results)
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=REQUEUES)
    how = chunks[0][0].options
    asked = {"cpus-per-task": str((how.threads or 1) * how.workers), **flags(options)}
    executor.update_parameters(
        time=options.time,
        job_name=JOB_NAME,
        array_parallelism=options.parallel,
        signal_delay_s=min(WARNING, options.time * 15),
        setup=[*options.setup, f"export SRUN_CPUS_PER_TASK={asked['cpus-per-task']}"],
        additional_parameters={"requeue": True, **asked},
    )
    try:
        with executor.batch():
            submitted = [executor.submit(Chunk(chunk)) for chunk in chunks]
        names = [str(job.job_id) for job in submitted]
    except (FailedJobError, FailedSubmissionError) as error:
        raise RequestError(refusal(str(error))) from error
    array = names[0].partition("_")[0]
    runs = {name: [job.spec.run_id for job in chunk] for name, chunk in zip(names, chunks, strict=True)}
    write_json(folder / f"{array}.json", runs)
    for link in folder.glob(".submission_file_*.sh"):
        link.unlink(missing_ok=True)
    return {name: list(chunk) for name, chunk in zip(names, chunks, strict=True)}


def known(results: Path) -> dict[str, list[str]]:
    """Run ids of every job that was submitted for this folder and not forgotten yet, by the job's id."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder_of(results).glob("*.json")):
        with suppress(SchemaError):
            found |= _checked(read_value(path))
    return found


def _checked(value: Any) -> dict[str, list[str]]:
    """What ``submit`` wrote; nothing of what it did not."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name): [str(run) for run in runs] for name, runs in value.items() if isinstance(runs, list)}


def forget(results: Path, alive: Sequence[str], finished: Sequence[str]) -> None:
    """Remove the files of arrays none of whose jobs is alive, and what jobs printed all of whose runs are finished."""
    folder = folder_of(results)
    for path in folder.glob("*.json"):
        try:
            runs = _checked(read_value(path))
        except SchemaError:
            continue
        if set(runs) & set(alive):
            continue
        done = [name for name, ids in runs.items() if set(ids) <= set(finished)]
        for name in done:
            for left in folder.glob(f"{name}_*"):
                left.unlink(missing_ok=True)
        if len(done) == len(runs):
            for left in folder.glob(f"{path.stem}_*"):
                left.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
