"""Tuning on the page: trials apart from runs, tuned beside untuned, what the search cost, and how rates mattered."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from report_records import record, save

import benchmark as mb
from benchmark.errors import RequestError
from methods.registry import METHODS
from methods.settings import MaskedSettings
from reports import soundness
from reports.build import build
from reports.figures.sensitivity import sensitivity
from reports.grouping import group
from reports.numbers import duration
from reports.records import load
from reports.report_error import ReportError
from reports.tables.tuned_beside_untuned import pairs
from reports.trials import searches, with_trials
from reports.tuning import in_words, twins
from reports.validation import mean_validation, validation_accuracy
from results.schema import RunRecord

TUNING = {
    "trials": 4, "tasks": 2, "seed": 0, "trial": 2, "validation": 0.9, "untuned": 0.8, "pruned": 0,
    "space": ["ksm.lr 1e-05 to 0.001, log", "ksm.head_lr 0.0001 to 0.01, log", "ksm.schedule one of step, cosine"],
}  # fmt: skip
OWN = {"epochs": 10, "lr": 1e-4, "head_lr": 1e-3, "schedule": "step"}


def untuned(method: str, seed: int, accuracies: Sequence[float], **more: Any) -> RunRecord:
    """A run with the protocol's own settings."""
    return record(method, seed, accuracies, spec={"settings": OWN} | more.pop("spec", {}), **more)


def tuned(
    method: str, seed: int, accuracies: Sequence[float], tuning: Mapping[str, Any] | None = None, took: float = 90.0,
    **more: Any,
) -> RunRecord:  # fmt: skip
    """A run with settings found by trials that took ``took`` seconds."""
    space = [text.replace("ksm", method) for text in TUNING["space"]]  # type: ignore[attr-defined]
    spec = {
        "settings": OWN | {"lr": 3e-4, "schedule": "cosine"}, "measured_on": "test",
        "tuning": TUNING | {"space": space} | dict(tuning or {}), "tuning_seconds": took,
    }  # fmt: skip
    return record(method, seed, accuracies, spec=spec, run_id=f"tuned-{method}-{seed}", **more)


def trial(method: str, number: int, lr: float, score: float, schedule: str = "step", **more: Any) -> RunRecord:
    """A trial on two tasks, each with ``score`` of its validation images right."""
    spec = {"settings": OWN | {"lr": lr, "schedule": schedule}, "measured_on": "validation", "settings_of": "none"}
    accuracies = more.pop("accuracies", [score, score])
    return record(method, 0, accuracies, spec=spec, run_id=f"trial-{method}-{number}", **more)


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """The lines of a CSV of the report."""
    return list(csv.DictReader(io.StringIO((folder / name).read_text(encoding="utf-8"))))


# ---------------------------------------------------------------------- trials are no runs


def test_trials_stand_in_no_comparison(tmp_path: Path) -> None:
    save(tmp_path / "runs", [untuned("ksm", 0, [0.5, 0.6])])
    save(tmp_path / "tune", [trial("ksm", 0, 1e-4, 0.8), trial("ksm", 1, 1e-3, 0.9, status="failed", error="boom")])
    loaded = load(tmp_path / "runs")
    assert [one.run_id for one in loaded.all] == ["cifar100-20-ksm-1-0"]
    assert sorted(one.run_id for one in loaded.trials) == ["trial-ksm-0", "trial-ksm-1"]
    assert loaded.left_out == ()
    built = build(tmp_path / "runs", tmp_path / "report")
    assert {row["run_id"] for row in rows(tmp_path / "report", "runs.csv")} == {"cifar100-20-ksm-1-0"}
    text = built.index.read_text(encoding="utf-8")
    assert "1 finished run\u00a0" in text and "failed run" not in text and "boom" not in text


def test_trials_beside_a_folder_of_another_name_and_in_the_folder_itself(tmp_path: Path) -> None:
    save(tmp_path / "mine", [untuned("ksm", 0, [0.5, 0.6]), trial("ksm", 1, 1e-3, 0.9)])
    save(tmp_path / "mine" / "tune", [trial("ksm", 0, 1e-4, 0.8)])
    loaded = load(tmp_path / "mine")
    assert len(loaded.all) == 1 and len(loaded.trials) == 2
    read = mb.read(tmp_path / "mine")
    assert len(read.records) == 1 and len(read.trials) == 2
    assert len(read.runs()) == len(read.table()) == 1
    assert "1 finished run\u00a0" in read.report(tmp_path / "report").read_text(encoding="utf-8")


