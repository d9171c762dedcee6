"""Accuracy at equal budgets, and performance profiles: numbers worked by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_records import record, save

from reports.build import build
from reports.equal_budget import equal_budgets
from reports.figures.profiles import gaps_to_best, profiles, share_within
from reports.grouping import Panel, group
from results.schema import RunRecord


def curve(*phases: tuple[str, list[float]], on: str = "validation") -> list[dict[str, Any]]:
    """Points of phases one after another, with these accuracies."""
    values = [(phase, value) for phase, accuracies in phases for value in accuracies]
    return [
        {"phase": phase, "epoch": epoch, "lr": 1e-3, "loss": 1.0, "train": 0.5, on: value}
        for epoch, (phase, value) in enumerate(values, start=1)
    ]


def ksm(seed: int = 0, **more: Any) -> RunRecord:
    """Three epochs of 10 s: 50, 70, 60 percent."""
    points = curve(("train", [0.5, 0.7, 0.6]))
    return record("ksm", seed, [0.5, 0.6], seconds=[30.0, 30.0], **{"curve": points, **more})


def piggyback(seed: int = 0, **more: Any) -> RunRecord:
    """Two epochs of 20 s: 40, 90 percent."""
    points = curve(("train", [0.4, 0.9]))
    return record("piggyback", seed, [0.6, 0.6], seconds=[40.0, 40.0], **{"curve": points, **more})


def panel_of(*runs: RunRecord) -> Panel:
    """The one panel of these runs."""
    (panel,), _ = group(runs)
    return panel


def test_accuracy_at_equal_epochs_and_seconds() -> None:
    found = equal_budgets(panel_of(ksm(), piggyback()))
    assert found is not None and (found.tasks, found.on) == ((1, 2), ("validation",))
    assert [one.item.method for one in found.epochs] == ["piggyback", "ksm"]
    two, three = found.epochs
    assert (two.at.tolist(), two.accuracy.tolist(), two.end) == ([1, 2, 3], [0.4, 0.9, 0.9], 2)
    assert (three.accuracy.tolist(), three.end) == ([0.5, 0.7, 0.7], 3), "the best so far is what would be kept"
    slow, fast = found.seconds
    assert (slow.at[0], fast.at[0]) == pytest.approx((20, 10)), "from the end of the first epoch"
    assert (slow.end, fast.end) == (40, 30)
    assert slow.at[-1] == fast.at[-1] == pytest.approx(40)
    for budget, ends in ((slow, {20: 0.4, 39.9: 0.4, 40: 0.9}), (fast, {10: 0.5, 19.9: 0.5, 20.5: 0.7, 40: 0.7})):
        for at, accuracy in ends.items():
            place = np.flatnonzero(budget.at <= at * (1 + 1e-9))[-1]
            assert budget.accuracy[place] == accuracy, at


def test_a_network_that_was_cut_replaces_the_one_before() -> None:
    cut = record("packnet", 0, [0.5, 0.6], curve=curve(("train", [0.8, 0.9]), ("retrain", [0.6, 0.7, 0.65])))
    found = equal_budgets(panel_of(ksm(), cut))
    assert found is not None
    (packnet,) = [one for one in found.epochs if one.item.method == "packnet"]
    assert packnet.accuracy.tolist() == [0.8, 0.9, 0.6, 0.7, 0.7]
    tried = record("cpg", 0, [0.5, 0.6], curve=curve(("train", [0.8, 0.9]), ("prune", [0.6]), ("retrain", [0.7])))
    found = equal_budgets(panel_of(ksm(), tried))
    assert found is not None
    (cpg,) = [one for one in found.epochs if one.item.method == "cpg"]
    assert cpg.accuracy.tolist() == [0.8, 0.9, 0.9, 0.9], "it goes back where a cut costs too much"


def test_means_are_over_the_tasks_that_all_trained_and_over_seeds() -> None:
    first, second = ksm(0), ksm(1, curve=curve(("train", [0.7, 0.9, 0.9])))
    frozen = record("piggyback", 0, [0.5, 0.6], seconds=[None, 40.0], task1=3.0, curve=curve(("train", [0.4, 0.9])))
    rows = [{**row, "curve": []} if row["status"] != "learned" else row for row in frozen.to_json()["tasks"]]
    frozen = RunRecord.from_json(frozen.to_json() | {"tasks": rows})
    found = equal_budgets(panel_of(first, second, frozen))
    assert found is not None and found.tasks == (2,)
    (ours,) = [one for one in found.epochs if one.item.method == "ksm"]
    assert ours.accuracy.tolist() == pytest.approx([0.6, 0.8, 0.8])


def test_without_two_methods_or_curves_there_is_nothing_to_compare() -> None:
    assert equal_budgets(panel_of(ksm())) is None
    assert equal_budgets(panel_of(ksm(), piggyback(curve=()))) is None
    assert profiles(panel_of(ksm())) == []
    assert gaps_to_best(panel_of(ksm(0), piggyback(1))) == [], "no seed in common"


def test_profiles_worked_by_hand() -> None:
    """Four pairs: KSM has 50, 60, 80, 60 and Piggyback 60 everywhere, behind by 10, 0, 0, 0 and by 0, 0, 20, 0."""
    runs = [ksm(0), piggyback(0), piggyback(1)]
    runs.append(record("ksm", 1, [0.8, 0.6], seconds=[30.0, 30.0]))
    (other, other_gaps), (ours, our_gaps) = gaps_to_best(panel_of(*runs))
    assert (other.method, other_gaps.tolist()) == ("piggyback", [0, 0, 0, 20])
    assert (ours.method, our_gaps.tolist()) == ("ksm", [0, 0, 0, 10])
    assert [share_within(our_gaps, points) for points in (0, 9.9, 10)] == [0.75, 0.75, 1]
    assert [share_within(other_gaps, points) for points in (0, 19.9, 20)] == [0.75, 0.75, 1]


def test_the_figures_are_folded_and_have_their_data(tmp_path: Path) -> None:
    built = build(save(tmp_path / "runs", [ksm(), piggyback()]), tmp_path / "report")
    assert built.figures[-2:] == ("cifar100-20-equal-budgets", "cifar100-20-profiles")
    text = built.index.read_text(encoding="utf-8")
    for title, key in (("Accuracy at equal budgets", "equal-budgets"), ("Performance profiles", "profiles")):
        inside = text[text.index(f"<details><summary>{title}</summary>") :]
        assert f'id="cifar100-20-{key}"' in inside[: inside.index("</details>")]
    figures = tmp_path / "report" / "figures"
    budgets = list(csv.DictReader(io.StringIO((figures / "cifar100-20-equal-budgets.csv").read_text())))
    by_epoch = [(row["configuration"], row["at"], row["accuracy"], row["ended"]) for row in budgets
                if row["budget"] == "epochs"]  # fmt: skip
    assert by_epoch[:3] == [
        ("Piggyback", "1", "0.4", ""),
        ("Piggyback", "2", "0.9", ""),
        ("Piggyback", "3", "0.9", "yes"),
    ]
    shares = (figures / "cifar100-20-profiles.csv").read_text()
    assert shares == "configuration,points,share\nPiggyback,0,1\nKSM,0,0.5\nKSM,10,1\n"


def test_curves_on_test_images_say_so(tmp_path: Path) -> None:
    spec = {"selection": "legacy-test"}
    runs = [run(curve=curve(("train", [0.5, 0.7]), on="test"), spec=spec) for run in (ksm, piggyback)]
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    assert "Accuracy on test images, on which epochs were chosen, that a task has reached" in built.index.read_text()
