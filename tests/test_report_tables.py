"""Golden test: from records made by hand, every number in every CSV worked out by hand.

Student's t for 2 degrees of freedom is 4.302653; half-widths are t * s / sqrt(3).
KSM:       task 1 60, 62, 64 (mean 62, s 2, half 4.968275); task 2 70, 70, 76 (72, s 3.464102, 8.605305);
           mean per seed 65, 66, 70 (67, s 2.645751, 6.572411).
Piggyback: task 1 50, 50, 50; task 2 60, 61, 62 (61, s 1, 2.484138); mean 55, 55.5, 56 (55.5, s 0.5, 1.242069).
PackNet:   one seed, 40 and 50. CPG failed.
Published: table 1 of the KSM paper, tasks 1 and 2.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from pathlib import Path

import pytest
from report_records import record, save

from reports.build import Built, build
from reports.grouping import group
from reports.tables.ranking import ranking_sheet
from results.schema import RunRecord

MIB = 2**20
#: as the methods' sources train them, so that published numbers may agree or differ
MASKED = {"epochs": 30, "settings": {"epochs": 30, "lr": 1e-4, "schedule": "step"}}
PRUNED = {"epochs": 100, "settings": {"epochs": 100, "lr": 1e-2, "schedule": "step"}}
SKETCHED = MASKED | {"backbone": {"name": "resnet50"}}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The report on the runs of the module's docstring."""
    folder = tmp_path_factory.mktemp("golden")
    runs = [
        record("ksm", seed, [a, b], seconds=[None, s], task1=30.0, spec=MASKED,
               components=[("mask", "fish", 8 * MIB, 1)],
               sizes={"itemised": 2 * MIB, "cpg_table": 3 * MIB, "written": 2 * MIB + 512 * 1024})
        for seed, a, b, s in ((0, 0.60, 0.70, 10.0), (1, 0.62, 0.70, 12.0), (2, 0.64, 0.76, 14.0))
    ]  # fmt: skip
    runs += [
        record("piggyback", seed, [0.5, b], seconds=[None, 20.0], task1=30.0, spec=MASKED, sizes={"itemised": 4 * MIB},
               components=[("mask", "fish", 24 * MIB, 1), ("head", None, 256 * 1024, 32)])
        for seed, b in ((0, 0.60), (1, 0.61), (2, 0.62))
    ]  # fmt: skip
    runs += [record("packnet", 0, [0.4, 0.5], seconds=[40.0, 60.0], epochs=20, spec=PRUNED)]
    runs += [record("ksm", 0, [0.58, 0.71], initial_task=2, seconds=[11.0, None], spec=MASKED)]
    runs += [record("cpg", 0, [0.1, 0.1], status="failed", error="Traceback\nRuntimeError: out of memory")]
    return build(save(folder / "runs", runs), folder / "report")


