"""What each choice is worth: effects and interactions worked out by hand on made records."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from report_records import record, save
from scipy import stats

from methods.registry import METHODS
from methods.settings import MaskSettings
from reports.build import build
from reports.effects import Effect, Effects, balanced, effects_of
from reports.evidence import best_pair
from reports.figures import canvas
from reports.figures.effect_dots import effect_dots
from reports.grouping import Panel, group
from reports.naming import in_lines
from reports.setting import MOST_DRAWN, as_published, drawn, incomparable, varied
from reports.tables.accuracy import ablation
from reports.tables.effect_sheets import effect_sheets, effects_csv
from results.schema import RunRecord

#: (units, surrogate, soft, BN, initial, seed) -> accuracy
World = Callable[[str, str, str, str, float, int], float]

LEVELS = {
    "units": ("element", "kernel", "channel"),
    "surrogate": ("straight-through", "sigmoid"),
    "soft": ("none", "release"),
    "bn": ("frozen", "per-task"),
    "initial": (0.01,),
}

#: numbers that binary fractions hold exactly
WORTH = {"kernel": 1 / 64, "channel": -1 / 32, "sigmoid": 1 / 128, "release": -1 / 256, "per-task": 1 / 16}


def additive(units: str, surrogate: str, soft: str, bn: str, initial: float, seed: int) -> float:
    return 0.5 + sum(WORTH.get(level, 0.0) for level in (units, surrogate, soft, bn)) + seed / 512


def made(point: tuple[Any, ...], seed: int, accuracy: float, method: str = "ksm", **mask: Any) -> RunRecord:
    """A record at a point of the grid; piggyback's name and rule at the threshold with its surrogate."""
    units, surrogate, soft, bn, initial = point
    if method == "ksm" and surrogate == "straight-through":
        method, mask = "piggyback", {"strict": True, **mask}
    settings = MaskSettings(**{"units": units, "surrogate": surrogate, "soft": soft, "initial": initial, **mask})
    spec = {"mask": dataclasses.asdict(settings), "bn_policy": bn}
    return record(method, seed, [accuracy], spec=spec, run_id=f"{method}-{point}-{seed}-{sorted(mask.items())}")


def runs(world: World, seeds: Iterable[int] = (0, 1, 2), **levels: tuple[Any, ...]) -> list[RunRecord]:
    points = list(itertools.product(*(LEVELS | levels).values()))
    return [made(point, seed, world(*point, seed)) for point in points for seed in seeds]


def panel_of(records: list[RunRecord]) -> Panel:
    (panel,), _ = group(records)
    return panel


def effects(records: list[RunRecord]) -> Effects:
    (found,) = effects_of(panel_of(records))
    return found


def by_name(found: Effects) -> dict[tuple[str, ...], Effect]:
    return {tuple(f"{one.factor.name}={one.level}" for one in effect.contrasts): effect for effect in found.all}


# ------------------------------------------------------------------ worked by hand


def test_where_choices_add_up_every_interaction_is_nothing() -> None:
    found = effects(runs(additive))
    worth = by_name(found)
    mains = {name: effect for name, effect in worth.items() if len(name) == 1}
    assert {name[0]: effect.difference.mean for name, effect in mains.items()} == {
        "units=kernel": 1 / 64, "units=channel": -1 / 32, "surrogate=sigmoid": 1 / 128, "soft=release": -1 / 256,
        "bn=per-task": 1 / 16,
    }  # fmt: skip
    others = [effect for name, effect in worth.items() if len(name) == 2]
    assert len(others) == 2 * 3 + 3  # units' two levels with three factors, and these three with one another
    assert {effect.difference.mean for effect in others} == {0.0}
    assert {effect.difference.seeds.half_width for effect in worth.values()} == {0.0}  # every seed says the same
    assert {effect.sure for effect in mains.values()} == {True}
    assert {effect.sure for effect in others} == {False}
    assert len(worth["units=kernel",].sets) == 2 * 2 * 2  # every level of the three other factors
    assert len(worth["bn=per-task",].sets) == 3 * 2 * 2
    assert len(worth["units=kernel", "soft=release"].sets) == 2 * 2
    assert {effect.difference.seeds.n for effect in worth.values()} == {3}


