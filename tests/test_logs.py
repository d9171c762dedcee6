"""``--log``: what other tools are told of a run, once each, outside every training time."""

from __future__ import annotations

import csv
import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import small_options, small_spec

from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.execute.executors import Job, LocalExecutor
from benchmark.execute.store import run_folder
from benchmark.execute.waves import Both, run_wave
from benchmark.logs.csv_log import COLUMNS
from benchmark.logs.run_log import Point, RunLog
from benchmark.logs.series import Series
from benchmark.logs.writing import Logs, require_loggers
from benchmark.plan.spec import RunSpec
from results.schema import RunRecord


class Silent:
    """A display that shows nothing and keeps the records."""

    def __init__(self) -> None:
        self.records: list[RunRecord | None] = []

    def hear(self, spec: RunSpec, event: dict[str, Any]) -> None:
        pass

    def ended(self, spec: RunSpec, record: RunRecord | None) -> None:
        self.records.append(record)

    def wait(self, spec: RunSpec) -> None:
        pass


def carried_out(results: Path, logs: Logs, method: str = "packnet") -> tuple[RunSpec, RunRecord]:
    spec, silent = small_spec(method, tasks=2), Silent()
    with logs:
        assert run_wave(LocalExecutor(), [Job(spec, small_options(results))], Both(silent, logs)) == 0
    (record,) = silent.records
    assert record is not None
    return spec, record


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def epoch(task: str, number: int, loss: float) -> dict[str, Any]:
    about = {"type": "epoch", "task": task, "phase": "train", "key": "train", "epoch": number, "time": 10.0 * number}
    return {**about, "loss": loss, "train": 0.5, "selection": None, "lr": 0.1}


def test_epochs_that_are_repeated_after_a_resume_count_once() -> None:
    series = Series()
    events = [
        {"type": "run-start", "tasks": 2, "done": 0},
        epoch("one", 1, 0.9),
        epoch("one", 2, 0.8),
        {"type": "run-start", "tasks": 2, "done": 0},  # killed, and gone on from the first epoch
        epoch("one", 2, 0.8),
        {"type": "task-end", "name": "one", "accuracy": 0.75, "seconds": 3.5, "time": 25.0},
        epoch("two", 1, 0.7),
    ]
    assert [point for event in events for point in series.points(event)] == [
        Point(1, 10.0, {"epoch/loss": 0.9, "epoch/train_accuracy": 0.5, "epoch/rate": 0.1}, "one", "train"),
        Point(2, 20.0, {"epoch/loss": 0.8, "epoch/train_accuracy": 0.5, "epoch/rate": 0.1}, "one", "train"),
        Point(2, 25.0, {"task/accuracy": 0.75, "task/seconds": 3.5}, "one"),
        Point(3, 10.0, {"epoch/loss": 0.7, "epoch/train_accuracy": 0.5, "epoch/rate": 0.1}, "two", "train"),
    ]
    assert not series.begins_again({"type": "run-start", "done": 0})
    assert not series.begins_again({"type": "run-end", "status": "finished"})
    assert series.begins_again({"type": "run-start", "done": 0})


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSpec, RunRecord]:
    """A run with every log; the folder of logs."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'maskbench[tensorboard]'")
    folder = tmp_path_factory.mktemp("logged")
    spec, record = carried_out(folder / "runs", Logs(("csv", "tensorboard"), folder / "runs"))
    return folder / "logs", spec, record


def test_a_csv_log_holds_the_curves_of_the_record(logged: tuple[Path, RunSpec, RunRecord]) -> None:
    folder, spec, record = logged
    lines = lines_of(folder / "csv" / f"{spec.run_id}.csv")
    assert tuple(lines[0]) == COLUMNS
    for name, field in (
        ("loss", "loss"),
        ("train_accuracy", "train"),
        ("rate", "lr"),
        ("selection_accuracy", "validation"),
    ):
        expected = [getattr(point, field) for task in record.tasks for point in task.curve]
        assert [float(line["value"]) for line in lines if line["name"] == f"epoch/{name}"] == expected != []
    steps = [int(line["step"]) for line in lines if line["name"] == "epoch/loss"]
    assert steps == list(range(1, len(steps) + 1))
    assert [float(line["value"]) for line in lines if line["name"] == "task/accuracy"] == [
        task.accuracy for task in record.tasks
    ]
    final = {line["name"]: float(line["value"]) for line in lines if line["name"].startswith("final/")}
    assert final["final/mean_accuracy"] == record.mean_accuracy
    assert final["final/training_seconds"] == record.training_seconds_total
    assert lines[-1]["phase"] == "finished"


def test_tensorboard_reads_what_it_is_told(logged: tuple[Path, RunSpec, RunRecord]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, spec, record = logged
    found = EventAccumulator(str(folder / "tensorboard" / spec.run_id))
    found.Reload()
    losses = [point.loss for task in record.tasks for point in task.curve]
    read = found.Scalars("epoch/loss")
    assert [item.value for item in read] == pytest.approx(losses, rel=1e-6)
    assert [item.step for item in read] == list(range(1, len(losses) + 1))
    assert found.Scalars("final/mean_accuracy")[0].value == pytest.approx(record.mean_accuracy)


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a file of W&B: after seven bytes, blocks of 32 KiB of pieces with checksum, length and place."""
    start, block, record = 7, 1 << 15, b""
    while start + 7 <= len(content):
        if block - start % block < 7:  # no piece begins in so little room
            start += block - start % block
            continue
        length, place = int.from_bytes(content[start + 4 : start + 6], "little"), content[start + 6]
        record += content[start + 7 : start + 7 + length]
        start += 7 + length
        if place in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def test_wandb_runs_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'maskbench[wandb]'")
    from wandb.proto.wandb_internal_pb2 import Record

    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    _, record = carried_out(tmp_path / "runs", Logs(("wandb",), tmp_path / "runs"))
    (path,) = (tmp_path / "logs" / "wandb").glob("wandb/offline-run-*/*.wandb")
    losses, summary = [], {}
    for data in wandb_records(path.read_bytes()):
        entry = Record()
        entry.ParseFromString(data)
        for item in entry.history.item:
            name = item.key or "/".join(item.nested_key)
            losses += [json.loads(item.value_json)] if name == "epoch/loss" else []
        for item in entry.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert losses == [point.loss for task in record.tasks for point in task.curve]
    assert summary["final/mean_accuracy"] == record.mean_accuracy and summary["status"] == "finished"


