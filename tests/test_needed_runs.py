"""Runs that start from another run's networks: what is planned, reused, refused and told."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from report_records import record as made_record
from small_runs import leftovers, numbers, read_json, run_here, small_options, small_spec, stored

from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.execute.estimate import BESIDES, Estimates, kind_of, work_of
from benchmark.execute.finished_networks import FinishedNetworks
from benchmark.execute.shared_lock import locked
from benchmark.execute.store import run_folder
from benchmark.plan.needed import needed_run, with_needed
from benchmark.plan.planning import planned
from benchmark.plan.request import request_of
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.loader import load_scenario
from methods.card import Needs
from methods.registry import METHODS, PluginWarning, _usable
from results.schema import RunRecord, SchemaError

REPOSITORY = Path(__file__).resolve().parent.parent
MERGES = ("tall-masks", "emr")
QUICK = ("--tasks", "3", "--epochs", "2", "--train-limit", "60", "--threads", "1", "--executor", "local")


def plan(**wanted: Any) -> list[RunSpec]:
    return planned(request_of({"scenario": "digits", **wanted}), load_scenario("digits"))


def run_of(results: Path, method: str) -> Path:
    (path,) = results.glob(f"digits-{method}-s0-*")
    return path


def command(results: Path, *words: str) -> int:
    """``run`` in this process, without the report at its end, which would take most of the time."""
    with mock.patch("benchmark.execute.conclusion.conclude"):
        return main(["run", *QUICK, "--results", str(results), *words])


# ------------------------------------------------------------------ the plan


def test_a_method_alone_plans_the_run_that_it_needs_first_and_under_its_own_name() -> None:
    (tuned,) = plan(methods="finetune")
    assert plan(methods="tall-masks")[0].run_id == tuned.run_id
    assert [spec.method for spec in plan(methods="tall-masks", seeds=[0, 1])] == ["finetune", "tall-masks"] * 2


def test_runs_that_are_planned_anyway_stand_there_once() -> None:
    assert [spec.method for spec in plan(methods=["emr", "finetune", "tall-masks"])] == ["finetune", *MERGES[::-1]]
    every = [spec.run_id for spec in plan(methods="all")]
    assert len(every) == len(set(every)) == len(METHODS)


def test_settings_of_the_needed_run_are_part_of_a_run_and_may_be_swept() -> None:
    specs = plan(methods="emr", settings={"finetune.lr": [1e-3, 2e-3]}, epochs=6)
    assert [(spec.method, (spec.networks or spec.settings).lr) for spec in specs] == [
        ("finetune", 1e-3), ("emr", 1e-3), ("finetune", 2e-3), ("emr", 2e-3),
    ]  # fmt: skip
    assert len({spec.run_id for spec in specs}) == 4
    assert [needed_run(spec) for spec in specs] == [None, specs[0], None, specs[2]]
    assert {spec.settings.epochs for spec in specs if spec.method == "finetune"} == {6}
    assert {spec.settings.epochs for spec in specs if spec.method == "emr"} == {0}


def test_the_needed_run_has_the_same_scenario_selection_backbone_and_bn_policy() -> None:
    wanted: dict[str, Any] = {
        "selection": "last", "bn_policy": "frozen", "tasks": 3, "initial_task": 2, "train_limit": 50,
        "settings": {"backbone.width": 0.5, "protocol.batch_size": 16},
    }  # fmt: skip
    tuned, merge = plan(methods="emr", **wanted)
    assert [tuned] == plan(methods="finetune", **wanted)
    assert merge.initial_key == tuned.initial_key, "both start from one task-1 network"


def test_a_spec_comes_back_from_its_record() -> None:
    for spec in plan(methods="tall-masks", settings={"finetune.lr": 0.5}):
        assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    damaged = {**plan(methods="emr")[1].to_json(), "networks": None}
    with pytest.raises(ValueError, match="its networks has no epochs"):
        RunSpec.from_json(damaged)


def test_other_runs_keep_the_names_that_they_had_before_there_were_such_methods() -> None:
    assert [plan(methods=name)[0].ids for name in ("finetune", "ksm")] == [
        ("digits-finetune-s0-c53d912412", "digits-finetune-s0-b66457862e"),
        ("digits-ksm-s0-bc5f5ff930", "digits-ksm-s0-e2070b9e26"),
    ]


def test_a_plug_in_may_only_start_from_networks_that_are_trained_and_kept() -> None:
    for of, words in (
        ("nothing", "there is no such method"),
        ("emr", "must train them itself"),
        ("ksm", "must train them itself"),
        ("finetune-sequential", "must train them itself"),
    ):
        card = dataclasses.replace(METHODS["emr"], name="mine", needs=Needs(networks_of=of))
        with pytest.warns(PluginWarning, match=words):
            assert _usable("mine", card, dict(METHODS)) == {}
    card = dataclasses.replace(METHODS["emr"], name="mine")
    assert _usable("mine", card, dict(METHODS)) == {"mine": card}


def test_how_long_it_takes_follows_from_the_run_that_it_needs_until_one_is_known() -> None:
    tuned, merge = plan(methods="emr", tasks=3, epochs=2)
    images = {1: 100, 2: 100, 3: 100}
    found = Estimates(images)
    assert not found.knows(merge) and found.seconds(merge) is None
    found.learn_step(tuned, 0.032)  # a millisecond an image
    whole = found.seconds(tuned)
    assert found.knows(merge) and whole is not None
    assert found.seconds(merge) == pytest.approx(whole * (1 - 1 / BESIDES))
    assert found.total([tuned, merge], 1) == pytest.approx(whole * (2 - 1 / BESIDES))
    assert work_of(merge, images) == 3 * 90, "every image once"
    found.rates[kind_of(merge)] = [0.01]
    assert found.seconds(merge) == pytest.approx(2.7)


# ------------------------------------------------------------------ runs in this process


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of ``run --method tall-masks`` alone."""
    results = tmp_path_factory.mktemp("first") / "runs"
    assert command(results, "--method", "tall-masks") == 0
    return results


