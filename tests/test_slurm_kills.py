"""Jobs of a real SLURM that end too early, and the command that follows them: runs go on with the same numbers."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_slurm import REPOSITORY
from real_slurm import cluster as cluster  # the fixture
from small_runs import leftovers, numbers, run_here, small_options, small_spec, stored

from benchmark.execute.store import run_folder
from results.schema import RunRecord

#: a run that takes a while, and one that takes longer than SLURM waits before it ends a job by force (30 s)
LONG: dict[str, Any] = {"tasks": 2, "epochs": 150, "train_limit": None}
LONGER: dict[str, Any] = {"tasks": 1, "epochs": 1500, "train_limit": None}
#: a run that outlasts a job of one minute, half of which SLURM's warning and the imports take
BETWEEN: dict[str, Any] = {"tasks": 1, "epochs": 500, "train_limit": None}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], tuple[RunRecord, Path]]:
    """What an undisturbed run learns, and its folder."""

    @functools.cache
    def made(epochs: int) -> tuple[RunRecord, Path]:
        results = tmp_path_factory.mktemp("calm")
        record, _ = run_here(
            small_spec("packnet", **next(how for how in (LONG, LONGER, BETWEEN) if how["epochs"] == epochs)),
            small_options(results),
        )
        return record, results / record.run_id

    return lambda how: made(how["epochs"])


def is_step_of(process: psutil.Process, tasks: list[str]) -> bool:
    """Whether this is the process that one of these jobs' scripts started through srun."""
    try:
        of_a_job = process.environ().get("SLURM_JOB_ID") in tasks and process.name() != "srun"
        return of_a_job and "submitit.core._submit" in process.cmdline()
    except psutil.Error:
        return False


def heed_interrupts() -> None:
    """A test run in the background ignores Ctrl-C, and what it starts would, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Followed:
    """A command that submits one longer run and follows it, and what an undisturbed run learns."""

    def __init__(self, place: Path, calm: Any, how: dict[str, Any], slurm: str = "time=60") -> None:
        self.results, self.slurm = place / "runs", slurm
        self.spec = small_spec("packnet", **how)
        self.calm, self.calm_folder = calm(how)
        self.command = self.start()

    def start(self) -> subprocess.Popen[str]:
        spec = self.spec
        words = ["run", "--method", "packnet", "--tasks", str(len(spec.task_indices)), "--threads", "1"]
        words += ["--epochs", str(spec.settings.epochs)]
        words += ["--keep-weights", "all", "--set", "run.checkpoint_seconds=0.5", "--results", str(self.results)]
        words += ["--executor", "slurm", "--slurm", self.slurm]
        return subprocess.Popen(
            [sys.executable, "-m", "benchmark", *words],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"},
            cwd=self.results.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=heed_interrupts,
        )  # fmt: skip

    @property
    def events(self) -> list[dict[str, Any]]:
        path = run_folder(self.results, self.spec.run_id).events
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def wait_until(self, what: Callable[[], bool], seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.events[-3:]
            assert self.command.poll() is None, self.command.communicate()[0]
            time.sleep(0.05)

    def learning(self) -> bool:
        """It has learned for three epochs and left a checkpoint."""
        folder = run_folder(self.results, self.spec.run_id)
        kept = folder.checkpoint.exists() or folder.inner_checkpoint.exists()
        return kept and sum(event["type"] == "epoch" for event in self.events) >= 3

    def jobs(self) -> list[str]:
        (path,) = (self.results / ".slurm").glob("[0-9]*.json")
        return list(json.loads(path.read_text()))

    def end(self) -> str:
        out, _ = self.command.communicate(timeout=1500)
        assert self.command.returncode == 0, out
        record = run_folder(self.results, self.spec.run_id).read()
        assert record is not None and record.finished
        assert numbers(record) == numbers(self.calm) and record.learned_sha256 == self.calm.learned_sha256
        assert stored(self.results / self.spec.run_id) == stored(self.calm_folder)
        assert record.provenance["sessions"] > 1, out
        assert leftovers(self.results) == []
        return out


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_job_that_is_cancelled_is_submitted_again_and_goes_on(cluster: None, calm: Any, tmp_path: Path) -> None:
    it = Followed(tmp_path, calm, LONGER)
    it.wait_until(it.learning)
    subprocess.run(["scancel", *it.jobs()], check=True)
    assert "it is submitted again and goes on from its checkpoint" in it.end()


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_job_whose_step_is_killed_is_submitted_again_and_goes_on(cluster: None, calm: Any, tmp_path: Path) -> None:
    it = Followed(tmp_path, calm, LONG)
    it.wait_until(it.learning)
    (step,) = [process for process in psutil.process_iter() if is_step_of(process, it.jobs())]
    step.kill()
    assert "it is submitted again and goes on from its checkpoint" in it.end()


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_job_whose_time_is_over_is_queued_again_and_goes_on(cluster: None, calm: Any, tmp_path: Path) -> None:
    """SLURM's warning comes before the end of the one minute that it has."""
    it = Followed(tmp_path, calm, BETWEEN, "time=1")
    it.end()


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_command_that_is_killed_is_taken_up_again(cluster: None, calm: Any, tmp_path: Path) -> None:
    it = Followed(tmp_path, calm, LONG)
    it.wait_until(it.learning)
    it.command.kill()
    it.command.communicate()
    it.command = it.start()
    out, _ = it.command.communicate(timeout=1500)
    assert it.command.returncode == 0, out
    record = run_folder(it.results, it.spec.run_id).read()
    assert record is not None and numbers(record) == numbers(it.calm)
    assert record.provenance["sessions"] == 1  # the job went on meanwhile


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_command_that_is_stopped_leaves_its_jobs(cluster: None, calm: Any, tmp_path: Path) -> None:
    it = Followed(tmp_path, calm, LONG)
    it.wait_until(it.learning)
    it.command.send_signal(signal.SIGINT)
    out, _ = it.command.communicate(timeout=300)
    assert it.command.returncode == 130
    assert "1 job of SLURM go on; the same command follows them again, 'scancel" in out
    it.command = it.start()
    out, _ = it.command.communicate(timeout=1500)
    assert it.command.returncode == 0 and "1 run is in SLURM's queue already" in out
    record = run_folder(it.results, it.spec.run_id).read()
    assert record is not None and numbers(record) == numbers(it.calm)
