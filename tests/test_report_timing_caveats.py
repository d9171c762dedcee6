"""Doubts about times, as the runs noted them, under the tables of times."""

from __future__ import annotations

from report_records import record

from reports.grouping import group
from reports.setting import departures
from reports.timing_caveats import caveats_in_brief, timing_caveats


def test_notes_of_one_kind_are_one_remark_with_its_count() -> None:
    notes = [
        ["the CPU was busy: load 2.8 on 2 cores when the run began"],
        ["the CPU was busy: load 1.9 on 2 cores when the run began", "torch is a debug build"],
        [],
    ]
    runs = [record("ksm", seed, (0.5, 0.6), provenance={"notes": note}) for seed, note in enumerate(notes)]
    (panel,), _ = group(runs)
    assert timing_caveats(panel, panel.hardware[0]) == (
        "Timing caveat: the CPU was busy: load 1.9 to 2.8 on 2 cores when the run began (2 of 3 runs).",
        "Timing caveat: torch is a debug build (1 of 3 runs).",
    )


def test_runs_without_a_caveat_are_named() -> None:
    busy = {"notes": ["load 3.5 on 2 cores"]}
    runs = [record("ksm", 0, (0.5, 0.6), provenance=busy), record("piggyback", 0, (0.5, 0.6))]
    (panel,), _ = group(runs)
    (remark,) = timing_caveats(panel, panel.hardware[0])
    assert remark == "Timing caveat: load 3.5 on 2 cores (1 of 2 runs; not Piggyback)."
    ksm, piggyback = panel.of("ksm"), panel.of("piggyback")
    assert "timing caveats" in caveats_in_brief(ksm, panel.hardware[0])
    assert caveats_in_brief(piggyback, panel.hardware[0]) == ""


def test_learning_rate_schedule_and_batch_other_than_the_sources_are_departures() -> None:
    own = record("ksm", 0, (0.5, 0.6), epochs=30, spec={"settings": {"epochs": 30, "lr": 1e-4, "schedule": "step"}})
    fast = {"batch_size": 8, "settings": {"epochs": 30, "lr": 5e-4, "schedule": "cosine"}}
    other = record("piggyback", 0, (0.5, 0.6), epochs=30, spec=fast)
    (panel,), _ = group([own, other])
    found = departures(panel)
    assert "lr 0.0005 for Piggyback (0.0001)" in found
    assert "schedule cosine for Piggyback (step)" in found
    assert "batches of 8 images for Piggyback (32)" in found
    assert not any("KSM" in text for text in found)


def test_a_second_configuration_beside_the_sources_own_is_no_departure() -> None:
    runs = [record("ksm", 0, (0.5, 0.6), epochs=epochs, run_id=f"ksm-{epochs}") for epochs in (10, 30)]
    (panel,), _ = group(runs)
    assert not any("epochs" in text for text in departures(panel))


def test_epochs_other_than_the_protocols_are_a_departure() -> None:
    runs = [record("ksm", 0, (0.5, 0.6), epochs=10), record("packnet", 0, (0.5, 0.6), epochs=100)]
    runs.append(record("piggyback", 0, (0.5, 0.6), epochs=10))
    (panel,), _ = group(runs)
    assert "10 epochs for Piggyback (30), KSM (30)" in departures(panel)