@pytest.fixture
def results(first: Path, tmp_path: Path) -> Path:
    """A copy of them, to change."""
    shutil.copytree(first, tmp_path / "runs")
    return tmp_path / "runs"


def test_the_needed_run_is_one_like_any_other_and_keeps_its_networks(first: Path, tmp_path: Path) -> None:
    tuned = read_json(run_of(first, "finetune") / "result.json")
    assert (tuned["status"], tuned["networks_from"]) == ("finished", None)
    assert len(stored(run_of(first, "finetune"))) == 4
    assert command(tmp_path / "alone", "--method", "finetune") == 0
    alone = read_json(run_of(tmp_path / "alone", "finetune") / "result.json")
    assert (alone["accuracy_matrix"], alone["learned_sha256"]) == (tuned["accuracy_matrix"], tuned["learned_sha256"])
    assert stored(run_of(tmp_path / "alone", "finetune")) == {}, "nobody wanted these"
    assert leftovers(first) == []


def test_the_record_says_whose_networks_they_were_and_what_they_took(first: Path) -> None:
    tuned, merge = (read_json(run_of(first, name) / "result.json") for name in ("finetune", "tall-masks"))
    assert merge["networks_from"] == {
        "run_id": tuned["run_id"],
        "method": "finetune",
        "title": "Fine-tune",
        "learned_sha256": tuned["learned_sha256"],
        "training_seconds": {task["name"]: task["seconds"].get("train", 0.0) for task in tuned["tasks"]},
        "same_hardware": True,
    }
    assert merge["spec"]["networks"] == tuned["spec"]["settings"]
    assert merge["learned_sha256"]["(backbone)"] != tuned["learned_sha256"]["(backbone)"]
    assert merge["task1_network"] == {**tuned["task1_network"], "reused": True}
    assert merge["tasks"][0]["status"] == "task-1 network"
    assert [task["epochs"] for task in merge["tasks"]] == [0, 0, 0]
    own = [set(task["seconds"]) & {"train", "prune", "choose", "retrain"} for task in merge["tasks"]]
    assert own == [set(), {"train", "choose"}, {"train", "choose"}]
    assert merge["trainable_parameters"] == 0


