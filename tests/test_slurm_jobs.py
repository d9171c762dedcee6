"""Runs as jobs of SLURM: through a real one where there is one, and what is said where it takes none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from real_slurm import cluster as cluster  # the fixture
from small_runs import leftovers, numbers, run_here, small_options, small_spec, stored

from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.execute import shared_lock
from benchmark.execute.executors import Job, followed_run, slurm, slurm_jobs, slurm_queue
from benchmark.execute.executors.event_tail import EventTail
from benchmark.execute.executors.slurm_queue import Standing
from benchmark.execute.executors.slurm_task import progress_of
from benchmark.execute.store import run_folder
from benchmark.plan.slurm_option import SlurmOptions, chunk_size, chunked, read_slurm
from methods.engine.knobs import WrongValue
from results.atomic import write_json
from results.schema import RunRecord
from results.seal import sealed

# ---------------------------------------------------------------------- the option


def test_what_is_asked_of_slurm_is_read_and_checked() -> None:
    assert read_slurm("partition=a,b,time=120,gpus=1") == {"partition": "a,b", "time": 120, "gpus": 1}
    assert read_slurm({"partition": "a", "setup": ["module load cuda"]})["setup"] == ("module load cuda",)
    assert read_slurm("none") is None
    for value, fault in (
        ("partiton=a", "has no 'partiton'. Did you mean 'partition'"),
        ("mem=4", "Did you mean 'memory'"),
        ("time=0", "takes another time must be at least 1"),
        ("gpu", "must be name=value"),
    ):
        with pytest.raises(WrongValue, match=fault.replace("(", r"\(")):
            read_slurm(value)


def test_short_runs_share_a_job_as_long_as_all_jobs_are_busy() -> None:
    options = SlurmOptions(parallel=4)
    assert chunk_size(options, 40, None) == 1  # nothing is known: a job a run
    assert chunk_size(options, 40, 20.0) == 10
    assert chunk_size(options, 40, 200.0) == 3  # three runs of 200 s make ten minutes
    assert chunk_size(options, 4, 1.0) == 1
    assert chunk_size(options, 40, 5000.0) == 1
    assert chunk_size(SlurmOptions(chunk=7), 40, 5000.0) == 7
    assert chunked([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]


def test_cards_are_asked_for_by_name_or_by_what_a_job_gets(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--method", "ksm", "--dry-run", "--executor", "slurm", "--slurm", "gpus=1,partition=gpu,time=30"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "cuda  digits-ksm-s0-" in told
    assert "to SLURM: 1 job, a run each, 1 at a time; partition gpu, time 30 min, gpus 1" in told
    assert "no estimate of the time: no earlier run on a card" in told and "nothing was started" in told


# ---------------------------------------------------------------------- SLURM's answers, by commands that stand in


def stand_in(folder: Path, **scripts: str) -> None:
    """Commands that say what SLURM's would."""
    for name in ("sbatch", "squeue", "scontrol", "scancel", "srun"):
        path = folder / name
        path.write_text("#!/bin/sh\n" + scripts.get(name, "exit 0") + "\n")
        path.chmod(0o755)