def test_a_folder_with_trials_only_is_one_sentence(tmp_path: Path) -> None:
    save(tmp_path / "tune", [trial("ksm", 0, 1e-4, 0.8)])
    (tmp_path / "runs").mkdir()
    told = "holds no run, only 1 trial of tune, measured on validation images; run their outcome first"
    for folder in ("runs", "tune"):
        with pytest.raises(ReportError, match=told):
            build(tmp_path / folder, tmp_path / "report")
    with pytest.raises(RequestError, match=told):
        mb.read(tmp_path / "tune")
    assert not (tmp_path / "report").exists()


def test_records_of_before_and_after_tuning_are_one_configuration() -> None:
    older = untuned("ksm", 0, [0.5, 0.6])
    new = {"measured_on": "test", "tuning": None, "tuning_seconds": None}
    younger = untuned("ksm", 1, [0.5, 0.7], spec=new)
    (panel,), _ = group([older, younger])
    assert [item.seeds for item in panel.everything] == [(0, 1)]
    other = tuned("ksm", 1, [0.5, 0.7], took=1.0)
    (panel,), _ = group([tuned("ksm", 0, [0.5, 0.6], took=2.0), other])
    assert [item.seeds for item in panel.everything] == [(0, 1)], "what tuning took makes no configuration"


@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        ({"tuning": {**TUNING, "trials": "many"}}, "trials is 'many'"),
        ({"tuning": {"trials": 3}}, "tuning has no tasks"),
        ({"tuning": [1]}, "tuning is"),
        ({"tuning_seconds": -1}, "tuning_seconds is -1"),
    ],
)
def test_tuning_that_is_none_is_left_out(tmp_path: Path, spoiled: dict[str, Any], told: str) -> None:
    good, bad = untuned("ksm", 0, [0.5, 0.6]), tuned("ksm", 1, [0.5, 0.6])
    bad = dataclasses.replace(bad, spec=bad.spec | spoiled)
    loaded = load(save(tmp_path / "runs", [good, bad]))
    assert len(loaded.all) == 1
    assert told in loaded.left_out[0]


# ---------------------------------------------------------------------- two panels, and what is said of each


def test_tuned_and_untuned_runs_are_two_panels() -> None:
    runs = [run(method, 0, [0.5, 0.6]) for method in ("ksm", "piggyback") for run in (untuned, tuned)]
    panels, _ = group(runs)
    assert [panel.tuned for panel in panels] == [True, False], "of equal ones the tuned stands first"
    assert [len(panel.configurations) for panel in panels] == [2, 2]
    assert [panel.describe().endswith(" · tuned settings") for panel in panels] == [True, False]
    assert twins(panels) == [(panels[1], panels[0])]
    other = untuned("ksm", 0, [0.5, 0.6], spec={"train_limit": 100})
    assert twins(group([other, tuned("ksm", 0, [0.5, 0.6])])[0]) == []