def test_forgetting_is_that_of_the_merges_of_the_first_tasks(first: Path, tmp_path: Path) -> None:
    """Each row of the matrix is the last row of a run that ends there."""
    matrix = read_json(run_of(first, "tall-masks") / "result.json")["accuracy_matrix"]
    assert command(tmp_path / "two", "--method", "tall-masks", "--tasks", "2") == 0
    shorter = read_json(run_of(tmp_path / "two", "tall-masks") / "result.json")
    assert shorter["accuracy_matrix"] == [row[:2] for row in matrix[:2]]


def test_finished_networks_are_used_again_and_their_record_is_not_touched(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in run_of(results, "finetune").rglob("[!.]*") if path.is_file()}

    before = written()
    (results / ".cache" / "task1").rename(results / "gone")  # the task-1 network is theirs, too
    assert command(results, "--method", "emr") == 0
    assert "1 of 2 runs are finished already" in capsys.readouterr().out
    assert written() == before
    record = read_json(run_of(results, "emr") / "result.json")
    assert record["networks_from"]["run_id"] == run_of(results, "finetune").name
    assert not list((results / ".cache" / "task1").glob("*.safetensors"))


def test_dry_run_shows_both_and_whence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path / "runs", "--method", "emr", "--dry-run") == 0
    out = capsys.readouterr().out
    tuned, merge = plan(methods="emr", tasks=3, epochs=2, train_limit=60)
    lines = [line for line in out.splitlines() if "digits-" in line]
    assert [tuned.run_id in line for line in lines] == [True, True]
    assert f"from the networks of {tuned.run_id}" in lines[1] and lines[1].endswith(merge.run_id)
    assert "2 runs; about" in out and "timed steps" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_networks_that_cannot_be_used_are_a_sentence_before_anything_starts(
    damage: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark.execute.checkpoint import read_tensors, write_tensors

    path = run_of(results, "finetune") / "tasks" / "task002.safetensors"
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        tensors, about = read_tensors(path)
        write_tensors(path, {name: tensor + 1 for name, tensor in tensors.items()}, about)
    assert command(results, "--method", "emr") == 2
    told = capsys.readouterr().err
    expected = {
        "gone": "did not keep them (task002.safetensors is not there)", "cut": "is damaged",
        "changed": "is not what the run learned",
    }  # fmt: skip
    assert expected[damage] in told
    assert "--method finetune --force --keep-weights all" in told
    assert told.count("\n") == 1 and "Traceback" not in told
    assert not list(results.glob("digits-emr-*/*.json*")), "nothing was started"
    assert command(results, "--method", "emr", "--force") == 0
    assert read_json(run_of(results, "emr") / "result.json")["status"] == "finished"
    assert path.exists(), "the repeated run kept what was wanted of it"


def test_a_needed_run_that_was_finished_without_keeping_its_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path / "runs", "--method", "finetune") == 0
    capsys.readouterr()
    assert command(tmp_path / "runs", "--method", "tall-masks", "--dry-run") == 0
    warned = capsys.readouterr().out
    assert command(tmp_path / "runs", "--method", "tall-masks") == 2
    told = capsys.readouterr().err
    assert "tall-masks starts from the networks of finetune" in told
    assert told.replace("error: ", "warning: ") in warned
    assert command(tmp_path / "runs", "--method", "finetune", "--force", "--keep-weights", "all") == 0
    assert command(tmp_path / "runs", "--method", "tall-masks") == 0


def test_a_needed_run_that_failed_fails_what_starts_from_it_too(tmp_path: Path) -> None:
    results = tmp_path / "runs"
    assert command(results, "--method", "emr", "--set", "finetune.lr=1e30") == 1
    record = read_json(run_of(results, "emr") / "result.json")
    assert record["status"] == "failed"
    assert record["error"].startswith("RequestError: emr starts from the networks of finetune, and digits-finetune-")
    assert "has not finished; give the same command again" in record["error"]


def test_networks_of_other_data_are_refused(first: Path) -> None:
    spec = plan(methods="emr", tasks=3, epochs=2, train_limit=60)[1]
    with pytest.raises(RequestError, match="was made with other data; repeat that run"):
        FinishedNetworks(spec, first, "another fingerprint")


