"""What may be averaged and what may stand in one table."""

from __future__ import annotations

import dataclasses

from report_records import record

from reports.grouping import group
from reports.hardware import hardware_of


def test_only_the_seed_may_differ_within_a_configuration() -> None:
    runs = [record("ksm", seed, [0.5, 0.6]) for seed in (2, 0, 1)]
    (panel,), repeated = group(runs)
    (item,) = panel.configurations
    assert item.label == "KSM"
    assert item.seeds == (0, 1, 2)
    assert repeated == ()


def test_configurations_of_one_method_are_told_apart_by_what_differs() -> None:
    runs = [
        record("ksm", 0, [0.5, 0.6]),
        record("ksm", 1, [0.5, 0.6]),
        record("ksm", 0, [0.5, 0.6], spec={"bn_policy": "frozen"}, run_id="frozen"),
        record("ksm", 0, [0.5, 0.6], epochs=30, run_id="long"),
    ]
    (panel,), _ = group(runs)
    labels = [item.label for item in panel.configurations]
    assert labels[0] == "KSM (BN per-task, epochs 10)"  # most seeds first
    assert set(labels[1:]) == {"KSM (BN frozen, epochs 10)", "KSM (BN per-task, epochs 30)"}


def test_other_images_backbones_or_selections_are_other_panels() -> None:
    runs = [
        record("ksm", 0, [0.5, 0.6]),
        record("ksm", 0, [0.5, 0.6], spec={"selection": "legacy-test"}, run_id="b"),
        record("ksm", 0, [0.5, 0.6], spec={"backbone": {"name": "vgg16_bn", "width": 0.125}}, run_id="c"),
        record("ksm", 0, [0.5, 0.6, 0.7], run_id="d"),
        record("ksm", 0, [0.5, 0.6], spec={"train_limit": 100}, run_id="e"),
    ]
    panels, _ = group(runs)
    assert len(panels) == 5
    assert len({panel.slug for panel in panels}) == 5


def test_the_later_of_two_equal_runs_counts() -> None:
    early = record("ksm", 0, [0.5, 0.6], run_id="early")
    late = record("ksm", 0, [0.7, 0.8], run_id="late", provenance={"finished": "2025-03-02T00:00:00+00:00"})
    (panel,), repeated = group([late, early])
    assert [run.run_id for run in panel.configurations[0].runs] == ["late"]
    assert repeated == ("early: the same run as late, which finished later",)


def test_mixed_devices_are_never_averaged_into_one_time() -> None:
    def on(name: str, seed: int, seconds: float) -> object:
        return record("ksm", seed, [0.5], seconds=[seconds], spec={"device": "cuda"},
                      provenance={"device": {"name": name, "driver": "550"}}, run_id=f"{name}{seed}")  # fmt: skip

    (panel,), _ = group([on("A", 0, 1.0), on("A", 1, 3.0), on("B", 2, 100.0)])  # type: ignore[list-item]
    (item,) = panel.configurations
    by_device = {hardware.device: item.training_seconds(hardware) for hardware in panel.hardware}
    assert by_device == {"A": {(1, 0): 1.0, (1, 1): 3.0}, "B": {(1, 2): 100.0}}
    assert item.accuracy == {(1, 0): 0.5, (1, 1): 0.5, (1, 2): 0.5}


def test_driver_precision_and_threads_are_hardware() -> None:
    base = record("ksm", 0, [0.5], spec={"device": "cuda"}, provenance={"device": {"name": "G", "driver": "1"}})
    other = record("ksm", 0, [0.5], spec={"device": "cuda"}, provenance={"device": {"name": "G", "driver": "2"}})
    half = dataclasses.replace(base, spec={**base.spec, "precision": "bf16"})
    assert len({hardware_of(base), hardware_of(other), hardware_of(half)}) == 3
    two, four = (record("ksm", 0, [0.5], provenance={"host": {"cpu": "C", "threads": n}}) for n in (2, 4))
    assert hardware_of(two) != hardware_of(four)
    assert hardware_of(two).label == "C, 2 threads, fp32"


def test_initial_tasks_share_a_panel_and_the_commonest_leads() -> None:
    runs = [record(method, 0, [0.5, 0.6]) for method in ("ksm", "piggyback")]
    runs += [record("ksm", seed, [0.5, 0.6], initial_task=2) for seed in range(5)]
    (panel,), _ = group(runs)
    assert panel.initial_task == 1
    assert [item.label for item in panel.configurations] == ["Piggyback", "KSM"]
    assert [item.initial_task for item in panel.everything] == [1, 1, 2]
    assert panel.everything[-1].accuracy[1, 0] == 0.5  # by the scenario's own order, not the learning order


def test_unknown_methods_come_last_under_their_own_name() -> None:
    (panel,), _ = group([record("my-plugin", 0, [0.5]), record("ksm", 0, [0.5])])
    assert [item.label for item in panel.configurations] == ["KSM", "my-plugin"]


def test_records_of_before_and_after_a_new_knob_are_one_configuration() -> None:
    older = record("ksm", 0, [0.5, 0.6])
    settings = {**older.spec["settings"], "reach": None, "warm_up": 0.0, "mask_lr": None}
    younger = record("ksm", 1, [0.5, 0.7])
    younger = dataclasses.replace(younger, spec={**younger.spec, "settings": settings, "settings_of": "cifar100-20"})
    (panel,), _ = group([older, younger])
    assert [item.label for item in panel.everything] == ["KSM"]
    changed = {**younger.spec, "settings": {**settings, "reach": 3.0}}
    (panel,), _ = group([older, dataclasses.replace(younger, spec=changed)])
    assert {item.label for item in panel.everything} == {"KSM (reach none)", "KSM (reach 3)"}


def test_runs_on_other_images_are_neither_averaged_nor_repeats() -> None:
    runs = [record("ksm", 0, [0.5, 0.6]), record("ksm", 0, [0.5, 0.9]), record("ksm", 1, [0.5, 0.6])]
    marks = ("a" * 64, "b" * 64, "a" * 64)
    runs = [
        dataclasses.replace(run, provenance={**run.provenance, "data_fingerprint": mark})
        for run, mark in zip(runs, marks, strict=True)
    ]
    panels, repeated = group(runs)
    assert repeated == ()
    assert sorted(len(panel.everything[0].runs) for panel in panels) == [1, 2]
    assert {panel.describe().rpartition(" · ")[2] for panel in panels} == {"images aaaaaaaa", "images bbbbbbbb"}
    (alone,), _ = group(runs[:1])
    assert "images aaaaaaaa" not in alone.describe()
