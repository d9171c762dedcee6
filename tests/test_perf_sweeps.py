"""``perf --events`` and ``perf --throughput`` on tiny work. Nothing here asserts a time."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmark.cli.main import main
from benchmark.perf import sweep_parts
from benchmark.perf.throughput import Throughput

TINY = ("perf", "--method", "head-only", "--epochs", "1", "--threads", "1", "--device", "cpu")


def test_what_a_run_costs_beside_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_parts, "TIMES", 3)
    monkeypatch.setattr(sweep_parts, "REPORTED", (2,))
    assert main([*TINY, "--events", "--out", str(tmp_path)]) == 0
    rows = {row["name"]: (float(row["value"]), row["unit"]) for row in csv.DictReader((tmp_path / "events.csv").open())}
    assert rows["tasks of the run"] == (5, "tasks")
    assert rows["files of a finished run"] == (10, "files")  # record, events, lock, claim, five tasks, what they share
    assert rows["of them outside tasks/ (record, events, lock, claim)"][0] == 4
    assert {"reading 2 records", "reporting on 2 runs", "looking at 2 records as a run begins"} <= set(rows)
    assert all(value > 0 for value, unit in rows.values() if unit in ("tasks", "files", "bytes"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.csv", "events.txt"]


def test_runs_at_a_time_are_compared_with_one(tmp_path: Path) -> None:
    assert main([*TINY, "--throughput", "--runs", "2", "--workers", "2", "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "throughput.csv").open()))
    assert [(row["way"], row["runs"], row["at_once"]) for row in rows] == [
        ("processes, 1 at a time", "2", "1"), ("processes, 2 at a time", "2", "2"),
    ]  # fmt: skip
    one, two = (float(row["seconds"]) for row in rows)
    assert float(rows[1]["of_the_best"]) == pytest.approx(one / two / 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["throughput.csv", "throughput.txt"]


def test_the_best_that_can_be() -> None:
    one = Throughput("one", 40, 1, 80.0, 80.0)
    assert Throughput("two", 40, 2, 40.0, 80.0).of(one) == 1.0
    assert Throughput("two", 40, 2, 50.0, 80.0).of(one) == 0.8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--executor", "slurm"), "--executor slurm is for run, and for perf --throughput"),
        (("--device", "cpu:0,cpu:1"), "perf measures one device, not cpu:0, cpu:1"),
        (("--throughput", "--runs", "0"), "--runs must be at least 1, not 0"),
    ],
)
def test_what_perf_does_not_do(words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_two_workers_reach_nine_tenths_of_twice_one(tmp_path: Path) -> None:
    """On an idle machine of two cores; a busy one is no place to ask."""
    import os

    load = os.getloadavg()[0]
    if (os.cpu_count() or 1) < 2 or load > 0.3:
        pytest.skip(f"the machine is no idle one with two processors: load {load:.1f}")
    words = ("perf", "--method", "packnet", "--threads", "1", "--device", "cpu", "--throughput", "--workers", "2")
    assert main([*words, "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "throughput.csv").open()))
    assert rows[1]["runs"] == "40"
    assert float(rows[1]["of_the_best"]) >= 0.9