def rows(built: Built, name: str) -> list[dict[str, str]]:
    """The lines of a CSV of the report."""
    text = (built.index.parent / name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def check(found: list[dict[str, str]], expected: list[dict[str, object]]) -> None:
    """Every field of every line: numbers to six digits, everything else exactly."""
    assert len(found) == len(expected)
    for line, wanted in zip(found, expected, strict=True):
        assert list(line) == list(wanted)
        for key, value in wanted.items():
            if isinstance(value, int | float):
                assert float(line[key]) == pytest.approx(value, abs=1e-6), (key, line)
            else:
                assert line[key] == value, (key, line)


def grid_row(row: str, column: str, unit: str, seeds: int, mean: object, half: object, published: object,
             difference: object, verdict: str, best: str = "") -> dict[str, object]:  # fmt: skip
    """One line of a grid's CSV."""
    both = isinstance(mean, int | float) and isinstance(published, int | float)
    return {"row": row, "column": column, "unit": unit, "seeds": seeds, "mean": mean, "half_width": half,
            "published": published, "difference": difference, "ratio": mean / published if both else "",
            "verdict": verdict, "best": best}  # fmt: skip


def test_table_1_accuracy(built: Built) -> None:
    def line(row: str, column: str, *rest: object) -> dict[str, object]:
        return grid_row(row, column, "percent", *rest)  # type: ignore[arg-type]

    first, second = "1 aquatic mammals", "2 fish"
    check(rows(built, "tables/cifar100-20-accuracy.csv"), [
        line(first, "PackNet", 1, 40, "", 66.4, -26.4, "not enough seeds"),
        line(first, "Piggyback", 3, 50, 0, 65.8, -15.8, "differs"),
        line(first, "KSM", 3, 62, 4.968275, 67.2, -5.2, "agrees"),  # one more run lies within 9.94
        line(first, "CPG", 0, "", "", 66.6, "", "not run"),
        line(second, "PackNet", 1, 50, "", 80.0, -30.0, "not enough seeds"),
        line(second, "Piggyback", 3, 61, 2.484138, 78.2, -17.2, "differs"),  # within 4.97
        line(second, "KSM", 3, 72, 8.605305, 78.0, -6.0, "agrees"),
        line(second, "CPG", 0, "", "", 76.2, "", "not run"),
        line("Mean", "PackNet", 1, 45, "", 73.2, -28.2, "not enough seeds"),
        line("Mean", "Piggyback", 3, 55.5, 1.242069, 72.0, -16.5, "differs"),
        line("Mean", "KSM", 3, 67, 6.572411, 72.6, -5.6, "agrees"),  # within 13.14
        line("Mean", "CPG", 0, "", "", 71.4, "", "not run"),
    ])  # fmt: skip


def test_nothing_is_bold_beside_a_method_with_one_seed(built: Built) -> None:
    assert not any(line["best"] for line in rows(built, "tables/cifar100-20-accuracy.csv"))


def test_table_1_training_seconds(built: Built) -> None:
    def line(row: str, column: str, *rest: object) -> dict[str, object]:
        return grid_row(row, column, "seconds", *rest)  # type: ignore[arg-type]

    first, second = "1 aquatic mammals", "2 fish"
    check(rows(built, "tables/cifar100-20-training-seconds.csv"), [
        line(first, "PackNet", 1, 40, "", 334, -294, "other hardware"),
        line(first, "Piggyback", 0, "", "", 100, "", "shared network"),  # the task-1 network is not its own
        line(first, "KSM", 0, "", "", 130, "", "shared network"),
        line(first, "CPG", 0, "", "", 629, "", "not run"),
        line(second, "PackNet", 1, 60, "", 360, -300, "other hardware"),
        line(second, "Piggyback", 3, 20, 0, 150, -130, "other hardware"),
        line(second, "KSM", 3, 12, 4.968275, 81, -69, "other hardware"),
        line(second, "CPG", 0, "", "", 2101, "", "not run"),
        line("Mean", "PackNet", 1, 60, "", 360, -300, "other hardware"),  # task 2 alone
        line("Mean", "Piggyback", 3, 20, 0, 150, -130, "other hardware"),
        line("Mean", "KSM", 3, 12, 4.968275, 81, -69, "other hardware"),
        line("Mean", "CPG", 0, "", "", 2101, "", "not run"),
        line("Total", "PackNet", 1, 100, "", "", "", "not published"),
        line("Total", "Piggyback", 3, 20, 0, "", "", "not published"),
        line("Total", "KSM", 3, 12, 4.968275, "", "", "not published"),
        line("Task-1 network", "Piggyback", 3, 30, 0, "", "", "not published"),
        line("Task-1 network", "KSM", 3, 30, 0, "", "", "not published"),
    ])  # fmt: skip


def test_table_3_initial_tasks(built: Built) -> None:
    found = rows(built, "tables/cifar100-20-initial-tasks.csv")
    by_place = {(line["row"], line["column"]): line for line in found}
    assert len(by_place) == 3 * 6  # two tasks and their mean; published from tasks 1, 5, 10, 15, 20; measured from 1, 2
    places = [
        ("Mean", "From task 1"),
        ("1 aquatic mammals", "From task 2"),
        ("Mean", "From task 2"),
        ("Mean", "From task 5"),
    ]
    check([by_place[place] for place in places], [
        grid_row("Mean", "From task 1", "percent", 3, 67, 6.572411, 72.6, -5.6, "agrees"),
        grid_row("1 aquatic mammals", "From task 2", "percent", 1, 58, "", "", "", "not published"),
        grid_row("Mean", "From task 2", "percent", 1, 64.5, "", "", "", "not published"),
        grid_row("Mean", "From task 5", "percent", 0, "", "", 72.1, "", "not run"),
    ])  # fmt: skip


def test_size(built: Built) -> None:
    def line(row: str, column: str, mean: float) -> dict[str, object]:
        return grid_row(row, column, "MiB", 3, mean, 0, "", "", "not published")

    check(rows(built, "tables/cifar100-20-size.csv"), [
        line("Itemised", "Piggyback", 4), line("Itemised", "KSM", 2), line("As the papers count", "KSM", 3),
        line("Really written", "KSM", 2.5),
    ])  # fmt: skip
    check(rows(built, "tables/cifar100-20-size-components.csv"), [
        {"Component": "mask", "Piggyback": 3, "Piggyback ±": 0, "KSM": 1, "KSM ±": 0},
        {"Component": "head", "Piggyback": 1, "Piggyback ±": 0, "KSM": "", "KSM ±": ""},
        {"Component": "rest", "Piggyback": "", "Piggyback ±": "", "KSM": 1, "KSM ±": 0},
    ])  # fmt: skip


def test_ranking(built: Built) -> None:
    names = ["Method", "Accuracy (percent)", "Accuracy (percent) ±", "Paper (percent)", "vs. best (points)",
             "vs. best (points) ±", "vs. best (points) mark",
             "Training (seconds)", "Training (seconds) ±", "Size (MiB)", "Size (MiB) ±", "Trainable (parameters)",
             "Seeds"]  # fmt: skip
    expected = [
        ["KSM", 67, 6.572411, 72.6, 0, "", "", 12, 4.968275, 2, 0, 1000, 3],
        # 55 - 65, 55.5 - 66, 56 - 70: mean -11.5, s 2.179449
        ["Piggyback", 55.5, 1.242069, 72.0, -11.5, 5.414053, "", 20, 0, 4, 0, 1000, 3],
        # seed 0 only: 45 - 65
        ["PackNet", 45, "", 73.2, -20, "", "*", 100, "", "", "", 1000, 1],
    ]
    check(rows(built, "tables/cifar100-20-ranking.csv"), [dict(zip(names, line, strict=True)) for line in expected])


def test_cost(built: Built) -> None:
    names = ["Method", "Tasks trained", "Tasks trained ±", "Epochs (all tasks)", "Epochs (all tasks) ±",
             "Per epoch (seconds)", "Per epoch (seconds) ±", "Total (seconds)", "Total (seconds) ±",
             "Throughput (images per second)", "Throughput (images per second) ±", "Peak memory (MiB)",
             "Peak memory (MiB) ±", "Wall (seconds)", "Wall (seconds) ±"]  # fmt: skip
    expected = [
        ["PackNet", 2, "", 40, "", 2.5, "", 100, "", 100, "", 50, "", 105, ""],
        ["Piggyback", 1, 0, 10, 0, 2.0, 0, 20, 0, 100, 0, 50, 0, 25, 0],
        ["KSM", 1, 0, 10, 0, 1.2, 0.4968275, 12, 4.968275, 100, 0, 50, 0, 17, 4.968275],
    ]
    check(rows(built, "tables/cifar100-20-cost.csv"), [dict(zip(names, line, strict=True)) for line in expected])


def test_all_runs_in_one_tidy_table(built: Built) -> None:
    found = rows(built, "runs.csv")
    assert len(found) == 8 * 2  # eight finished runs of two tasks; the failed one is not in it
    line = next(row for row in found if row["method"] == "ksm" and row["seed"] == "2" and row["task"] == "fish")
    numbers = {"task_index": 2, "accuracy": 0.76, "accuracy_at_end": 0.76, "epochs": 10, "training_seconds": 14,
               "seconds_per_epoch": 1.4, "mean_accuracy": 0.70, "training_seconds_total": 14, "itemised_bytes": 2 * MIB,
               "initial_task": 1}  # fmt: skip
    for name, value in numbers.items():
        assert float(line[name]) == pytest.approx(value), name
    assert line["status"] == "learned"
    assert line["hardware"] == "Test CPU, 2 threads, fp32"


def test_claims_csv(built: Built) -> None:
    claims = {line["claim"]: line for line in rows(built, "claims.csv")}
    above = claims["ksm-above-piggyback"]
    assert above["verdict"] == "holds"
    assert float(above["difference"]) == pytest.approx(0.115)
    assert float(above["seeds_low"]) == pytest.approx(0.115 - 0.05414053)
    assert float(above["seeds_high"]) == pytest.approx(0.115 + 0.05414053)
    # differences 0.10, 0.12, 0.14 and 0.10, 0.09, 0.14: no resample leaves their range
    assert 0.09 <= float(above["bootstrap_low"]) < 0.115 < float(above["bootstrap_high"]) <= 0.14
    assert (above["seeds"], above["pairs"]) == ("3", "6")
    packnet = claims["ksm-above-packnet"]
    assert (packnet["verdict"], packnet["more_seeds"]) == ("undecided", "at least 2")  # PackNet has one seed
    assert float(claims["size-slightly-larger"]["ratio"]) == pytest.approx(0.5)
    assert claims["ksm-near-cpg"]["verdict"] == "not run"


def test_best_is_marked_where_every_difference_is_beyond_doubt(tmp_path: Path) -> None:
    # Task 1: KSM - Piggyback = 10, 12, 14 (12 ± 4.97); task 2: 1, -1, 3 (1 ± 4.97): only task 1 has a winner.
    runs = [record("ksm", s, [a, b]) for s, a, b in ((0, 0.60, 0.71), (1, 0.62, 0.69), (2, 0.64, 0.73))]
    runs += [record("piggyback", s, [0.5, 0.7]) for s in range(3)]
    found = rows(build(save(tmp_path / "runs", runs), tmp_path / "report"), "tables/cifar100-20-accuracy.csv")
    assert [(line["row"], line["column"]) for line in found if line["best"]] == [
        ("1 aquatic mammals", "KSM"), ("Mean", "KSM")]  # fmt: skip


def test_table_2_sizes_and_table_4(tmp_path: Path) -> None:
    names = ("cubs_cropped", "stanford_cars_cropped", "flowers", "wikiart", "sketches")
    printed = (0.8226, 0.9117, 0.9585, 0.7312, 0.8022)  # table 4, Piggyback - Soft
    runs = [
        record("piggyback-soft", seed, printed, scenario="imagenet2sketch", names=names, spec=SKETCHED,
               sizes={"itemised": 100 * MIB, "cpg_table": 120 * MIB}) for seed in range(3)
    ] + [
        record("piggyback", seed, printed, scenario="imagenet2sketch", names=names, spec=SKETCHED,
               sizes={"itemised": 100 * MIB, "cpg_table": 121 * MIB}) for seed in range(3)
    ]  # fmt: skip
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    ablation = {(r["row"], r["column"]): r for r in rows(built, "tables/imagenet2sketch-ablation.csv")}
    soft = ablation["Mean", "Piggyback, soft"]
    assert float(soft["published"]) == pytest.approx(84.524)  # (82.26 + 91.17 + 95.85 + 73.12 + 80.22) / 5
    assert (float(soft["difference"]), soft["verdict"]) == (pytest.approx(0, abs=1e-9), "agrees")
    assert ablation["1 cubs cropped", "Piggyback"]["verdict"] == "differs"  # 82.26 against 81.59, no spread
    assert ablation["1 cubs cropped", "KSM"]["verdict"] == "not run"
    sizes = {(r["row"], r["column"]): r for r in rows(built, "tables/imagenet2sketch-size.csv")}
    assert (sizes["As the papers count", "Piggyback"]["verdict"]) == "agrees"
    assert float(sizes["As the papers count", "KSM"]["published"]) == 146
    accuracy = {(r["row"], r["column"]): r for r in rows(built, "tables/imagenet2sketch-accuracy.csv")}
    assert float(accuracy["3 flowers", "Fine-tune"]["published"]) == 96.56


def _ranked(tmp_path: Path, runs: list[RunRecord]) -> dict[str, dict[str, str]]:
    return {
        line["Method"]: line
        for line in rows(build(save(tmp_path / "runs", runs), tmp_path / "report"), "tables/cifar100-20-ranking.csv")
    }


def test_only_the_best_is_called_so(tmp_path: Path) -> None:
    runs = [record("cpg", seed, [0.5, 0.6]) for seed in (0, 1)] + [record("ksm", 2, [0.3, 0.4])]
    (panel,), _ = group(runs)
    sheet = ranking_sheet(panel)
    place = [heading.text for heading in sheet.headings].index("vs. best") - 1
    shown = {line.head.text: line.entries[place].text for line in sheet.lines}
    assert shown == {"CPG": "best", "KSM": "–"}  # KSM shares no seed with CPG


def test_the_last_epoch_stands_beside_one_chosen_on_the_test_set(tmp_path: Path) -> None:
    def curve(*phases_and_tests: tuple[str, float]) -> list[dict[str, object]]:
        points = enumerate(phases_and_tests, start=1)
        return [{"phase": p, "epoch": e, "lr": 0.1, "loss": 1.0, "train": 0.5, "test": t} for e, (p, t) in points]

    legacy = {"selection": "legacy-test"}
    task1 = {"seconds": 1.0, "curve": [{"selection": 0.9}, {"selection": 0.3}]}
    trained = curve(("train", 0.62), ("train", 0.5))
    runs = [
        record("ksm", 0, [0.9, 0.62], seconds=[None, 9.0], curve=trained, spec=legacy, task1_network=task1),
        record("cpg", 0, [0.7, 0.7], curve=curve(("train", 0.7), ("prune", 0.1)), spec=legacy),
    ]
    found = _ranked(tmp_path, runs)
    assert float(found["KSM"]["Last epoch (percent)"]) == pytest.approx(40)  # (30 + 50) / 2
    assert found["CPG"]["Last epoch (percent)"] == ""  # its last epoch is of a network that it drops


def test_what_was_trained_otherwise_neither_agrees_nor_differs(tmp_path: Path) -> None:
    runs = [record("ksm", seed, [0.672, 0.78]) for seed in range(3)]  # the printed numbers, but after 10 epochs
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    verdicts = {line["verdict"] for line in rows(built, "tables/cifar100-20-accuracy.csv") if line["column"] == "KSM"}
    assert verdicts == {"other setting"}
    page = built.index.read_text(encoding="utf-8")
    assert "No verdict: other setting." in page


def test_goals_that_were_missed_are_counted(tmp_path: Path) -> None:
    run = record("cpg", 0, [0.5, 0.6])
    tasks = tuple(dataclasses.replace(row, goal=0.55, goal_met=row.index == 2) for row in run.tasks)
    built = build(save(tmp_path / "runs", [dataclasses.replace(run, tasks=tasks)]), tmp_path / "report")
    (line,) = rows(built, "tables/cifar100-20-cost.csv")
    assert line["Goals met (over all seeds)"] == "1 of 2"
    assert "CPG met its accuracy goal on 1 of 2 tasks" in re.sub("<[^>]*>", "", built.index.read_text(encoding="utf-8"))