@pytest.mark.parametrize(
    ("scripts", "sentence"),
    [
        (
            {"sbatch": "echo 'sbatch: error: invalid partition specified: nosuch' >&2\n"
                       "echo 'allocation failure: Invalid partition name specified' >&2; exit 1"},
            "SLURM takes no such job (invalid partition specified: nosuch; Invalid partition name specified); change",
        ),
        (
            {"squeue": "echo 1; echo 2; echo 3", "scontrol": "echo 'MaxJobCount             = 3'"},
            "SLURM's queue is full: it takes 3 jobs, 3 are there and 1 more are asked for; wait, or put more runs",
        ),
        (
            {"sbatch": "echo 'sbatch: error: Batch job submission failed: No controller' >&2; exit 1"},
            "SLURM takes no such job (No controller)",
        ),
    ],
)  # fmt: skip
def test_what_slurm_refuses_is_one_sentence(
    scripts: dict[str, str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stand_in(tmp_path, **scripts)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ["run", "--method", "ksm", "--executor", "slurm", "--slurm", "partition=nosuch", "--results"]
    assert main([*words, str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {sentence}")
    assert list((tmp_path / "runs").iterdir()) == []


def test_without_slurm_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["run", "--executor", "slurm", "--results", str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --executor slurm needs SLURM's sbatch and squeue, which are not here")
    assert main(["run", "--slurm", "partition=a", "--results", str(tmp_path / "runs")]) == 2
    assert "--slurm is for --executor slurm, not process" in capsys.readouterr().err


def test_cards_that_are_not_asked_of_slurm_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--method", "ksm", "--device", "cuda", "--executor", "slurm", "--results", str(tmp_path / "runs")]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: --device cuda in SLURM needs cards; add --slurm gpus=1."


def test_which_jobs_live_and_which_wait_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "12_0|PENDING|Resources\n12_1|PENDING|PartitionTimeLimit\n12_2|CANCELLED|None\n13|RUNNING|None"
    stand_in(tmp_path, squeue=f"printf '{lines}\\n'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = slurm_queue.standings()
    assert found is not None and {name: (one.alive, one.hopeless) for name, one in found.items()} == {
        "12_0": (True, False), "12_1": (True, True), "12_2": (False, False), "13": (True, False),
    }  # fmt: skip
    hopeless = (
        "BadConstraints",
        "InvalidQOS",
        "QOSMaxWallDurationPerJobLimit",
        "launch failed requeued held",
    )
    assert all(Standing("PENDING", reason).hopeless for reason in hopeless)
    waiting = ("Priority", "Dependency", "QOSMaxJobsPerUserLimit", "ReqNodeNotAvail, UnavailableNodes:n1", "BeginTime")
    waiting += ("JobHeldUser", "JobHeldAdmin", "PartitionInactive", "PartitionDown")
    assert not any(Standing("PENDING", reason).hopeless for reason in waiting)


def test_events_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type": "run-start", "n": 1}\n{"type": "epoch", "n": 2}\n{"type": "run-start", "n": 3}\n')
    tail = EventTail(path)
    assert tail.read() == []
    with path.open("a") as file:
        file.write('{"type": "epoch", "n": 4}\nno json\n[1]\n{"type": "epo')
        file.flush()
        assert [event["n"] for event in tail.read()] == [4]
        file.write('ch", "n": 5}\n')
    assert [event["n"] for event in tail.read()] == [5]
    tail.rewind()
    assert [event["n"] for event in tail.read()] == [3, 4, 5]


class Pretended:
    """A SLURM whose jobs end as it is told: what was submitted, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, standings: Callable[[list[str]], dict[str, Standing]]) -> None:
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.jobs: list[Job] = []
        monkeypatch.setattr(slurm, "LOOK", 0.01)
        monkeypatch.setattr(slurm, "ASK", 0.0)
        monkeypatch.setattr(slurm_jobs, "submit", self.submit)
        monkeypatch.setattr(slurm_queue, "standings", lambda: standings(self.submitted))
        monkeypatch.setattr(slurm_queue, "cancel", self.cancelled.extend)
        monkeypatch.setattr(slurm_queue, "limits", lambda: {"MaxArraySize": 3})
        monkeypatch.setattr(slurm_queue, "require_room", lambda jobs: None)
        self.when_submitted: Callable[[int], None] = lambda number: None

    def submit(self, results: Path, options: SlurmOptions, chunks: list[list[Job]]) -> dict[str, list[Job]]:
        number = len(self.submitted) + 1
        names = [f"{number}_{at}" for at in range(len(chunks))]
        self.submitted += names
        self.jobs += [job for chunk in chunks for job in chunk]
        self.when_submitted(number)
        return dict(zip(names, chunks, strict=True))


def test_what_ends_without_getting_further_is_submitted_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, heard = small_spec("head-only"), []
    pretended = Pretended(monkeypatch, lambda submitted: {name: Standing("CANCELLED", "None") for name in submitted})
    checkpoint = run_folder(tmp_path, spec.run_id).checkpoint

    def further(number: int) -> None:
        checkpoint.parent.mkdir(exist_ok=True)
        if number in (1, 2, 4):
            checkpoint.write_text("")
            os.utime(checkpoint, (number, number))

    pretended.when_submitted = further
    executor = slurm.SlurmExecutor(SlurmOptions())
    ((job, record),) = executor.run([Job(spec, small_options(tmp_path))], lambda spec, event: heard.append(event))
    assert job.spec == spec and record is not None and record.status == "failed"
    assert len(pretended.submitted) == 7  # three more after the last that got it further, the fourth
    assert (record.error or "").startswith("job 7_0 of SLURM ended as CANCELLED, 3 without getting further; see ")
    assert len([event for event in heard if "submitted again and goes on from its checkpoint" in event["text"]]) == 6
    assert executor.parting == ""


def test_what_waits_in_vain_is_cancelled_and_arrays_are_as_long_as_slurm_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = Standing("PENDING", "PartitionTimeLimit")
    pretended = Pretended(monkeypatch, lambda submitted: dict.fromkeys(submitted, reason))
    jobs = [Job(small_spec("head-only", seeds=(seed,)), small_options(tmp_path)) for seed in range(5)]
    executor = slurm.SlurmExecutor(SlurmOptions(chunk=1))
    found = list(executor.run(jobs, lambda spec, event: None))
    assert pretended.submitted == ["1_0", "1_1", "3_0", "3_1", "5_0"]  # two a time: SLURM takes numbers below three
    assert sorted(pretended.cancelled) == pretended.submitted
    assert {record.error.partition(":")[2] for _, record in found if record is not None and record.error} == {
        " PartitionTimeLimit; change --slurm."
    }


def test_a_run_whose_dead_job_left_its_claim_fails_once_the_claim_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was ended by force on another machine does not give its claim back, and nobody renews it."""
    monkeypatch.setattr(shared_lock, "STALE", 0.3)
    spec = small_spec("head-only")
    folder = run_folder(tmp_path, spec.run_id)

    def claimed(number: int) -> None:
        folder.path.mkdir(exist_ok=True)
        (folder.path / ".lock.1").write_text('{"machine": "a node", "process": 1}')

    pretended = Pretended(monkeypatch, lambda submitted: {name: Standing("FAILED", "None") for name in submitted})
    pretended.when_submitted = claimed
    executor = slurm.SlurmExecutor(SlurmOptions(tries=1))
    ((_, record),) = executor.run([Job(spec, small_options(tmp_path))], lambda spec, event: None)
    assert record is not None and record.status == "failed" and pretended.submitted == ["1_0"]
    kept = folder.read()
    assert kept is not None and (kept.status, kept.error) == ("failed", record.error)


def test_a_run_that_another_process_is_at_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_lock, "STALE", 0.2)
    monkeypatch.setattr(followed_run, "GRACE", 0.1)
    spec = small_spec("head-only")
    Pretended(monkeypatch, lambda submitted: {name: Standing("FAILED", "None") for name in submitted})
    executor = slurm.SlurmExecutor(SlurmOptions(tries=1))
    with shared_lock.locked(run_folder(tmp_path, spec.run_id).path / ".lock"):
        ((_, record),) = executor.run([Job(spec, small_options(tmp_path))], lambda spec, event: None)
    assert record is None and not run_folder(tmp_path, spec.run_id).record.exists()


def test_no_resume_drops_checkpoints_once_and_jobs_that_are_queued_again_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_spec("head-only")
    folder = run_folder(tmp_path, spec.run_id)
    write_json(folder.checkpoint, {})
    write_json(folder.inner_checkpoint, {})
    seen = []

    def look(number: int) -> None:
        seen.append((folder.checkpoint.exists(), folder.inner_checkpoint.exists()))
        if number == 1:
            write_json(folder.checkpoint, {})

    pretended = Pretended(monkeypatch, lambda submitted: {name: Standing("FAILED", "None") for name in submitted})
    pretended.when_submitted = look
    executor = slurm.SlurmExecutor(SlurmOptions(tries=2))
    list(executor.run([Job(spec, small_options(tmp_path, resume=False))], lambda spec, event: None))
    assert seen == [(False, False), (True, False), (True, False)]
    assert all(job.options.resume for job in pretended.jobs) and len(pretended.jobs) == 3


def test_only_what_a_run_waits_for_counts_as_its_progress(tmp_path: Path) -> None:
    job = Job(small_spec("head-only"), small_options(tmp_path))
    others = small_spec("head-only", seeds=(7,))
    cache = tmp_path / ".cache" / "task1"
    cache.mkdir(parents=True)
    before = progress_of([job])
    (cache / f"{others.initial_key}.unfinished").touch()
    assert progress_of([job]) == before == (0.0, 0)
    (cache / f"{job.spec.initial_key}.unfinished").touch()
    os.utime(cache / f"{job.spec.initial_key}.unfinished", (5, 5))
    assert progress_of([job]) == (5.0, 0)


def test_a_command_that_is_left_takes_up_what_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job lives and one is gone; the living one is followed from its run's last start on, the other submitted."""
    running = Standing("RUNNING", "None")
    pretended = Pretended(monkeypatch, lambda submitted: dict.fromkeys(["77_0", *submitted], running))
    jobs = [Job(small_spec("head-only", seeds=(seed,)), small_options(tmp_path)) for seed in range(2)]
    names = [job.spec.run_id for job in jobs]
    write_json(tmp_path / ".slurm" / "77.json", {"77_0": [names[0]], "77_1": [names[1]]})
    for job in jobs:
        folder = run_folder(tmp_path, job.spec.run_id)
        folder.path.mkdir()
        folder.append_event({"type": "run-start", "tasks": 3, "done": 0})
        folder.append_event({"type": "run-start", "tasks": 3, "done": 1})
    heard: list[tuple[str, dict[str, Any]]] = []
    executor = slurm.SlurmExecutor(SlurmOptions())

    def hear(spec: Any, event: dict[str, Any]) -> None:
        heard.append((spec.run_id, event))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(executor.run(jobs, hear))
    assert pretended.submitted == ["1_0"]
    assert [(name, event["done"]) for name, event in heard] == [(names[0], 1)]
    assert executor.parting.startswith(
        "2 jobs of SLURM go on; the same command follows them again, 'scancel 1 77' ends"
    )


def test_nothing_is_submitted_twice_where_squeue_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended = Pretended(monkeypatch, lambda submitted: {})
    monkeypatch.setattr(slurm_queue, "standings", lambda: None)
    job = Job(small_spec("head-only"), small_options(tmp_path))
    write_json(tmp_path / ".slurm" / "77.json", {"77_0": [job.spec.run_id]})
    with pytest.raises(RequestError, match="squeue does not answer"):
        list(slurm.SlurmExecutor(SlurmOptions()).run([job], lambda spec, event: None))
    assert pretended.submitted == []


def test_what_another_command_submits_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the lock from before its jobs are in the queue until it has written which they are."""
    Pretended(monkeypatch, lambda submitted: {})
    jobs = tmp_path / ".slurm" / "77.json"
    write_json(jobs, {"77_0": ["digits-ksm-s0-0123456789"]})
    executor = slurm.SlurmExecutor(SlurmOptions())
    with shared_lock.locked(tmp_path / ".slurm" / ".lock"):
        executor._clean(tmp_path)
        assert jobs.exists()
    executor._clean(tmp_path)
    assert not jobs.exists()


@pytest.mark.parametrize("tells", [True, False])
def test_a_record_that_a_network_file_system_shows_late_is_waited_for(
    tells: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is over and SLURM says so; its record, and what it told last, is seen a moment later."""
    spec = small_spec("head-only")
    folder = run_folder(tmp_path, spec.run_id)
    looks = []

    def standings(submitted: list[str]) -> dict[str, Standing]:
        looks.append(len(submitted))
        if len(looks) == 5:
            record = RunRecord(spec.run_id, "failed", spec.to_json(), {}, error="no")
            write_json(folder.record, sealed(record.to_json()))
        return dict.fromkeys(submitted, Standing("CANCELLED" if tells else "COMPLETED", "None"))

    pretended = Pretended(monkeypatch, standings)
    folder.path.mkdir()
    pretended.when_submitted = lambda number: folder.append_event({"type": "run-end"}) if tells else None
    ((_, record),) = slurm.SlurmExecutor(SlurmOptions()).run(
        [Job(spec, small_options(tmp_path))], lambda spec, event: None
    )
    assert record is not None and record.error == "no" and pretended.submitted == ["1_0"]


def test_a_job_that_completed_without_its_run_is_submitted_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_run, "GRACE", 0.1)
    pretended = Pretended(monkeypatch, lambda submitted: {name: Standing("COMPLETED", "None") for name in submitted})
    jobs = [Job(small_spec("head-only"), small_options(tmp_path))]
    ((_, record),) = slurm.SlurmExecutor(SlurmOptions(tries=2)).run(jobs, lambda spec, event: None)
    assert record is not None and "2 without getting further" in (record.error or "")
    assert pretended.submitted == ["1_0", "2_0"]


def test_a_queue_that_fills_up_while_arrays_are_submitted_says_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended = Pretended(monkeypatch, lambda submitted: {})

    def full(number: int) -> None:
        if number > 2:
            raise RequestError("SLURM takes no such job (Job violates accounting policy).")

    pretended.when_submitted = full
    jobs = [Job(small_spec("head-only", seeds=(seed,)), small_options(tmp_path)) for seed in range(3)]
    executor = slurm.SlurmExecutor(SlurmOptions(chunk=1))
    with pytest.raises(RequestError, match=r"policy\)\. 2 jobs of SLURM go on; .* 'scancel 1' ends them"):
        list(executor.run(jobs, lambda spec, event: None))
    executor.cancel()
    assert pretended.cancelled == ["1_0", "1_1"]


def test_runs_timed_through_slurm_lie_where_nodes_see_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "--throughput", "--method", "ksm", "--executor", "slurm"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: perf --executor slurm needs --out, a folder that the nodes see")


# ---------------------------------------------------------------------- a real SLURM

QUICK = ("--tasks", "3", "--epochs", "2", "--train-limit", "60", "--threads", "1", "--keep-weights", "all")


def records_of(results: Path) -> dict[str, RunRecord]:
    found = {path.parent.name: run_folder(results, path.parent.name).read() for path in results.glob("*/result.json")}
    return {name: record for name, record in found.items() if record is not None}


def test_four_runs_through_sbatch_learn_what_they_learn_here(
    cluster: None, command: Callable[..., Answer], tmp_path: Path
) -> None:
    results = tmp_path / "runs"
    words = [
        "run",
        "--method",
        "packnet,head-only",
        "--seed",
        "0,1",
        *QUICK,
        "--results",
        results,
        "--executor",
        "slurm",
    ]
    done = command(*words, "--slurm", "time=10,chunk=2")
    assert done.code == 0, done.out + done.err
    assert "4 runs on cpu in SLURM" in done.out
    assert "1/3 zero-one: accuracy" in done.out  # events were followed
    found = records_of(results)
    assert len(found) == 4 and all(record.finished for record in found.values())
    assert all(record.provenance["slurm"]["job"] for record in found.values())
    for method in ("packnet", "head-only"):
        spec = small_spec(method, seeds=(1,))
        alone, _ = run_here(spec, small_options(tmp_path / "alone"))
        assert numbers(found[spec.run_id]) == numbers(alone)
        assert found[spec.run_id].learned_sha256 == alone.learned_sha256
        assert stored(results / spec.run_id) == stored(tmp_path / "alone" / spec.run_id)
    assert leftovers(results) == []
    assert {path.name for path in (results / ".slurm").iterdir()} == {".lock", ".lock.2.free"}


def test_a_run_that_cannot_be_placed_has_failed_with_slurms_reason(
    cluster: None, command: Callable[..., Answer], tmp_path: Path
) -> None:
    words = ["run", "--method", "head-only", *QUICK, "--results", tmp_path / "runs", "--executor", "slurm"]
    done = command(*words, "--slurm", "time=100000")
    assert done.code == 1, done.out + done.err
    assert "FAILED: SLURM cannot place job" in done.out and "PartitionTimeLimit" in done.out
    (record,) = records_of(tmp_path / "runs").values()
    assert record.status == "failed" and "PartitionTimeLimit" in (record.error or "")


def test_an_unknown_partition_is_one_sentence(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--executor", "slurm", "--slurm", "partition=nosuch", "--results", str(tmp_path / "runs")]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: SLURM takes no such job (invalid partition specified: nosuch")