def test_an_interaction_is_the_difference_of_differences() -> None:
    def world(units: str, surrogate: str, soft: str, bn: str, initial: float, seed: int) -> float:
        both = 3 / 64 if (units, soft) == ("kernel", "release") else 0.0
        return additive(units, surrogate, soft, bn, initial, seed) + both

    worth = by_name(effects(runs(world)))
    assert worth["units=kernel", "soft=release"].difference.mean == 3 / 64
    assert worth["units=channel", "soft=release"].difference.mean == 0.0
    assert worth["units=kernel", "bn=per-task"].difference.mean == 0.0
    # half of the sets of units have soft=release; a third of the sets of soft have units=kernel
    assert worth["units=kernel",].difference.mean == 1 / 64 + 3 / 128
    assert worth["soft=release",].difference.mean == pytest.approx(-1 / 256 + 3 / 64 / 3)
    assert min(worth["units=kernel",].sets) == 1 / 64
    assert max(worth["units=kernel",].sets) == 1 / 64 + 3 / 64


def test_the_interval_is_students_over_the_seeds_means() -> None:
    noise = {0: 0.02, 1: -0.01, 2: 0.03, 3: 0.0}

    def world(units: str, surrogate: str, soft: str, bn: str, initial: float, seed: int) -> float:
        return 0.5 + (0.1 + noise[seed] if bn == "per-task" else 0.0) + (0.05 if units == "kernel" else 0.0) * seed

    worth = by_name(effects(runs(world, seeds=noise, units=("element", "kernel"))))
    effect = worth["bn=per-task",]
    differences = [0.12, 0.09, 0.13, 0.10]
    low, high = stats.t.interval(0.95, 3, loc=0.11, scale=stats.sem(differences))
    assert effect.difference.seeds.mean == pytest.approx(0.11)
    assert (effect.difference.seeds.low, effect.difference.seeds.high) == (pytest.approx(low), pytest.approx(high))
    assert effect.difference.low is not None
    assert 0.09 <= effect.difference.low < 0.11
    assert effect.sure
    assert not worth["soft=release",].sure


def test_one_seed_has_effects_without_intervals_and_says_so_once() -> None:
    panel = panel_of(runs(additive, seeds=(4,)))
    (found,) = effects_of(panel)
    worth = by_name(found)
    assert worth["units=kernel",].difference.mean == 1 / 64
    assert {effect.difference.seeds.half_width for effect in worth.values()} == {None}
    assert not any(effect.sure for effect in worth.values())
    told = [remark for sheet in effect_sheets(panel, found) for remark in sheet.remarks]
    assert told.count("One seed: nothing here has an interval.") == 1
    assert not any("t-interval" in remark for remark in told)


# ------------------------------------------------------------------ what is matched


def test_an_unbalanced_grid_is_compared_where_it_is_matched() -> None:
    def world(units: str, surrogate: str, soft: str, bn: str, initial: float, seed: int) -> float:
        return additive(units, surrogate, soft, bn, initial, seed) + (0.25 if bn == "per-task" else 0.0)

    records = runs(world, units=("element", "kernel"), surrogate=("sigmoid",), soft=("none", "release"))
    # element only with a frozen BN: a plain mean over levels would give kernel half of BN's worth
    left = [run for run in records if (run.spec["mask"]["units"], run.spec["bn_policy"]) != ("element", "per-task")]
    assert len(left) == len(records) - 6
    found = effects(left)
    worth = by_name(found)
    assert worth["units=kernel",].difference.mean == 1 / 64
    assert len(worth["units=kernel",].sets) == 2
    assert ("units=kernel", "bn=per-task") not in worth  # one of its four corners is missing
    assert worth["units=kernel", "soft=release"].difference.mean == 0.0
    assert len(worth["units=kernel", "soft=release"].sets) == 1
    assert found.alone == 0


