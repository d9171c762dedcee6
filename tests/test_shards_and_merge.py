"""``--shard`` and ``merge``: every run in one part, results of several machines in one folder, conflicts named."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_runs import leftovers, read_json, run_here, small_options, small_spec, stored

from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.execute.gathering import gather
from benchmark.plan.planning import planned
from benchmark.plan.request import Request
from benchmark.plan.shard_option import read_shard
from benchmark.plan.shards import shard_of
from benchmark.scenarios.loader import load_scenario
from methods.engine.knobs import WrongValue
from reports.records import load
from results.atomic import write_json, write_text
from results.locations import results_folders
from results.reader import read_runs
from results.seal import sealed


def test_parts_are_read() -> None:
    assert read_shard("2/5") == (2, 5) == read_shard([2, 5])
    for wrong in ("0/5", "6/5", "2", "2/", "a/b", [1, 2, 3], "1/2/3"):
        with pytest.raises(WrongValue, match="must be a part of so many, such as 2/5"):
            read_shard(wrong)


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 7])
def test_every_run_is_in_one_part_with_the_run_that_it_needs(parts: int) -> None:
    request = Request(methods=("ksm", "packnet", "tall-masks", "emr", "head-only"), seeds=(0, 1, 2, 3, 4))
    everything = planned(request, load_scenario("digits"))
    found = [shard_of(everything, (part, parts)) for part in range(1, parts + 1)]
    ids = [spec.run_id for part in found for spec in part]
    assert sorted(ids) == sorted(spec.run_id for spec in everything)
    for part in found:
        for seed in range(5):  # both start from one run, which is planned with them
            assert len({spec.method for spec in part if spec.seed == seed} & {"tall-masks", "emr", "finetune"}) in (
                0,
                3,
            )
        assert (
            planned(dataclasses.replace(request, shard=(found.index(part) + 1, parts)), load_scenario("digits")) == part
        )


def test_a_method_is_not_all_in_one_part() -> None:
    request = Request(methods=("ksm", "packnet", "head-only", "finetune", "piggyback"), seeds=(0, 1, 2, 3, 4))
    everything = planned(request, load_scenario("digits"))
    for part in range(1, 6):
        assert len({spec.method for spec in shard_of(everything, (part, 5))}) == 5


def test_an_empty_part_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--method", "ksm", "--shard", "2/3", "--dry-run"]) == 2
    assert "--shard 2/3 is empty: there are 1 runs to share out" in capsys.readouterr().err
    assert main(["tune", "--method", "ksm", "--shard", "1/2", "--dry-run"]) == 2
    assert "tune compares all of its trials; leave out --shard" in capsys.readouterr().err


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three machines' results: two runs each of which the second is the same run everywhere, and an unfinished one."""
    folder = tmp_path_factory.mktemp("machines")
    for number in range(3):
        runs = folder / f"m{number}" / "runs"
        for spec in (small_spec("piggyback", 2, 1, seeds=(number,)), small_spec("head-only", 2, 1)):
            run_here(spec, small_options(runs))
    (folder / "m0" / "runs" / "digits-ksm-s0-0123456789").mkdir()
    (folder / "m0" / "runs" / "digits-ksm-s0-0123456789" / "events.jsonl").write_text("{}\n")
    return folder