@pytest.mark.parametrize("selection", ["last", "legacy-test"])
def test_every_selection_has_images_to_choose_lambda_on(selection: str, tmp_path: Path) -> None:
    spec = small_spec("tall-masks", selection=selection)
    options = small_options(tmp_path)
    for one in with_needed([spec]):
        record, _ = run_here(one, options)
    assert record.finished, record.error
    assert record.spec["selection"] == selection


def test_from_a_pretrained_backbone_every_task_has_a_vector(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from benchmark.backbones.builder import build

    save_file(build("small_cnn", width=1.0, channels=1).state_dict(), tmp_path / "weights.safetensors")
    words = ("--weights", str(tmp_path / "weights.safetensors"), "--protocol", "digits")
    assert command(tmp_path / "runs", "--method", "tall-masks", *words) == 0
    record = read_json(run_of(tmp_path / "runs", "tall-masks") / "result.json")
    assert record["task1_network"] is None
    assert [task["status"] for task in record["tasks"]] == ["learned"] * 3
    assert {row["task"] for row in record["mask_statistics"]} == {task["name"] for task in record["tasks"]}


def test_a_run_is_repeated_from_its_record_together_with_the_one_that_it_needs(first: Path, tmp_path: Path) -> None:
    record = run_of(first, "tall-masks") / "result.json"
    words = ["run", "--from-record", str(record), "--results", str(tmp_path / "again"), "--executor", "local"]
    assert main(words) == 0
    again = read_json(run_of(tmp_path / "again", "tall-masks") / "result.json")
    assert again["learned_sha256"] == read_json(record)["learned_sha256"]


def test_perf_has_no_step_to_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "--method", "tall-masks,emr"]) == 2
    assert "nothing trains there, so there is no step to time" in capsys.readouterr().err


# ------------------------------------------------------------------ the record and the report


def source(**changes: Any) -> dict[str, Any]:
    facts = {
        "run_id": "digits-finetune-s0-0123456789", "method": "finetune", "title": "Fine-tune",
        "learned_sha256": {"fish": "ab"}, "training_seconds": {"fish": 30.0, "flowers": 20.0}, "same_hardware": True,
    }  # fmt: skip
    return {**facts, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training_seconds": {"fish": -1.0}}, "training_seconds.fish is -1.0"),
        ({"training_seconds": [1.0]}, "training_seconds is"),
        ({"same_hardware": "yes"}, "same_hardware is 'yes'"),
        ({"run_id": None}, "run_id is null"),
    ],
)
def test_a_misshapen_source_is_refused(changes: dict[str, Any], words: str) -> None:
    value = made_record("finetune", 0, [0.5, 0.6]).to_json()
    RunRecord.from_json({**value, "networks_from": source()})
    with pytest.raises(SchemaError, match=words):
        RunRecord.from_json({**value, "networks_from": source(**changes)})


def with_source(seconds: float, **changes: Any) -> RunRecord:
    value = made_record("emr", 0, [0.5, 0.6], seconds=[None, seconds], epochs=1).to_json()
    return RunRecord.from_json({**value, "networks_from": source(**changes)})


def test_the_page_shows_times_with_and_without_the_networks() -> None:
    from reports.grouping import group
    from reports.tables.ranking import ranking, ranking_sheet
    from reports.tables.training_time import ALL_TOGETHER, NETWORKS, TOTAL, training_times

    tuned = made_record("finetune", 0, [0.5, 0.7], seconds=[None, 50.0])
    ((panel,), _) = group([tuned, with_source(2.0)])
    (grid,) = training_times(panel)
    column = next(column for column in grid.columns if column.method == "EMR-merging")
    assert [grid.cell(row, column).samples for row in (TOTAL, NETWORKS, ALL_TOGETHER)] == [
        {0: 2.0},
        {0: 50.0},
        {0: 52.0},
    ]
    assert "what it costs on top of that run" in grid.caption
    merge = next(item for item in ranking(panel) if item.configuration.method == "emr")
    assert merge.seconds and merge.networks and merge.in_all
    assert (merge.seconds.mean, merge.networks.mean, merge.in_all.mean) == (2.0, 50.0, 52.0)
    sheet = ranking_sheet(panel)
    assert "2.00 (+ 50)" in [entry.text for line in sheet.lines for entry in line.entries]
    assert any(remark.startswith("(+ …)") for remark in sheet.remarks)