def test_seeds_are_compared_on_equal_sets() -> None:
    records = runs(additive, surrogate=("sigmoid",), units=("element", "kernel"))
    gone = [run for run in records if (run.spec["mask"]["soft"], run.spec["seed"]) != ("none", 2)]
    worth = by_name(effects(gone))
    # seed 2 has one of two sets of BN and soft: two seeds x four sets beat three seeds x two
    assert (worth["units=kernel",].difference.seeds.n, len(worth["units=kernel",].sets)) == (2, 4)
    assert worth["units=kernel",].unused == 2
    assert worth["soft=release",].unused == 0  # seed 2 has no pair at all
    panel = panel_of(gone)
    remarks = effect_sheets(panel, effects_of(panel)[0])[0].remarks
    assert any("at most 2 matched pairs" in remark for remark in remarks)


def test_the_part_that_counts_is_the_largest_with_every_seed_in_every_set() -> None:
    assert balanced([]) == []
    assert balanced([("a", 0)]) == [("a", 0)]
    whole = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert sorted(balanced([*whole, ("c", 0)])) == whole
    assert sorted(balanced([("a", 0), ("b", 0), ("c", 0), ("c", 1)])) == [("a", 0), ("b", 0), ("c", 0)]
    assert sorted(balanced([("a", 0), ("b", 0), ("a", 1)])) == [("a", 0), ("a", 1)]  # two either way: more seeds


def test_runs_that_were_trained_otherwise_are_no_partners() -> None:
    records = runs(additive, units=("element", "kernel"), surrogate=("sigmoid",), soft=("none",), bn=("frozen",))
    point = ("channel", "sigmoid", "none", "frozen", 0.01)
    faster = {"settings": {"epochs": 10, "lr": 1e-2}}
    other = [made(point, seed, 0.9) for seed in range(3)]
    other = [dataclasses.replace(run, spec={**run.spec, **faster}) for run in other]
    found = effects(records + other)
    assert list(by_name(found)) == [("units=kernel",)]
    assert found.alone == 0  # it is another training, not a point that lacks a partner


def test_a_method_that_is_no_point_of_the_grid_has_effects_of_its_own() -> None:
    points = [(units, "sigmoid", "none", "frozen", 0.01) for units in ("element", "kernel")]
    records = [made(points[0], seed, 0.5, method="ksm") for seed in (0, 1)]
    records += [made(points[1], seed, 0.7, method="columns") for seed in (0, 1)]
    assert effects_of(panel_of(records)) == ()
    records += [made(points[0], seed, 0.625, method="columns") for seed in (0, 1)]
    assert [effect.difference.mean for effect in effects(records).main] == [pytest.approx(0.075)]


def test_two_ways_of_training_are_two_sections() -> None:
    def faster(run: RunRecord) -> RunRecord:
        return dataclasses.replace(
            run, spec={**run.spec, "settings": {"epochs": 10, "lr": 1e-2}}, run_id=run.run_id + "-fast"
        )

    records = runs(additive, surrogate=("sigmoid",), soft=("none",))
    found = effects_of(panel_of(records + [faster(run) for run in records if run.spec["mask"]["units"] != "channel"]))
    assert [one.title for one in found] == [
        "What each choice is worth (lr 0.0001)", "What each choice is worth (lr 0.01)"
    ]  # fmt: skip
    assert [one.key for one in found] == ["cifar100-20-effects", "cifar100-20-effects-2"]
    assert [len(one.main) for one in found] == [3, 2]


def test_the_rule_at_the_threshold_parts_runs_only_where_scores_start_there() -> None:
    point = ("element", "straight-through", "none", "frozen", 0.01)
    sigmoid = ("element", "sigmoid", "none", "frozen", 0.01)
    assert len(effects([made(point, 0, 0.5), made(sigmoid, 0, 0.6)]).main) == 1
    at_threshold = [made(point, 0, 0.5, threshold=0.01), made(sigmoid, 0, 0.6, threshold=0.01)]
    assert effects_of(panel_of(at_threshold)) == ()


def test_initial_scores_are_ordered_by_size_behind_the_usual_one() -> None:
    world = runs(lambda *p: 0.5 + p[4], units=("element",), surrogate=("sigmoid",), soft=("none",), bn=("frozen",),
                 initial=(0.04, 0.01, 0.006))  # fmt: skip
    found = effects(world)
    assert [(one.level, one.reference) for one in found.contrasts] == [(0.006, 0.01), (0.04, 0.01)]
    assert [effect.difference.mean for effect in found.main] == [pytest.approx(-0.004), pytest.approx(0.03)]