def test_what_is_said_beside_a_ranking() -> None:
    def said(*runs: RunRecord) -> str:
        (panel,), _ = group(runs)
        return in_words(panel)

    own, other = tuned("ksm", 0, [0.5, 0.6]), tuned("piggyback", 0, [0.5, 0.6], took=150.0)
    assert said(untuned("ksm", 0, [0.5])) == "The protocol's own settings (or those of the command), untuned."
    assert said(own) == "Tuned with 4 trials on validation images of 2 tasks (2 minutes in all)."
    two_seeds = (own, tuned("ksm", 1, [0.5, 0.6]))
    assert said(*two_seeds, other) == "Tuned with 4 trials each on validation images of 2 tasks (4 minutes in all)."
    more = tuned("piggyback", 0, [0.5, 0.6], {"trials": 8, "tasks": 3, "pruned": 3}, took=7110.0)
    assert said(own, more) == (
        "Tuned with UNEQUAL numbers of trials (Piggyback 8, KSM 4) on validation images of 2 or 3 tasks, 3 of them "
        "given up early (2.0 hours in all)."
    )
    unknown = dataclasses.replace(other, spec=other.spec | {"tuning_seconds": None})
    assert said(own, unknown) == "Tuned with 4 trials each on validation images of 2 tasks."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.2, "1.2 seconds"),
        (1.0, "1 second"),
        (0.19, "0.19 seconds"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5400, "1.5 hours"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# ---------------------------------------------------------------------- tuned beside untuned


def _both() -> list[RunRecord]:
    """KSM: 50, 52, 54 untuned, 60, 61, 65 tuned (differences 10, 9, 11: 10 ± 2.484138); Piggyback: 55 and 54."""
    runs = [untuned("ksm", seed, [a, a]) for seed, a in enumerate((0.50, 0.52, 0.54))]
    runs += [tuned("ksm", seed, [a, a]) for seed, a in enumerate((0.60, 0.61, 0.65))]
    runs += [untuned("piggyback", seed, [0.55, 0.55]) for seed in range(3)]
    own = {"trial": 0}
    runs += [tuned("piggyback", seed, [0.54 - s, 0.54 + s], own) for seed, s in enumerate((0.02, 0.0, -0.02))]
    return runs


def test_tuned_beside_untuned_worked_by_hand(tmp_path: Path) -> None:
    built = build(save(tmp_path / "runs", _both()), tmp_path / "report")
    assert "cifar100-20-tuned-beside-untuned" in built.tables
    ksm, piggyback = rows(tmp_path / "report", "tables/cifar100-20-tuned-beside-untuned.csv")
    assert (ksm["Method"], piggyback["Method"]) == ("KSM", "Piggyback"), "best tuned accuracy first"
    numbers = {key: float(value) for key, value in ksm.items() if value and key not in ("Method", SETTINGS)}
    assert numbers == pytest.approx(
        {
            "Untuned (percent)": 52, "Untuned (percent) ±": 4.968275, "Tuned (percent)": 62,
            "Tuned (percent) ±": 6.572411, "Difference (points)": 10, "Difference (points) ±": 2.484138,
            "Rank untuned": 2, "Rank tuned": 1,
        }, abs=1e-6,
    )  # fmt: skip
    assert ksm[SETTINGS] == "lr 0.0001 → 0.0003, schedule step → cosine"
    assert (piggyback["Rank untuned"], piggyback["Rank tuned"]) == ("1", "2")
    assert float(piggyback["Difference (points)"]) == pytest.approx(-1)
    assert (ksm["Difference (points) mark"], piggyback["Difference (points) mark"]) == ("", "*")
    assert piggyback[SETTINGS] == "trial 0: the protocol's own"
    markdown = (tmp_path / "report" / "tables.md").read_text(encoding="utf-8")
    assert markdown.count("**Tuned beside untuned**") == 1
    text = built.index.read_text(encoding="utf-8")
    order = [text.index(f'<section id="{key}"') for key in ("cifar100-20-ranking", "cifar100-20-tuned-beside-untuned")]
    assert order == sorted(order) and order[1] < text.index('id="claims-overview"')


SETTINGS = "Settings found (untuned → tuned)"


def test_only_runs_that_differ_in_the_searched_settings_are_twins() -> None:
    def found(*runs: RunRecord) -> list[tuple[str, int]]:
        panels, _ = group(runs)
        ((before, after),) = twins(panels)
        return [(pair.untuned.label, pair.rivals) for pair in pairs(before, after)]

    own, after = untuned("ksm", 0, [0.5, 0.6]), tuned("ksm", 0, [0.6, 0.6])
    frozen = untuned("ksm", 0, [0.9, 0.9], spec={"bn_policy": "frozen"}, run_id="frozen")
    assert found(own, frozen, after) == [("KSM (BN per-task)", 0)]
    assert found(frozen, after) == []
    swept = [
        untuned("ksm", seed, [0.5, 0.6], spec={"settings": OWN | {"lr": 1e-2}}, run_id=f"s{seed}") for seed in (0, 7)
    ]
    ((_, rivals),) = found(own, *swept, after)
    assert rivals == 1


# ---------------------------------------------------------------------- what the search cost


def test_cost_with_tuning(tmp_path: Path) -> None:
    """KSM trains 20 and 24 s, its trials took 90 s: 110 and 114, so 112 ± 12.706205 * 2.828427 / sqrt(2)."""
    runs = [tuned("ksm", seed, [0.5, 0.6], seconds=[10.0, 10.0 + 4 * seed]) for seed in (0, 1)]
    runs.append(tuned("piggyback", 0, [0.5, 0.6], took=30.0))
    runs.append(untuned("ksm", 0, [0.5, 0.6]))
    build(save(tmp_path / "runs", runs), tmp_path / "report")
    ranking = {row["Method"]: row for row in rows(tmp_path / "report", "tables/cifar100-20-ranking.csv")}
    assert float(ranking["KSM"]["Training (seconds)"]) == 22
    assert float(ranking["KSM"]["With tuning (seconds)"]) == 112
    assert float(ranking["KSM"]["With tuning (seconds) ±"]) == pytest.approx(25.41241, abs=1e-4)
    assert float(ranking["Piggyback"]["With tuning (seconds)"]) == 50
    times = rows(tmp_path / "report", "tables/cifar100-20-training-seconds.csv")
    totals = {row["column"]: float(row["mean"]) for row in times if row["row"] == "Total with tuning"}
    assert totals == {"KSM": 112, "Piggyback": 50}
    (other,) = rows(tmp_path / "report", "tables/cifar100-20-2-ranking.csv")
    assert "With tuning (seconds)" not in other
    assert all(
        row["row"] != "Total with tuning"
        for row in rows(tmp_path / "report", "tables/cifar100-20-2-training-seconds.csv")
    )


# ---------------------------------------------------------------------- validation beside test accuracy


def curve(phase: str, *values: float | None) -> list[dict[str, Any]]:
    """Points with these validation accuracies."""
    return [
        {"phase": phase, "epoch": epoch, "lr": 1e-3, "loss": 1.0, "train": 0.5, "validation": value}
        for epoch, value in enumerate(values, start=1)
    ]


def test_validation_accuracy_of_what_was_kept() -> None:
    best = untuned("ksm", 0, [0.5, 0.6], curve=curve("train", 0.7, 0.9, 0.8))
    assert [validation_accuracy(best, row) for row in best.tasks] == [0.9, 0.9]
    assert mean_validation(best) == 0.9
    cut = untuned("packnet", 0, [0.5], curve=curve("train", 0.9) + curve("retrain", 0.6, 0.7))
    assert mean_validation(cut) == 0.7, "of the last phase, not of the network before the cut"
    back = untuned("cpg", 0, [0.5], curve=curve("train", 0.9) + curve("prune", 0.7))
    assert mean_validation(back) is None
    assert mean_validation(untuned("ksm", 0, [0.5])) is None
    assert mean_validation(untuned("ksm", 0, [0.5], curve=curve("train", None))) is None


def test_the_task_1_network_counts_with_its_own_curve() -> None:
    run = untuned("ksm", 0, [0.5, 0.6], seconds=[None, 10.0], task1=3.0, curve=curve("train", 0.9))
    bare = [dataclasses.replace(row, curve=()) if number == 0 else row for number, row in enumerate(run.tasks)]
    run = dataclasses.replace(run, tasks=tuple(bare))
    assert mean_validation(run) is None, "its curve is not in the record"
    points = [{"phase": "train", "selection": 0.4}, {"phase": "train", "selection": 0.5}]
    network = {**(run.task1_network or {}), "curve": points}
    assert mean_validation(dataclasses.replace(run, task1_network=network)) == pytest.approx(0.7)
    on_test = dataclasses.replace(run, task1_network=network, spec=run.spec | {"selection": "legacy-test"})
    assert mean_validation(on_test) is None


def test_validation_stands_beside_test_accuracy(tmp_path: Path) -> None:
    runs = [untuned("ksm", seed, [0.5, 0.6], curve=curve("train", 0.7, 0.8 + 0.1 * seed)) for seed in (0, 1)]
    runs.append(untuned("piggyback", 0, [0.5, 0.6]))
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    ranking = {row["Method"]: row for row in rows(tmp_path / "report", "tables/cifar100-20-ranking.csv")}
    assert float(ranking["KSM"]["Validation (percent)"]) == pytest.approx(85)
    assert ranking["Piggyback"]["Validation (percent)"] == ""
    found = [(row["method"], row["validation_accuracy"], row["mean_validation_accuracy"])
             for row in rows(tmp_path / "report", "runs.csv")]  # fmt: skip
    assert found == [("piggyback", "", "")] * 2 + [("ksm", "0.8", "0.8")] * 2 + [("ksm", "0.9", "0.9")] * 2
    assert "Validation: accuracy on the held-out images" in built.index.read_text(encoding="utf-8")


# ---------------------------------------------------------------------- accuracy against rate


def _trials() -> list[RunRecord]:
    """Trial 0 at 1e-4; 3e-4 is what the tuned runs have; of three pruned ones one went on after its first task."""
    early = {"accuracies": [0.4]}
    return [
        trial("ksm", 0, 1e-4, 0.8), trial("ksm", 1, 3e-4, 0.9, "cosine"), trial("ksm", 2, 1e-3, 0.7, "cosine"),
        trial("ksm", 3, 2e-5, 0.4, **early), trial("ksm", 4, 3e-5, 0.4, **early),
        trial("ksm", 5, 1e-3, 0.4, "cosine", **early),
        trial("ksm", 6, 5e-3, 0.4, status="failed", error="boom", accuracies=[0.4, 0.4]),
    ]  # fmt: skip


def _searched(*runs: RunRecord) -> Any:
    panels, _ = group([run for run in runs if not run.is_trial])
    return with_trials(panels, [run for run in runs if run.is_trial])


def test_what_trials_tried_and_reached() -> None:
    (panel,) = _searched(tuned("ksm", 0, [0.6, 0.6, 0.6]), *_trials())
    (search,) = searches(panel)
    assert (search.axis, search.tasks) == ("settings.lr", 2)
    assert search.own_rate == pytest.approx(1e-4), "the middle of 1e-05 to 0.001"
    found = [(one.rate, one.status, one.score, one.own, one.chosen) for one in search.trials]
    assert found == [
        (2e-5, "given up early", None, False, False), (3e-5, "given up early", None, False, False),
        (1e-4, "finished", 0.8, True, False), (3e-4, "finished", 0.9, False, True),
        (1e-3, "finished", 0.7, False, False), (5e-3, "failed", None, False, False),
    ]  # fmt: skip
    assert search.varied == ("settings.lr", "settings.schedule")


def test_trials_go_to_the_tuned_runs_of_their_setting() -> None:
    runs = [untuned(name, 0, [0.5, 0.6]) for name in ("ksm", "piggyback")] + [tuned("ksm", 0, [0.6, 0.6])]
    other = trial("ksm", 9, 1e-2, 0.5)
    other = dataclasses.replace(other, spec=other.spec | {"train_limit": 50})
    panels = _searched(*runs, *_trials(), other)
    assert [(panel.tuned, len(panel.trials)) for panel in panels] == [(False, 0), (True, 7)]
    (panel,) = _searched(*runs[:2], *_trials())
    assert len(panel.trials) == 7, "nothing was run with tuned settings yet"


def test_without_tuned_runs_the_card_says_what_was_searched_and_its_own_rate() -> None:
    own = METHODS["ksm"].settings
    assert isinstance(own, MaskedSettings)
    rates = [own.lr, own.lr * 3, own.lr / 3]
    (panel,) = _searched(untuned("ksm", 0, [0.5, 0.6]), *(trial("ksm", n, rate, 0.5) for n, rate in enumerate(rates)))
    (search,) = searches(panel)
    assert (search.axis, search.own_rate) == ("settings.lr", own.lr)
    assert [one.own for one in search.trials] == [False, True, False]
    (panel,) = _searched(untuned("mine", 0, [0.5, 0.6]), trial("mine", 0, 1e-4, 0.5), trial("mine", 1, 1e-3, 0.6))
    (search,) = searches(panel)
    assert (search.axis, search.own_rate) == ("settings.lr", None)
    (panel,) = _searched(untuned("mine", 0, [0.5, 0.6]), trial("mine", 0, 1e-4, 0.5))
    assert searches(panel) == (), "one trial is no picture"


@pytest.mark.parametrize(
    ("space", "own"),
    [
        ([], METHODS["ksm"].settings.lr), (["x"], METHODS["ksm"].settings.lr), (["ksm.lr 1e999 to 2, log"], None),
        (["ksm.lr nan to 1, log"], None), (["ksm.lr -1 to 1, log"], None),
    ],
)  # fmt: skip
def test_a_space_in_other_words_is_worked_out_or_names_no_rate(space: list[str], own: float | None) -> None:
    (panel,) = _searched(tuned("ksm", 0, [0.6, 0.6], {"space": space}), *_trials()[:3])
    assert [(search.axis, search.own_rate) for search in searches(panel)] == [("settings.lr", own)]
    assert len(sensitivity(panel)) == 1


def test_accuracy_against_rate_is_drawn_with_its_data(tmp_path: Path) -> None:
    save(tmp_path / "tune", _trials())
    built = build(save(tmp_path / "runs", [tuned("ksm", 0, [0.6, 0.6])]), tmp_path / "report")
    assert "cifar100-20-rates" in built.figures
    found = rows(tmp_path / "report", "figures/cifar100-20-rates.csv")
    assert [row["validation_accuracy"] for row in found] == ["", "", "0.8", "0.9", "0.7", ""]
    assert [row["protocol"] for row in found].index("yes") == 2
    assert [row["chosen"] for row in found].index("yes") == 3
    assert found[3]["settings"] == "settings.lr=0.0003; settings.schedule=cosine"
    text = built.index.read_text(encoding="utf-8")
    assert "Crosses at the lower edge: 2 given up after fewer tasks and 1 failed." in text
    assert 'href="figures/cifar100-20-rates.csv"' in text


def test_a_tuned_method_below_the_lower_bound_is_not_told_to_tune() -> None:
    for run, told in ((untuned, "tune it"), (tuned, "in spite of tuning; more epochs")):
        (panel,), _ = group([run("head-only", 0, [0.6, 0.7]), run("ksm", 0, [0.5, 0.6])])
        assert any(told in text for text in soundness.remarks(panel, panel.configurations)), told