def test_results_of_machines_are_merged_and_reported_on(
    machines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "runs"
    sources = [str(machines / f"m{number}") for number in range(3)]
    assert main(["merge", *sources, "--to", str(target)]) == 0
    told = capsys.readouterr().out
    assert f"4 runs copied, 2 carried out twice, 1 left out; in {target}" in told
    assert "left out: " in told and "digits-ksm-s0-0123456789 has not finished" in told
    assert told.count("was carried out in another folder, too, with the same numbers") == 2
    records = read_runs(target).records
    assert [(record.spec["method"], record.spec["seed"]) for record in records] == [
        ("head-only", 0), ("piggyback", 0), ("piggyback", 1), ("piggyback", 2),
    ]  # fmt: skip
    for number in range(3):
        run = small_spec("piggyback", 2, 1, seeds=(number,)).run_id
        assert stored(target / run) == stored(machines / f"m{number}" / "runs" / run) != {}
    assert (target / ".cache" / "task1").is_dir() and leftovers(tmp_path) == []
    assert main(["merge", str(machines), "--to", str(target)]) == 0  # a folder of all of them, once more
    assert "0 runs copied, 4 there already, 2 carried out twice" in capsys.readouterr().out
    # what was merged is finished for a further command, and reads as the folders together do
    words = [word for source in sources for word in ("--results", f"{source}/runs")]
    assert main(["report", *words, "--out", str(tmp_path / "several")]) == 0
    assert len((tmp_path / "several" / "runs.csv").read_text().splitlines()) == 1 + 4 * 2  # a line a task
    loaded = [load(*(Path(source) / "runs" for source in sources)), load(machines), load(target)]
    several, parent, merged = ({run.run_id: run.to_json() for run in one.finished} for one in loaded)
    assert len(several) == 4 and several == parent == merged


def test_conflicts_are_named_and_nothing_is_overwritten(machines: Path, tmp_path: Path) -> None:
    run = small_spec("head-only", 2, 1).run_id
    for number in (0, 1):
        shutil.copytree(machines / f"m{number}", tmp_path / f"m{number}")
    path = tmp_path / "m1" / "runs" / run / "result.json"
    value = read_json(path)
    value.pop("sha256")
    value["learned_sha256"] = dict.fromkeys(value["learned_sha256"], "0" * 64)
    write_json(path, sealed(value))
    target = tmp_path / "runs"
    assert main(["merge", str(tmp_path / "m0"), str(tmp_path / "m1"), "--to", str(target)]) == 1
    kept = (target / run / "result.json").read_bytes()
    assert kept == (tmp_path / "m0" / "runs" / run / "result.json").read_bytes()
    found = gather([tmp_path / "m1"], target)
    (sentence,) = found.conflicts
    assert sentence.startswith(str(path.parent)) and sentence.endswith("(other learned weights)")
    assert (target / run / "result.json").read_bytes() == kept


def test_a_finished_run_replaces_a_failed_one_and_a_damaged_one_is_left_out(machines: Path, tmp_path: Path) -> None:
    run = small_spec("head-only", 2, 1).run_id
    shutil.copytree(machines / "m0", tmp_path / "failed")
    path = tmp_path / "failed" / "runs" / run / "result.json"
    value = {
        key: item for key, item in read_json(path).items() if key in ("run_id", "schema_version", "spec", "provenance")
    }
    write_json(path, sealed({**value, "status": "failed", "error": "no"}))
    target = tmp_path / "runs"
    assert run in gather([tmp_path / "failed"], target).copied
    assert gather([machines / "m0"], target).copied == [run]
    assert (target / run / "result.json").read_bytes() == (machines / "m0" / "runs" / run / "result.json").read_bytes()
    assert any(
        "failed, and finished in another folder" in line for line in gather([tmp_path / "failed"], target).left_out
    )
    path.write_text("{")
    assert any("half-written" in line for line in gather([tmp_path / "failed"], tmp_path / "other").left_out)


def test_a_run_that_an_earlier_version_named_otherwise_is_the_same_run(machines: Path, tmp_path: Path) -> None:
    spec = small_spec("piggyback", 2, 1, seeds=(0,))
    assert spec.first_id is not None
    runs = tmp_path / "earlier" / "runs"
    shutil.copytree(machines / "m0" / "runs" / spec.run_id, runs / spec.first_id)
    value = read_json(runs / spec.first_id / "result.json")
    value.pop("sha256")
    write_json(runs / spec.first_id / "result.json", sealed({**value, "run_id": spec.first_id}))
    target = tmp_path / "runs"
    assert gather([runs], target).copied == [spec.first_id]
    found = gather([machines / "m0"], target)
    assert spec.run_id not in found.copied and any(spec.run_id in line for line in found.twice)
    assert not (target / spec.run_id).exists() and len(gather([runs], target).same) == 1


def failed_run(runs: Path, **spec: Any) -> Path:
    """A run's folder with a failed record alone."""
    value = {"run_id": "digits-ksm-s0-0123456789", "schema_version": 1, "provenance": {}, "status": "failed"}
    path = runs / value["run_id"] / "result.json"
    write_json(path, sealed({**value, "error": "no", "spec": {"method": "ksm", **spec}}))
    return path.parent


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint-within.safetensors"])
def test_a_failed_run_does_not_end_one_under_way_in_the_target(name: str, tmp_path: Path) -> None:
    run = failed_run(tmp_path / "m0" / "runs")
    place = tmp_path / "runs" / run.name
    write_text(place / name, "hours of work")
    write_text(place / "events.jsonl", "{}\n")
    found = gather([tmp_path / "m0"], tmp_path / "runs")
    assert found.copied == []
    assert found.left_out == [f"{run} failed, and goes on from a checkpoint in {tmp_path / 'runs'}; that stays"]
    assert (place / name).read_text() == "hours of work" and not (place / "result.json").exists()
    (place / name).unlink()
    assert gather([tmp_path / "m0"], tmp_path / "runs").copied == [run.name]


def test_trials_of_tune_are_not_merged(tmp_path: Path) -> None:
    failed_run(tmp_path / "m0" / "runs")
    trial = failed_run(tmp_path / "m0" / "tune", measured_on="validation")
    shutil.move(trial, tmp_path / "m0" / "tune" / "digits-ksm-s0-trial")
    (tmp_path / "m0" / "tune" / ".cache" / "task1").mkdir(parents=True)
    (tmp_path / "m0" / "tune" / ".cache" / "task1" / "one.safetensors").touch()
    found = gather([tmp_path / "m0"], tmp_path / "runs")
    assert (found.copied, found.left_out) == (["digits-ksm-s0-0123456789"], [])
    assert not (tmp_path / "runs" / ".cache").exists() and not (tmp_path / "runs" / "digits-ksm-s0-trial").exists()
    named = gather([tmp_path / "m0" / "tune"], tmp_path / "runs")
    assert (named.copied, len(named.left_out)) == ([], 1) and "is a trial of tune, and no run" in named.left_out[0]


def test_merging_into_the_folder_of_the_sources_can_be_repeated(tmp_path: Path) -> None:
    run = failed_run(tmp_path / "m0")
    unfinished = tmp_path / "m1" / "digits-ksm-s1-0123456789"
    write_text(unfinished / "events.jsonl", "{}\n")
    assert gather([tmp_path], tmp_path / "merged").copied == [run.name]
    again = gather([tmp_path], tmp_path / "merged")
    assert (again.copied, again.same) == ([], [run.name])
    # a source that holds nothing finished yet stops none of the others
    alone = gather([tmp_path / "m1", tmp_path / "m0"], tmp_path / "other")
    assert alone.copied == [run.name]
    assert alone.left_out == [f"{unfinished} has not finished; give its command again there"]


def test_what_cannot_be_merged_is_one_sentence(machines: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, target, sentence in (
        (tmp_path / "absent", tmp_path / "to", "There is no results folder"),
        (tmp_path / "empty", tmp_path / "to", "holds no run"),
        (machines / "m0", machines / "m0" / "runs", "is one of the folders to merge"),
    ):
        with pytest.raises(RequestError, match=sentence):
            gather([source], target)
    assert results_folders(machines) == tuple(machines / f"m{number}" / "runs" for number in range(3))
    assert results_folders(tmp_path / "absent") == (tmp_path / "absent",)


def test_a_run_whose_settings_are_none_is_merged_by_its_name(machines: Path, tmp_path: Path) -> None:
    run = small_spec("piggyback", 2, 1, seeds=(0,)).run_id
    shutil.copytree(machines / "m0" / "runs" / run, tmp_path / "runs" / run)
    path = tmp_path / "runs" / run / "result.json"
    value = read_json(path)
    value.pop("sha256")
    value["spec"]["mask"] = "soft"
    write_json(path, sealed(value))
    found = gather([tmp_path / "runs"], tmp_path / "merged")
    assert found.copied == [run] or any(run in line for line in found.left_out)