def test_records_without_factors_have_no_effects() -> None:
    records = [record(method, seed, [0.5 + seed / 10]) for method in ("ksm", "finetune") for seed in (0, 1)]
    assert effects_of(panel_of(records)) == ()
    odd = [made(("element", "sigmoid", "none", "frozen", 0.01), 0, 0.5), made(("kernel",) * 5, 0, 0.5)]
    odd[1].spec["mask"]["initial"] = ["x"]
    assert effects_of(panel_of(odd)) == ()


# ------------------------------------------------------------------ how it is shown


def test_the_csv_has_every_effect_in_points() -> None:
    found = effects(runs(additive))
    lines = list(csv.DictReader(io.StringIO(effects_csv(found))))
    assert len(lines) == 5 + 9
    (kernel,) = (line for line in lines if line["kind"] == "main" and line["level"] == "kernel")
    assert {key: kernel[key] for key in ("factor", "reference", "with_factor", "effect_points", "seeds_low", "seeds",
                                         "matched_sets", "pairs", "unused_pairs")} == {
        "factor": "units", "reference": "element", "with_factor": "", "effect_points": "1.5625", "seeds_low": "1.5625",
        "seeds": "3", "matched_sets": "8", "pairs": "24", "unused_pairs": "0",
    }  # fmt: skip
    last = lines[-1]
    assert (last["factor"], last["with_factor"], last["with_level"]) == ("soft", "bn", "per-task")


def test_the_tables_say_what_is_compared_with_what() -> None:
    panel = panel_of(runs(additive))
    main, crossed = effect_sheets(panel, effects_of(panel)[0])
    assert [(line.head.text, line.head.hint, line.entries[0].text) for line in main.lines][:2] == [
        ("Units: kernel", "instead of element", "+1.56"),
        ("Units: channel", "instead of element", "\N{MINUS SIGN}3.12"),
    ]
    assert main.lines[0].entries[0].bold
    assert [line.head.text for line in crossed.lines] == [
        "Units: kernel", "Units: channel", "Surrogate: sigmoid", "Soft values: release",
    ]  # fmt: skip
    assert [f"{one.text} {one.note}" for one in crossed.headings[1:]] == [
        "Surrogate sigmoid", "Soft values release", "BN per-task",
    ]  # fmt: skip
    texts = [[entry.text for entry in line.entries] for line in crossed.lines]
    assert texts == [["0.00"] * 3, ["0.00"] * 3, ["–", "0.00", "0.00"], ["–", "–", "0.00"]]


def test_masks_that_never_moved_are_told_of() -> None:
    records = runs(additive, seeds=(0,), units=("element", "kernel"), surrogate=("sigmoid",), soft=("none",))
    from results.schema import MaskStatistic

    stuck = [MaskStatistic(task="t", layer="l", units=9, ones=9, soft=0, zeros=0)]
    records[0] = dataclasses.replace(records[0], mask_statistics=stuck)
    panel = panel_of(records)
    (remark,) = [text for text in effect_sheets(panel, effects_of(panel)[0])[0].remarks if text.startswith("†")]
    assert remark.startswith("† 1 of the 4 configurations: masks never moved")


def test_the_picture_has_a_row_for_every_level_and_its_numbers_in_words() -> None:
    found = effects(runs(additive))
    with canvas.style():
        drawing = effect_dots(found)
    labels = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert labels == ["Units, from element", "kernel", "channel", "Surrogate, from straight-through", "sigmoid",
                      "Soft values, from none", "release", "BN, from frozen", "per-task"]  # fmt: skip
    assert "Units: kernel instead of element +1.6" in drawing.alt
    low, high = drawing.figure.axes[0].get_xlim()
    assert low < -3.125 < 6.25 < high


