"""One sweep through processes, two devices, a real SLURM and three shards that are merged: the same numbers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer
from small_runs import leftovers, numbers
from test_slurm_jobs import cluster as cluster  # the fixture

from benchmark.cli.main import main
from results.reader import read_runs
from results.schema import RunRecord

#: three methods, two seeds; how many epochs the digits get
SWEEP = ("run", "--method", "ksm,packnet,piggyback", "--seed", "0,1", "--threads", "1")
EPOCHS = os.environ.get("MASKBENCH_SWEEP_EPOCHS", "5")


def recorded(results: Path) -> dict[str, RunRecord]:
    records = {record.run_id: record for record in read_runs(results).records}
    assert len(records) == 6 and all(record.finished for record in records.values())
    assert leftovers(results) == []
    return records


def whole(record: RunRecord) -> str:
    """Eight hex digits of the digests of everything that a run learned."""
    return hashlib.sha256(json.dumps(record.learned_sha256, sort_keys=True).encode()).hexdigest()[:8]


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_sweep_learns_the_same_however_it_is_carried_out(
    cluster: None, command: Callable[..., Answer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = {
        "processes": (),
        "two devices": ("--device", "cpu:0,cpu:1"),
        "SLURM": ("--executor", "slurm", "--slurm", "time=60,parallel=2"),
    }
    found = {}
    for way, words in ways.items():
        results = tmp_path / way.replace(" ", "-") / "runs"
        done = command(*SWEEP, "--epochs", EPOCHS, *words, "--results", results, timeout=3000)
        assert done.code == 0, done.out + done.err
        found[way] = recorded(results)
    for part in (1, 2, 3):
        results = tmp_path / "shards" / f"machine{part}" / "runs"
        done = command(*SWEEP, "--epochs", EPOCHS, "--shard", f"{part}/3", "--results", results, timeout=3000)
        assert done.code == 0, done.out + done.err
        assert len(read_runs(results).records) == 2
    assert main(["merge", str(tmp_path / "shards"), "--to", str(tmp_path / "merged" / "runs")]) == 0
    found["three shards"] = recorded(tmp_path / "merged" / "runs")
    places = {record.provenance["options"]["device"] for record in found["two devices"].values()}
    assert places == {"cpu:0", "cpu:1"}
    assert all("slurm" in record.provenance for record in found["SLURM"].values())
    lines = [f"{'run':<34}" + "".join(f"{way:>24}" for way in found)]
    for run_id, record in found["processes"].items():
        digests = {way: records[run_id].learned_sha256 for way, records in found.items()}
        assert all(digest == record.learned_sha256 for digest in digests.values()), run_id
        assert all(numbers(records[run_id]) == numbers(record) for records in found.values()), run_id
        cells = [f"{records[run_id].mean_accuracy:.6f} {whole(records[run_id])}" for records in found.values()]
        lines.append(f"{run_id:<34}" + "".join(f"{cell:>24}" for cell in cells))
    with capsys.disabled():
        print("\n" + "\n".join(lines))
