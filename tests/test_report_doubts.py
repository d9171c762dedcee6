"""Doubts about times, as the runs noted them, under the tables of times."""

from __future__ import annotations

from report_records import record

from reports.doubts import doubtful_times
from reports.grouping import group
from reports.setting import departures


def test_notes_of_one_kind_are_one_remark_with_its_count() -> None:
    notes = [
        ["the CPU was busy: load 2.8 on 2 cores when the run began"],
        ["the CPU was busy: load 1.9 on 2 cores when the run began", "torch is a debug build"],
        [],
    ]
    runs = [record("ksm", seed, (0.5, 0.6), provenance={"notes": note}) for seed, note in enumerate(notes)]
    (panel,), _ = group(runs)
    assert doubtful_times(panel, panel.hardware[0]) == (
        "Doubtful times: the CPU was busy: load 2.8 on 2 cores when the run began (2 of 3 runs).",
        "Doubtful times: torch is a debug build (1 of 3 runs).",
    )


def test_epochs_other_than_the_protocols_are_a_departure() -> None:
    runs = [record("ksm", 0, (0.5, 0.6), epochs=10), record("packnet", 0, (0.5, 0.6), epochs=100)]
    runs.append(record("piggyback", 0, (0.5, 0.6), epochs=10))
    (panel,), _ = group(runs)
    assert "10 epochs for Piggyback (30), KSM (30)" in departures(panel)