def test_times_of_networks_from_other_hardware_are_not_added_up() -> None:
    from reports.grouping import group
    from reports.tables.ranking import ranking, ranking_sheet
    from reports.tables.training_time import ALL_TOGETHER, training_times

    ((panel,), _) = group([with_source(2.0, same_hardware=False)])
    (grid,) = training_times(panel)
    cell = grid.cell(ALL_TOGETHER, grid.columns[0])
    assert (dict(cell.samples), cell.remark_in_short) == ({}, "other hardware")
    (merge,) = ranking(panel)
    assert (merge.networks, merge.in_all) == (None, None)
    assert "2.00 (+ ?)" in [entry.text for line in ranking_sheet(panel).lines for entry in line.entries]


def test_a_page_without_such_methods_has_no_such_rows() -> None:
    from reports.grouping import group
    from reports.tables.training_time import NETWORKS, training_times

    ((panel,), _) = group([made_record("finetune", 0, [0.5, 0.7], seconds=[None, 50.0])])
    assert NETWORKS not in training_times(panel)[0].rows


def test_masks_that_keep_everything_are_no_masks_that_never_moved() -> None:
    from reports.soundness import masks_never_moved

    every = (("flowers", "layer", 5, 0, 0),)
    assert masks_never_moved(made_record("ksm", 0, [0.5, 0.7], masks=every))
    value = made_record("emr", 0, [0.5, 0.7], masks=every).to_json()
    assert not masks_never_moved(RunRecord.from_json({**value, "networks_from": source()}))


def test_what_to_tune_are_the_rates_of_the_networks() -> None:
    from reports.grouping import group
    from reports.soundness import faults

    value = made_record("emr", 0, [0.2, 0.2], seconds=[None, 2.0], spec={"networks": {"lr": 0.5}}).to_json()
    ((panel,), _) = group([RunRecord.from_json({**value, "networks_from": source()})])
    (fault,) = faults(panel, panel.everything[0])
    assert (fault.name, fault.advice) == ("at chance", "tune its rates with --set finetune.lr=…")
    assert fault.detail.endswith("at lr=0.5")


# ------------------------------------------------------------------ several processes, and killed ones


def start(results: Path, *words: str) -> subprocess.Popen[str]:
    quick = ("--tasks", "3", "--threads", "1", "--device", "cpu", "--set", "run.checkpoint_seconds=0")
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark", "run", *quick, "--results", str(results), *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, cwd=results.parent, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start``, and an end to all that is left of it."""
    commands: list[subprocess.Popen[str]] = []

    def one(results: Path, *words: str) -> subprocess.Popen[str]:
        commands.append(start(results, *words))
        return commands[-1]

    yield one
    for item in commands:
        item.kill()
        item.wait()


@pytest.mark.exhaustive
def test_two_commands_share_the_needed_run_and_a_killed_one_goes_on(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """One command is killed as it trains what both need; the other one, and the same command again, finish all."""
    results, epochs = tmp_path / "runs", ("--epochs", "12")
    tuned, merge = plan(methods="tall-masks", tasks=3, epochs=12)
    events = run_folder(results, tuned.run_id).events
    killed = started(results, "--method", "tall-masks", *epochs)
    while not (events.exists() and '"train"' in events.read_text()):
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.01)
    other = started(results, "--method", "emr", "--keep-weights", "none", *epochs)
    killed.kill()
    killed.wait()
    again = started(results, "--method", "tall-masks", *epochs)
    for item in (other, again):
        out, _ = item.communicate(timeout=300)
        assert item.returncode == 0, out
    with locked(run_folder(results, tuned.run_id).path / ".lock"):
        pass
    records = {name: run_folder(results, spec.run_id).read() for name, spec in (("tuned", tuned), ("merge", merge))}
    assert all(found is not None and found.finished for found in records.values())
    calm = tmp_path / "calm"
    for spec in (tuned, merge):
        expected, _ = run_here(spec, small_options(calm))
        found = run_folder(results, spec.run_id).read()
        assert found is not None and numbers(found) == numbers(expected)
        assert stored(results / spec.run_id) == stored(calm / spec.run_id)
    assert leftovers(results) == []