class Slow(RunLog):
    """A log that takes its time."""

    taken = 0.0

    def add(self, point: Point) -> None:
        time.sleep(0.3)
        Slow.taken += 0.3

    def finish(self, values: Any, status: str, step: int) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_slow_log_is_in_no_training_time(tmp_path: Path) -> None:
    """Even in the run's own process."""
    logs = Logs(("csv",), tmp_path / "runs", lambda *about: Slow())
    _, record = carried_out(tmp_path / "runs", logs)
    saving = record.seconds.get("save", 0.0) + sum(task.seconds.get("save", 0.0) for task in record.tasks)
    assert Slow.taken >= 1.8
    assert saving >= Slow.taken > 2 * record.training_seconds_total


def test_a_log_that_fails_is_given_up_and_the_run_finishes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").write_text("no folder")
    _, record = carried_out(tmp_path / "runs", Logs(("csv",), tmp_path / "runs"))
    assert record.finished
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "--log" in line]
    assert line.startswith("warning: --log csv is given up for digits-packnet-s0-")


def test_a_further_command_goes_on_with_the_log(tmp_path: Path) -> None:
    """One command saw half of the run; while nobody watched it went on; another command sees its end."""
    spec = small_spec("packnet", tasks=2)
    folder = run_folder(tmp_path / "runs", spec.run_id)
    folder.path.mkdir(parents=True)
    losses: Iterator[float] = iter([0.9, 0.8, 0.7, 0.6, 0.5])

    def tell(logs: Logs | None, *events: dict[str, Any]) -> None:
        for event in events:
            folder.append_event(event)
            if logs is not None:
                logs.hear(spec, event)

    next_epoch = functools.partial(lambda number: epoch("one", number, next(losses)))
    with Logs(("csv",), tmp_path / "runs") as logs:
        tell(logs, {"type": "run-start", "tasks": 2, "done": 0}, next_epoch(1), next_epoch(2))
    tell(None, next_epoch(3))
    with Logs(("csv",), tmp_path / "runs") as logs:
        tell(logs, {"type": "run-start", "tasks": 2, "done": 0}, epoch("one", 3, 0.7), next_epoch(4))
    path = tmp_path / "logs" / "csv" / f"{spec.run_id}.csv"
    assert [float(line["value"]) for line in lines_of(path) if line["name"] == "epoch/loss"] == [0.9, 0.8, 0.7, 0.6]
    with Logs(("csv",), tmp_path / "runs") as logs:  # --force repeats the finished run: the log begins again
        tell(logs, {"type": "run-end", "status": "finished"}, {"type": "run-start", "tasks": 2, "done": 0})
        tell(logs, epoch("one", 1, 0.4))
    assert [float(line["value"]) for line in lines_of(path) if line["name"] == "epoch/loss"] == [0.4]


def test_the_log_of_a_run_that_finished_unwatched_is_made_up_for_once(tmp_path: Path) -> None:
    spec = small_spec("packnet", tasks=2)
    folder = run_folder(tmp_path / "runs", spec.run_id)
    folder.path.mkdir(parents=True)
    for event in ({"type": "run-start", "tasks": 2, "done": 0}, epoch("one", 1, 0.9), epoch("one", 2, 0.8)):
        folder.append_event(event)
    with Logs(("csv",), tmp_path / "runs") as logs:
        logs.hear(spec, {})
    folder.append_event(epoch("one", 3, 0.7))
    folder.append_event({"type": "run-end", "status": "finished"})
    path = tmp_path / "logs" / "csv" / f"{spec.run_id}.csv"
    for end, ends in (("noon", 1), ("noon", 1), ("one o'clock", 2)):
        record = RunRecord(spec.run_id, "finished", spec.to_json(), {"finished": end}, mean_accuracy=0.5)
        Logs(("csv",), tmp_path / "runs").make_up(spec, record)
        assert [line["value"] for line in lines_of(path) if line["name"] == "epoch/loss"] == ["0.9", "0.8", "0.7"]
        assert [line["name"] for line in lines_of(path)].count("final/mean_accuracy") == ends
    assert (tmp_path / "logs" / "csv" / ".points" / spec.run_id).read_text() == "3 one o'clock"


def test_a_folder_that_has_the_name_of_a_log_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_log").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RequestError, match="--log some_log needs the package some_log"):
        require_loggers(("csv", "some_log"))


def test_a_log_whose_package_is_absent_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"--log wandb needs the package wandb: pip install 'maskbench\[wandb\]'"):
        require_loggers(("csv", "wandb"))
    assert main(["run", "--log", "mlflow", "--dry-run"]) == 2
    assert "--log must be one of tensorboard, wandb, csv" in capsys.readouterr().err
