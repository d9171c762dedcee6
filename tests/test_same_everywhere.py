"""One sweep through processes, two devices, three shards that are merged, and a real SLURM: the same numbers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from conftest import Answer
from real_slurm import cluster as cluster  # the fixture
from small_runs import leftovers, numbers

from benchmark.cli.main import main
from results.reader import read_runs
from results.schema import RunRecord

#: what every way takes; the epochs of the digits in the long comparison
SWEEP = ("run", "--seed", "0,1", "--threads", "1", "--method")
EPOCHS = os.environ.get("MASKBENCH_SWEEP_EPOCHS", "5")
LONG = (*SWEEP, "ksm,packnet,piggyback", "--epochs", EPOCHS)
SHORT = (*SWEEP, "packnet,piggyback", "--tasks", "2", "--epochs", "1", "--train-limit", "60")

Records = dict[str, RunRecord]


def recorded(results: Path, runs: int) -> Records:
    records = {record.run_id: record for record in read_runs(results).records}
    assert len(records) == runs and all(record.finished for record in records.values())
    assert leftovers(results) == []
    return records


def whole(record: RunRecord) -> str:
    """Eight hex digits of the digests of everything that a run learned."""
    return hashlib.sha256(json.dumps(record.learned_sha256, sort_keys=True).encode()).hexdigest()[:8]


def carried_out(place: Path, start: Callable[..., None], runs: int) -> dict[str, Records]:
    """The sweep without SLURM, each way; ``start`` carries it out with some more words."""
    found = {}
    for way, words in {"processes": (), "two devices": ("--device", "cpu:0,cpu:1")}.items():
        results = place / way.replace(" ", "-") / "runs"
        start(*words, "--results", str(results))
        found[way] = recorded(results, runs)
    for part in (1, 2, 3):
        start("--shard", f"{part}/3", "--results", str(place / "shards" / f"machine{part}" / "runs"))
    parts = [read_runs(place / "shards" / f"machine{part}" / "runs").records for part in (1, 2, 3)]
    assert all(parts) and sum(map(len, parts)) == runs
    assert main(["merge", str(place / "shards"), "--to", str(place / "merged" / "runs")]) == 0
    found["three shards"] = recorded(place / "merged" / "runs", runs)
    places = {record.provenance["options"]["device"] for record in found["two devices"].values()}
    assert places == {"cpu:0", "cpu:1"}
    return found


def require_the_same(found: Mapping[str, Records]) -> None:
    for run_id, record in found["processes"].items():
        for way, records in found.items():
            assert records[run_id].learned_sha256 == record.learned_sha256 != {}, (way, run_id)
            assert numbers(records[run_id]) == numbers(record), (way, run_id)


def test_two_devices_and_merged_shards_learn_what_one_process_at_a_time_learns(tmp_path: Path) -> None:
    def start(*words: str) -> None:  # in this process: the server of all commands imports torch once
        assert main([*SHORT, *words]) == 0

    require_the_same(carried_out(tmp_path, start, runs=4))


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_sweep_learns_the_same_however_it_is_carried_out(
    cluster: None, command: Callable[..., Answer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*words: str) -> None:
        done = command(*LONG, *words, timeout=3000)
        assert done.code == 0, done.out + done.err

    found = carried_out(tmp_path, start, runs=6)
    results = tmp_path / "SLURM" / "runs"
    start("--executor", "slurm", "--slurm", "time=60,parallel=2", "--results", str(results))
    found["SLURM"] = recorded(results, 6)
    assert all("slurm" in record.provenance for record in found["SLURM"].values())
    require_the_same(found)
    lines = [f"{'run':<34}" + "".join(f"{way:>24}" for way in found)]
    for run_id in found["processes"]:
        cells = [f"{records[run_id].mean_accuracy:.6f} {whole(records[run_id])}" for records in found.values()]
        lines.append(f"{run_id:<34}" + "".join(f"{cell:>24}" for cell in cells))
    with capsys.disabled():
        print("\n" + "\n".join(lines))