def test_the_page_has_the_section_where_anything_was_crossed(tmp_path: Path) -> None:
    built = build(save(tmp_path / "runs", runs(additive, seeds=(0, 1))), tmp_path / "report")
    page = built.index.read_text(encoding="utf-8")
    assert page.count('<h3 class="sub">What each choice is worth</h3>') == 1
    assert '<a href="#cifar100-20-effects">What each choice is worth</a>' in page
    assert 'id="cifar100-20-effects-interactions-view"' in page
    assert (tmp_path / "report" / "tables" / "cifar100-20-effects.csv").is_file()
    assert (tmp_path / "report" / "figures" / "cifar100-20-effects-figure.svg").is_file()
    assert "cifar100-20-effects-figure" in built.figures
    plain = build(save(tmp_path / "plain", [record("ksm", 0, [0.5])]), tmp_path / "other")
    assert "What each choice is worth" not in plain.index.read_text(encoding="utf-8")


# ------------------------------------------------------------------ points of a grid beside the methods themselves


def with_masks(method: str, seed: int, accuracy: float, **mask: Any) -> RunRecord:
    """A record with the method's own mask but for some knobs, of nine units a task for element masks, else one."""
    own = METHODS[method].mask
    assert own is not None
    settings = dataclasses.replace(own, **mask)
    ones = 5 if settings.units == "element" else 0
    return record(
        method, seed, [0.9, accuracy], spec={"mask": dataclasses.asdict(settings)}, masks=[("fish", "l", ones, 0, 4)],
        run_id=f"{method}-{seed}-{sorted(mask.items())}",
    )  # fmt: skip


def test_claims_and_table_4_are_about_the_methods_own_masks() -> None:
    runs = [with_masks("piggyback", seed, 0.8 + seed / 100) for seed in (0, 1)]
    runs += [with_masks("piggyback", seed, 0.6, units="channel") for seed in (0, 1, 2)]
    runs += [with_masks("ksm", seed, 0.7 + seed / 100) for seed in (0, 1)]
    runs += [with_masks("ksm-softmax", 0, 0.7)]
    panel = panel_of(runs)
    pair = best_pair(panel, "ksm", "piggyback")
    assert pair is not None
    assert pair.b.spec["mask"]["units"] == "element"  # the other has one seed more
    assert pair.others == ()
    assert [varied(item) for item in panel.of("piggyback")] == [True, False]
    table = ablation(panel)
    assert table is not None
    assert [column.key for column in table.measured_columns] == [
        "Piggyback (units element)",
        "KSM, softmax only",
        "KSM",
    ]
    (only,) = as_published(panel_of([with_masks("piggyback", 0, 0.6, units="channel")]), "piggyback")
    assert varied(only)


def test_no_printed_number_is_about_another_mask() -> None:
    for mask, verdict in (({}, ""), ({"units": "channel"}, "other setting")):
        spec = {"backbone": {"name": "vgg16_bn", "width": 1.0}}
        run = with_masks("ksm", 0, 0.7, **mask)
        panel = panel_of([dataclasses.replace(run, spec={**run.spec, **spec, "epochs": 30})])
        own = panel.paper.own["ksm"]
        (item,) = panel.configurations
        unlike = [key for key in own if key.startswith("settings.") or key in ("bn_policy", "epochs", "batch_size")]
        item = dataclasses.replace(item, spec={**item.spec, **_nested({key: own[key] for key in unlike})})
        assert incomparable(panel, item) == verdict


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        if dot:
            found.setdefault(section, {})[name] = value
        else:
            found[key] = value
    return found


def test_figures_draw_as_many_as_one_can_tell_apart() -> None:
    few = panel_of(runs(additive, units=("element",), surrogate=("sigmoid",)))
    assert drawn(few) == few.configurations
    many = panel_of(runs(additive, units=("element", "kernel", "group", "channel")))
    assert len(many.configurations) == 32
    shown = drawn(many)
    assert len(shown) == MOST_DRAWN
    # of the two methods in these records two configurations each have the method's own mask: one for each BN policy
    assert sum(not varied(item) for item in shown) == sum(not varied(item) for item in many.configurations) == 4
    places = [many.configurations.index(item) for item in shown]
    assert places == sorted(places)


def test_headings_of_figures_have_two_lines_at_most() -> None:
    assert in_lines("KSM") == "KSM"
    assert in_lines("KSM (BN per-task, soft release, units kernel)") == "KSM (BN per-task, soft\nrelease, units kernel)"
    assert in_lines("x" * 500).count("\n") == 1
    assert len(in_lines("x" * 500)) <= 62
    assert in_lines("") == ""
