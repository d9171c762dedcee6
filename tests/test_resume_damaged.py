"""Resuming from what a stop, damage or other data left: the other checkpoint, or afresh; never other numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from interrupted import Stopped, said, stop_after, stopped_run
from small_runs import leftovers, numbers, run_here, small_options, small_spec, stored

from benchmark.cli.main import main
from benchmark.execute.checkpoint import read_metadata, read_tensors, write_tensors
from benchmark.execute.store import run_folder
from results.reader import read_runs

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint-within.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "other run"])
def test_run_goes_on_from_the_other_checkpoint_when_one_is_damaged(name: str, damage: str, tmp_path: Path) -> None:
    spec, options = stopped_run(tmp_path)
    path = run_folder(tmp_path / "runs", spec.run_id).path / name
    if damage == "other run":
        tensors, metadata = read_tensors(path)
        write_tensors(path, tensors, {**metadata, "done": {**metadata["done"], "run_id": "digits-packnet-s9"}})
    else:
        path.write_bytes(path.read_bytes()[: 200 if damage == "truncated" else 0])
    record, events = run_here(spec, options)
    assert name in said(events)
    assert "it cannot be used" in said(events)
    assert "going on after 2 finished tasks" in said(events)
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    assert numbers(record) == numbers(calm)
    assert stored(tmp_path / "runs" / spec.run_id) == stored(tmp_path / "calm" / spec.run_id)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["task001.safetensors", "shared.safetensors"])
def test_run_starts_afresh_when_what_it_learned_is_damaged(name: str, tmp_path: Path) -> None:
    spec, options = stopped_run(tmp_path, "ksm", epochs=5)
    path = run_folder(tmp_path / "runs", spec.run_id).path / "tasks" / name
    path.write_bytes(path.read_bytes()[:-100])
    record, events = run_here(spec, options)
    assert f"{name} is damaged" in said(events)
    assert "going on" not in said(events)
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    assert numbers(record) == numbers(calm)


def test_run_on_other_data_does_not_go_on_from_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from benchmark.execute import assembly

    spec, options = stopped_run(tmp_path)
    material = assembly.material

    def other(*arguments: Any) -> Any:
        return dataclasses.replace(material(*arguments), fingerprint="other data")

    monkeypatch.setattr(assembly, "material", other)
    record, events = run_here(spec, options)
    assert "made with other data" in said(events)
    assert record.provenance["sessions"] == 1
    assert record.provenance["data_fingerprint"] == "other data"


def test_run_without_resume_starts_afresh(tmp_path: Path) -> None:
    spec, _ = stopped_run(tmp_path)
    record, events = run_here(spec, small_options(tmp_path / "runs", resume=False))
    assert "going on" not in said(events)
    assert record.provenance["sessions"] == 1
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("damage", ["truncated", "other images"])
def test_cached_task1_network_that_cannot_be_used_is_trained_again(damage: str, tmp_path: Path) -> None:
    first, _ = run_here(small_spec("head-only"), small_options(tmp_path))
    (path,) = (tmp_path / ".cache" / "task1").glob("*.safetensors")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        tensors, metadata = read_tensors(path)
        write_tensors(path, tensors, {"facts": {**metadata["facts"], "data": "0123456789"}})
    second, events = run_here(small_spec("piggyback"), small_options(tmp_path))
    assert "training" in said(events)
    assert "again" in said(events)
    assert first.task1_network is not None
    assert second.task1_network is not None
    assert second.task1_network["reused"] is False
    assert second.task1_network["accuracy"] == first.task1_network["accuracy"]


def test_stopped_training_of_the_task1_network_goes_on(tmp_path: Path) -> None:
    from benchmark.execute.runner import run

    spec = small_spec("head-only", epochs=6)
    options = small_options(tmp_path / "runs", checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        run(spec, options, stop_after(5))
    (unfinished,) = (tmp_path / "runs" / ".cache" / "task1").glob("*.unfinished")
    assert read_metadata(unfinished)["progress"]["epochs"] == 4
    record, events = run_here(spec, options)
    in_task1 = [event for event in events if event["type"] == "epoch" and event["phase"] == "task-1 network"]
    assert [event["epoch"] for event in in_task1] == [5, 6]
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    assert numbers(record) == numbers(calm)
    assert record.task1_network is not None
    assert calm.task1_network is not None
    assert record.task1_network["curve"] == calm.task1_network["curve"]
    assert stored(tmp_path / "runs" / spec.run_id) == stored(tmp_path / "calm" / spec.run_id)
    assert leftovers(tmp_path) == []


def test_truncated_record_is_named_by_the_report_and_the_run_done_again(tmp_path: Path) -> None:
    specs = [small_spec("head-only", tasks=2, epochs=1, seeds=(seed,)) for seed in (0, 1)]
    first = [run_here(spec, small_options(tmp_path))[0] for spec in specs]
    path = run_folder(tmp_path, specs[0].run_id).record
    path.write_text(path.read_text()[:-50])
    collection = read_runs(tmp_path)
    assert [record.run_id for record in collection.records] == [specs[1].run_id]
    assert [(item.path, item.reason) for item in collection.left_out] == [(path, "it is half-written or no JSON")]
    assert main(["report", "--results", str(tmp_path), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"{specs[0].run_id}/result.json" in page
    assert "half-written or no JSON" in page
    again, _ = run_here(specs[0], small_options(tmp_path))
    assert numbers(again) == numbers(first[0])


def test_stopped_training_of_a_goal_goes_on(tmp_path: Path) -> None:
    from benchmark.execute.runner import run

    spec = small_spec("cpg", tasks=2, epochs=6)
    heard: list[int] = []

    def emit(event: dict[str, Any]) -> None:
        if event["type"] == "epoch" and event["phase"] == "goal":
            heard.append(event["epoch"])
            if len(heard) == 4:
                raise Stopped

    options = small_options(tmp_path / "runs", checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        run(spec, options, emit)
    (unfinished,) = (tmp_path / "runs" / ".cache" / "goals").glob("*.unfinished")
    assert read_metadata(unfinished)["progress"]["epochs"] == 3
    record, events = run_here(spec, options)
    in_goals = [event["epoch"] for event in events if event["type"] == "epoch" and event["phase"] == "goal"]
    calm, all_events = run_here(spec, small_options(tmp_path / "calm"))
    every = [event["epoch"] for event in all_events if event["type"] == "epoch" and event["phase"] == "goal"]
    assert [1, 2, 3, *in_goals] == every
    assert numbers(record) == numbers(calm)
    assert stored(tmp_path / "runs" / spec.run_id) == stored(tmp_path / "calm" / spec.run_id)
    assert leftovers(tmp_path) == []
