"""``--grid``: which runs it plans, under which names, and what a wrong one is told."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.command_line import request_of as request_of_words
from benchmark.cli.main import parser
from benchmark.errors import RequestError
from benchmark.plan.crossing import in_words, points
from benchmark.plan.papers import PRESETS
from benchmark.plan.papers.ksm import ABLATION
from benchmark.plan.planning import planned
from benchmark.plan.request import Request, request_of
from benchmark.plan.spec import RunSpec
from benchmark.plan.tables import expand
from benchmark.scenarios.loader import load_scenario
from methods.factors import FACTORS
from methods.registry import METHODS
from methods.settings import MASKED_PROTOCOLS, UNITS, MaskedSettings, MaskSettings

WHOLE = {"units": UNITS, "surrogate": ("straight-through", "sigmoid"), "soft": ("none", "release"),
         "bn": ("frozen", "per-task"), "initial": (0.01, 0.02)}  # fmt: skip


def specs(**options: Any) -> list[RunSpec]:
    return planned(request_of(options), load_scenario("digits"))


def point(spec: RunSpec) -> tuple[Any, ...]:
    assert spec.mask is not None
    return (spec.mask.units, spec.mask.surrogate, spec.mask.soft, spec.bn_policy, spec.mask.initial)


def words(*given: str) -> Request:
    return request_of_words(parser(("run",)).parse_args(["run", *given]))


def refused(**options: Any) -> str:
    with pytest.raises(RequestError) as caught:
        specs(**options)
    return str(caught.value)


# ------------------------------------------------------------------ the cross product


def test_the_whole_grid_is_every_combination_once_and_for_every_seed() -> None:
    found = specs(grid=True, seeds=[0, 1])
    every = list(itertools.product(*WHOLE.values()))
    assert len(every) == len(UNITS) * 16
    for seed in (0, 1):
        assert sorted(point(spec) for spec in found if spec.seed == seed) == sorted(every)
    assert len({spec.run_id for spec in found}) == len(found) == 2 * len(every)
    assert [spec.seed for spec in found] == sorted(spec.seed for spec in found)  # seeds outermost


def test_factors_are_the_knobs_and_take_every_value_of_them() -> None:
    assert {factor.name: factor.usual for factor in FACTORS} == WHOLE
    for factor in FACTORS:
        if factor.about.choices:
            found = specs(grid={factor.name: list(factor.about.choices)})
            assert len(found) == len(factor.about.choices)


def test_what_the_grid_does_not_cross_stays_as_the_method_has_it() -> None:
    assert {point(spec)[1:] for spec in specs(grid="units=element,channel")} == {
        ("sigmoid", "release", "per-task", 0.01)
    }
    of_piggyback = specs(grid="units=element,channel", methods="piggyback")
    assert {point(spec)[1:] for spec in of_piggyback} == {("straight-through", "none", "frozen", 0.01)}


def test_what_is_set_besides_holds_for_every_point() -> None:
    found = specs(grid="units=element,kernel", settings={"mask.soft": "none", "ksm.lr": 3e-3}, bn_policy="frozen")
    assert [point(spec) for spec in found] == [
        (units, "sigmoid", "none", "frozen", 0.01) for units in ("element", "kernel")
    ]
    assert {spec.method for spec in found} == {"ksm-softmax", "ksm"}
    assert {spec.settings.lr for spec in found} == {3e-3}
    swept = specs(grid="units=element,kernel", settings={"ksm.lr": [1e-3, 3e-3], "mask.soft_scale": 1.0})
    assert sorted((spec.mask.units, spec.settings.lr) for spec in swept) == sorted(  # type: ignore[union-attr]
        itertools.product(("element", "kernel"), (1e-3, 3e-3))
    )


def test_several_methods_are_several_grids_and_no_run_is_planned_twice() -> None:
    grid = {"surrogate": ["straight-through", "sigmoid"], "units": ["element", "kernel"], "soft": ["none", "release"],
            "bn": ["frozen", "per-task"]}  # fmt: skip
    assert [spec.run_id for spec in specs(grid=grid, methods=["ksm", "piggyback"])] == [
        spec.run_id for spec in specs(grid=grid)
    ]


# ------------------------------------------------------------------ the names of its runs


def test_table_4_is_part_of_the_grid_by_the_same_run_ids() -> None:
    scenario = load_scenario("digits")
    request = request_of({"selection": "legacy-test", "seeds": [0, 1]})
    table = {spec.run_id for spec in expand(PRESETS["table4"], request, scenario, None)}
    grid = {spec.run_id for spec in specs(grid=True, selection="legacy-test", seeds=[0, 1])}
    assert len(table) == 2 * 2 * len(ABLATION)
    assert table < grid


def test_a_point_of_one_change_is_the_run_of_a_sweep() -> None:
    grid = {point(spec): spec.run_id for spec in specs(grid=True)}
    by_hand = specs(methods="piggyback", settings={"mask.initial": 0.02}) + specs(
        methods="piggyback", bn_policy="per-task", settings={"mask.units": "channel"}
    )
    by_hand += specs(methods="ksm", settings={"mask.soft": "none"})
    assert [grid[point(spec)] for spec in by_hand] == [spec.run_id for spec in by_hand]


def test_names_follow_the_surrogate_so_scores_at_the_threshold_are_kept_as_in_its_source() -> None:
    for spec in specs(grid=True):
        assert spec.mask is not None
        assert METHODS[spec.method].mask is not None
        assert METHODS[spec.method].mask.surrogate == spec.mask.surrogate  # type: ignore[union-attr]
        assert spec.mask.strict == (spec.mask.surrogate == "straight-through")


def test_methods_that_lend_their_names_are_alike_but_for_the_factors() -> None:
    cards = [card for card in METHODS.values() if card.mask_grid]
    assert {card.name for card in cards} == set(ABLATION)
    knobs = {factor.knob for factor in FACTORS} | {"strict"}
    for card in cards:
        assert (card.settings, card.protocols, card.version) == (MaskedSettings(), MASKED_PROTOCOLS, 1)
        assert card.mask is not None
        others = {name: value for name, value in vars(card.mask).items() if name not in knobs}
        assert others == {name: value for name, value in vars(MaskSettings()).items() if name not in knobs}


def test_a_method_with_other_knobs_lends_its_name_to_its_own_points_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ksm = METHODS["ksm"]
    assert ksm.mask is not None
    steep = dataclasses.replace(ksm, name="steep", mask=dataclasses.replace(ksm.mask, slope=20.0, units="channel"))
    monkeypatch.setattr("benchmark.plan.crossing.METHODS", {"steep": steep, **METHODS})
    found = list(points(request_of({"grid": "units=kernel,channel"})))
    assert [request.methods for request in found] == [("ksm",), ("ksm",)]
    monkeypatch.setattr("benchmark.plan.crossing.method_names", lambda names: names)
    found = list(points(Request(methods=("steep",), grid={"units": ("kernel", "channel")})))
    assert [(request.methods, request.overrides) for request in found] == [
        (("steep",), {"mask.units": "kernel"}), (("steep",), {})
    ]  # fmt: skip


# ------------------------------------------------------------------ the ways to ask for it


def test_command_line_file_and_python_ask_alike(tmp_path: Path) -> None:
    wanted = {"units": ("element", "kernel"), "bn": ("frozen", "per-task")}
    assert words("--grid", "bn=frozen,per-task", "units=element,kernel", "--seed", "1").grid == wanted
    assert words("--grid", "bn=frozen,per-task", "--grid", "units=element,kernel").grid == wanted
    assert request_of({"grid": {"units": ["element", "kernel"], "bn": ["frozen", "per-task"]}}).grid == wanted
    file = tmp_path / "grid.yaml"
    file.write_text("grid:\n  units: [element, kernel]\n  bn: frozen,per-task\n")
    assert words("--config", str(file)).grid == wanted
    assert words("--grid").grid == request_of({"grid": True}).grid == WHOLE
    file.write_text("grid: true\n")
    assert words("--config", str(file)).grid == WHOLE
    assert words().grid is None
    assert request_of({"grid": None}).grid is None


def test_the_size_is_told_in_words() -> None:
    told = in_words(request_of({"grid": "units=element,kernel,channel soft=none,release initial=0.02"}))
    assert told == "grid of ksm: units (3) x soft (2) = 6 points"


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ("unit=element", "grid has no factor 'unit'. Did you mean 'units'? Its factors are units, surrogate, soft, bn"),
        ("bn-policy=frozen", "Did you mean 'bn'?"),
        ("mask.units=element", "Did you mean 'units'?"),
        ("units=kernal", "grid units has no level 'kernal'. Did you mean 'kernel'? Its levels are element, kernel"),
        ("units", "'units' names no levels: write factor=level,level, as in units=element,kernel."),
        ("units=", "grid units must name at least 1 level"),
        ("initial=small", "grid initial must be a number, not 'small'"),
        ("initial=inf", "grid initial must be a finite number"),
        ("soft=none soft=release", "grid names soft twice"),
        ({"units": {"element": 1}}, "grid units must be text"),
        ({3: "x"}, "has no factor '3'"),
        ([5], "must name factors and levels"),
        (7, "must name factors and levels"),
    ],
)
def test_a_wrong_grid_is_one_sentence(grid: Any, expected: str) -> None:
    assert expected in refused(grid=grid)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"methods": ["ksm", "finetune"]}, "leave out of --method what has none: finetune"),
        ({"bn_policy": "frozen"}, "--grid varies bn itself; leave out --bn-policy"),
        ({"settings": {"mask.units": "kernel"}}, "--grid varies units itself; leave out --set mask.units"),
        ({"settings": {"piggyback.lr": 1e-3}}, "piggyback is not among the methods that run (ksm)"),
    ],
)
def test_a_grid_beside_what_it_varies_is_refused(options: dict[str, Any], expected: str) -> None:
    assert expected in refused(grid=True, **options)


def test_the_command_line_refuses_with_code_2(command: Callable[..., Any], tmp_path: Path) -> None:
    answer = command("run", "--grid", "unit=element", "--results", tmp_path / "runs")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: --grid has no factor 'unit'. Did you mean 'units'?")
    answer = command("reproduce", "table4", "--grid", "--results", tmp_path / "runs")
    assert (answer.code, answer.err) == (2, "error: table4 is a plan by itself; --grid belongs to run.\n")
    assert not list(tmp_path.iterdir())


def test_settings_list_the_factors(command: Callable[..., Any]) -> None:
    told = command("list", "settings").out.partition("factors for --grid")[2].splitlines()[1:]
    assert [line.split()[0] for line in told] == list(WHOLE)
    assert "whole grid: element, kernel" in told[0]


# ------------------------------------------------------------------ a whole grid


SMALL = ("--tasks", "2", "--epochs", "2", "--train-limit", "60", "--threads", "1", "--set", "ksm.lr=5e-3")
CROSSED = ("--grid", "units=element,kernel", "bn=frozen,per-task")


def test_a_small_grid_runs_and_its_page_says_what_each_choice_is_worth(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    answer = command("run", *CROSSED, *SMALL, cwd=tmp_path)
    assert answer.code == 0, answer.out + answer.err
    assert answer.out.startswith("grid of ksm: units (2) x bn (2) = 4 points\ndigits: 4 runs on cpu")
    found = {}
    for path in (tmp_path / "results" / "runs").glob("*/result.json"):
        value = json.loads(path.read_text())
        found[value["spec"]["mask"]["units"], value["spec"]["bn_policy"]] = 100 * value["mean_accuracy"]
    report = tmp_path / "results" / "report"
    with (report / "tables" / "digits-effects.csv").open() as file:
        lines = {tuple(line[key] for key in ("kind", "factor", "with_factor")): line for line in csv.DictReader(file)}
    worth = {key: float(line["effect_points"]) for key, line in lines.items()}
    kernel, element = ([found[units, bn] for bn in ("frozen", "per-task")] for units in ("kernel", "element"))
    assert worth == {
        ("main", "units", ""): pytest.approx((sum(kernel) - sum(element)) / 2, abs=1e-6),
        ("main", "bn", ""): pytest.approx((kernel[1] - kernel[0] + element[1] - element[0]) / 2, abs=1e-6),
        ("interaction", "units", "bn"): pytest.approx(kernel[1] - element[1] - kernel[0] + element[0], abs=1e-6),
    }
    assert {line["seeds_low"] for line in lines.values()} == {""}
    page = (report / "index.html").read_text()
    assert page.count("One seed: nothing here has an interval.") == 1
    assert 'id="digits-effects-figure"' in page

    again = command("run", *CROSSED, *SMALL, "--dry-run", cwd=tmp_path)
    assert "4 runs, 4 of them finished already; nothing was started." in again.out
    by_name = ("--method", "ksm-elementwise", "--bn-policy", "frozen", "--set", "ksm-elementwise.lr=5e-3")
    again = command("run", *by_name, *SMALL[:-2], "--dry-run", cwd=tmp_path)
    assert "1 run, 1 of them finished already" in again.out
