"""Titles, places and colours of methods: from the records, else from cards, else neutral; foreign text is checked."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from report_records import CIFAR_TASKS, record, save

from methods.registry import METHODS
from reports.build import Built, build
from reports.compare import compare
from reports.grouping import group
from reports.method_facts import Methods
from reports.style import INK, SPARE, spare_look
from results.schema import FROM_SCRATCH, RunRecord

FACTS: dict[str, Any] = {
    "title": "Bias tuning",
    "published": "2024-05",
    "order": 0,
    "paper": "Somebody, 2024",
    "masks": False,
    "no_forgetting": True,
    "look": ["#336600", "#aaee55", "*"],
    "reference": "",
    "lower_bound": False,
    "measures": {},
    "caveat": "",
}
CURVE = [{"phase": "train", "epoch": e, "lr": 1e-3, "loss": 1 / e, "train": 1 - 0.6 / e} for e in (1, 2, 3)]
MASKS = [(task, f"features.{n}", 90 - n, n, 10) for task in CIFAR_TASKS[1:3] for n in range(4)]
TABLES = ("ranking", "accuracy", "training-seconds", "cost", "size", "size-components", "initial-tasks-{}")
FIGURES = ("training-cost", "tradeoff", "forgetting", "learning-curves", "initial-tasks-spread",
           "mask-ratios", "profiles")  # fmt: skip


def whole(method: str, facts: dict[str, Any] | None = None, start: int = 1) -> list[RunRecord]:
    """Three seeds with everything that a record can carry."""
    return [
        record(
            method, seed, [0.5, 0.6, 0.7 + seed / 100], initial_task=start, curve=CURVE, masks=MASKS,
            sizes={"itemised": 2**20, "cpg_table": 2**20}, components=[("bias", "fish", 99, 32)], facts=facts,
        )
        for seed in range(3)
    ]  # fmt: skip


def built_of(folder: Path, runs: list[RunRecord]) -> Built:
    """The report on these runs."""
    return build(save(folder / "runs", runs), folder / "report")


def variables(page: str) -> dict[str, tuple[str, str]]:
    """CSS variables of methods: (light, dark)."""
    light, dark = re.findall(r":root\{(--.*?)\}", page)[:2]
    pairs = [dict(re.findall(r"--(m-[\w-]+):(#\w+);", block)) for block in (light, dark)]
    return {name: (pairs[0][name], pairs[1][name]) for name in pairs[0]}


def test_without_records_the_cards_answer_in_the_order_of_publication() -> None:
    methods = Methods()
    assert methods.in_order(reversed(list(METHODS))) == list(METHODS)
    known = (
        "scratch", "head-only", "finetune", "finetune-sequential", "packnet", "piggyback", "cpg", "supsup", "ksm",
        "piggyback-kernelwise", "piggyback-soft", "ksm-softmax", "ksm-elementwise", "wsn",
    )  # fmt: skip
    assert tuple(name for name in METHODS if name in known) == known
    assert methods.title("finetune-sequential") == "Fine-tune, in sequence"
    look = methods["ksm"].look
    assert (look.name, look.light, look.dark, look.marker) == ("m-ksm", "#0a63a6", "#6cb3f0", "o")
    assert [name for name in METHODS if methods[name].reference == FROM_SCRATCH] == ["scratch"]


def test_a_method_of_which_nothing_is_known_has_its_name_and_a_spare_colour_and_comes_last() -> None:
    methods = Methods([record("a-method", 0, [0.5])])
    assert methods.title("a-method") == "a-method"
    assert methods["a-method"].look == spare_look("a-method") == Methods()["a-method"].look
    assert methods.in_order(["a-method", "ksm", "scratch", "ksm"]) == ["scratch", "ksm", "a-method"]


def test_records_say_what_is_shown_the_latest_first_and_cards_only_where_records_are_silent() -> None:
    early = record("ksm", 0, [0.5], facts=FACTS | {"title": "Old"}, provenance={"finished": "2025-01-01"}, run_id="z")
    late = record("ksm", 1, [0.5], facts=FACTS | {"title": "New"}, provenance={"finished": "2025-02-01"}, run_id="a")
    silent = record("ksm", 2, [0.5], provenance={"finished": "2025-03-01"})
    for records in ([early, late, silent], [silent, late, early]):
        methods = Methods(records)
        assert methods.title("ksm") == "New"
        assert methods["ksm"].look.light == "#336600"
    assert Methods([silent]).title("ksm") == "KSM"


def test_a_dated_method_stands_among_the_others_and_a_baseline_before_them() -> None:
    methods = Methods([
        record("bias-tuning", 0, [0.5], facts=FACTS | {"published": "2019-01"}),
        record("mean", 0, [0.5], facts=FACTS | {"published": "", "order": -1}),
    ])  # fmt: skip
    assert methods.in_order(["ksm", "cpg", "bias-tuning", "piggyback", "scratch", "mean"]) == [
        "mean", "scratch", "piggyback", "bias-tuning", "cpg", "ksm",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "title", ["x" * 61, "", "  ", "a\nb", "a\x00b", "right\u202eleft", "zero\u200bwidth", "\ud800", 7, None, ["x"], {}]
)
def test_a_title_that_cannot_be_shown_is_replaced_by_the_name(title: object) -> None:
    assert Methods([record("m", 0, [0.5], facts=FACTS | {"title": title})]).title("m") == "m"


def test_colours_are_as_figures_write_them() -> None:
    look = Methods([record("m", 0, [0.5], facts=FACTS | {"look": ["#33AA00", "#AAEE55", "D"]})])["m"].look
    assert (look.light, look.dark, look.marker) == ("#33aa00", "#aaee55", "D")


def test_the_longest_title_is_shown() -> None:
    assert Methods([record("m", 0, [0.5], facts=FACTS | {"title": "é" * 60})]).title("m") == "é" * 60


@pytest.mark.parametrize(
    "look",
    [
        None, [], "#336600", ["#336600", "#aaee55"], ["#336600", "#aaee55", "*", "*"], ["336600", "#aaee55", "*"],
        ["#33660", "#aaee55", "*"], ["#336600;}", "#aaee55", "*"], ["#336600\n", "#aaee55", "*"],
        ["red", "#aaee55", "*"], ["#336600", "url(x)", "*"], ["#33660g", "#aaee55", "*"], ["#336600", "#aaee55", ""],
        ["#336600", "#aaee55", " "], ["#336600", "#aaee55", "None"], ["#336600", "#aaee55", "$x$"],
        ["#336600", "#aaee55", "q"], ["#336600", "#aaee55", 0], [1, 2, 3], {"light": "#336600"},
    ],
)  # fmt: skip
def test_a_look_that_is_none_is_replaced_by_a_spare_one(look: object) -> None:
    assert Methods([record("m", 0, [0.5], facts=FACTS | {"look": look})])["m"].look == spare_look("m")


@pytest.mark.parametrize(
    ("given", "published", "order", "reference"),
    [
        ({"published": "2024", "order": 3, "reference": "from pretrained"}, "2024", 3, "from pretrained"),
        ({"published": "May 2024", "order": "3", "reference": "me"}, None, 0, ""),
        ({"published": 2024, "order": 1.5, "reference": ["scratch"]}, None, 0, ""),
        ({"published": None, "order": None, "reference": None}, None, 0, ""),
        ({"published": "2024-05\n", "order": True, "reference": True}, None, 0, ""),
    ],
)
def test_other_facts_are_checked_too(given: dict[str, Any], published: str, order: int, reference: str) -> None:
    facts = Methods([record("m", 0, [0.5], facts=FACTS | given)])["m"]
    assert (facts.published, facts.order, facts.reference) == (published, order, reference)


def test_the_lower_bound_is_known_from_the_record_else_from_the_card() -> None:
    before = {key: value for key, value in FACTS.items() if key != "lower_bound"}  # records did not always carry it
    for facts in (None, before, FACTS | {"lower_bound": True}):
        assert Methods([record("head-only", 0, [0.5], facts=facts)])["head-only"].lower_bound
    assert not Methods([record("head-only", 0, [0.5], facts=FACTS)])["head-only"].lower_bound
    assert Methods([record("m", 0, [0.5], facts=FACTS | {"lower_bound": True})])["m"].lower_bound
    assert not Methods([record("m", 0, [0.5], facts=FACTS | {"lower_bound": "yes"})])["m"].lower_bound
    assert [name for name in METHODS if Methods()[name].lower_bound] == ["head-only"]


def test_neither_title_nor_colour_nor_variable_can_pass_for_another_methods() -> None:
    facts = FACTS | {"title": "KSM", "published": ""}  # stands before KSM, and KSM need not be among the records
    methods = Methods([
        record("one", 0, [0.5], facts=facts | {"look": ["#0A63A6", "#ffffff", "o"]}),
        record("a b", 0, [0.5], facts=facts),
        record("a_b", 0, [0.5], facts=facts | {"look": ["#336601", "#ffffff", "o"]}),
        record("two", 0, [0.5], facts=FACTS | {"look": [INK.light, "#ffffff", "o"]}),
        record("KSM", 0, [0.5]),
    ])  # fmt: skip
    assert methods.title("ksm") == "KSM"
    assert [methods.title(name) for name in ("one", "a b", "KSM")] == ["KSM (one)", "KSM (a b)", "KSM (KSM)"]
    assert methods["one"].look == spare_look("one")  # KSM's colour, in capitals
    assert methods["two"].look == spare_look("two")  # the colour of the page's letters
    assert (methods["a b"].look.name, methods["a_b"].look.name) == ("m-a-b", "m-a-b-2")


def test_labels_stay_unique_where_a_title_looks_like_a_configuration() -> None:
    runs = [record("ksm", 0, [0.5], epochs=epochs, run_id=f"ksm-{epochs}") for epochs in (10, 30)]
    runs.append(record("mine", 0, [0.5], facts=FACTS | {"title": "KSM (epochs 10)"}))
    (panel,), _ = group(runs)
    labels = {item.label for item in panel.configurations}
    assert labels == {"KSM (epochs 10)", "KSM (epochs 30)", "KSM (epochs 10) (mine)"}


@pytest.mark.parametrize("facts", [FACTS, None])
def test_a_method_that_nobody_here_has_is_shown_in_every_table_and_figure(
    facts: dict[str, Any] | None, tmp_path: Path
) -> None:
    assert "bias-tuning" not in METHODS
    title = "Bias tuning" if facts else "bias-tuning"
    runs = [*whole("bias-tuning", facts), *whole("bias-tuning", facts, start=3), *whole("ksm")]
    failed: dict[str, Any] = {"status": "failed", "error": "ValueError: no", "tasks": []}
    runs.append(record("bias-tuning", 9, [0.5], facts=facts, **failed))
    runs.append(record("never-done", 9, [0.5], facts=FACTS | {"title": "Never done"}, **failed))
    built = built_of(tmp_path, runs)
    assert set(built.tables) == {f"cifar100-20-{name.format('bias-tuning')}" for name in TABLES}
    assert built.figures == tuple(f"cifar100-20-{name}" for name in FIGURES)
    for key in built.tables:
        text = (built.index.parent / "tables" / f"{key}.csv").read_text(encoding="utf-8")
        assert title in text or key.endswith("-initial-tasks-bias-tuning"), key
    page = built.index.read_text(encoding="utf-8")
    look = Methods(runs)["bias-tuning"].look
    assert look.name == "m-bias-tuning" if facts else look in SPARE
    assert variables(page)[look.name] == (look.light, look.dark) == (("#336600", "#aaee55") if facts else
                                                                     (look.light, look.dark))  # fmt: skip
    assert f"Test accuracy of {title} in percent" in page
    assert f"cifar100-20, {title}, seed 9: ValueError: no" in page
    assert "cifar100-20, Never done, seed 9: ValueError: no" in page
    assert f'style="background:var(--{look.name})" aria-hidden="true"></span>{title}</th>' in page
    parts = {name: page.split(f'<figure id="cifar100-20-{name}">')[1].split("</figure>")[0] for name in FIGURES}
    for name in FIGURES:
        assert title in parts[name], name
        if name != "mask-ratios":  # that has the colours of a scale
            assert f"var(--{look.name})" in parts[name], name
            assert look.light not in parts[name], name
    with (built.index.parent / "claims.csv").open(encoding="utf-8") as file:
        assert {line["claim"]: line["verdict"] for line in csv.DictReader(file)}["ksm-no-forgetting"] == "holds"


def test_hostile_facts_stay_text(tmp_path: Path) -> None:
    title = '<b onclick="x">$a_b$ & 1% {z}</b>'
    built = built_of(tmp_path, [*whole("m", FACTS | {"title": title, "look": ['#336600"><script>', "x", "*"]})])
    page = built.index.read_text(encoding="utf-8")
    assert "<b onclick" not in page
    assert "&lt;b onclick=" in page
    assert "336600" not in page
    assert r"\$a\_b\$ \& 1\% \{z\}" in (built.index.parent / "tables" / "cifar100-20-accuracy.tex").read_text()


def test_two_reports_of_one_process_do_not_mix(tmp_path: Path) -> None:
    plain = built_of(tmp_path / "a", whole("bias-tuning")).index.read_text(encoding="utf-8")
    titled = built_of(tmp_path / "b", whole("bias-tuning", FACTS)).index.read_text(encoding="utf-8")
    again = built_of(tmp_path / "c", whole("bias-tuning")).index.read_text(encoding="utf-8")
    assert "Bias tuning" in titled and "m-bias-tuning" in titled
    assert "Bias tuning" not in plain
    assert plain == again.replace(str(tmp_path / "c"), str(tmp_path / "a"))


def test_two_folders_side_by_side_show_what_either_says(tmp_path: Path) -> None:
    folders = [save(tmp_path / name, whole("bias-tuning", facts)) for name, facts in (("a", None), ("b", FACTS))]
    page = compare(*folders, tmp_path / "out").index.read_text(encoding="utf-8")
    assert 'style="background:var(--m-bias-tuning)" aria-hidden="true"></span>Bias tuning</th>' in page
    assert variables(page)["m-bias-tuning"] == ("#336600", "#aaee55")


def test_a_page_has_a_variable_for_every_method_on_it_and_the_spare_ones(tmp_path: Path) -> None:
    page = built_of(tmp_path, whole("packnet")).index.read_text(encoding="utf-8")
    # table 1 draws the times of three more, table 3 the means of one of them
    papers = ["m-packnet", "m-piggyback", "m-cpg", "m-ksm"]
    assert list(variables(page)) == [*papers, *(look.name for look in SPARE)]
    assert set(re.findall(r"var\(--(m-[\w-]+)\)", page)) <= variables(page).keys()


def test_transfer_is_to_the_method_in_the_role_of_training_from_scratch(tmp_path: Path) -> None:
    def ranked(folder: str, method: str, facts: dict[str, Any] | None) -> dict[str, dict[str, str]]:
        runs = [record(method, s, [0.5, 0.6], facts=facts) for s in range(3)]
        runs += [record("packnet", s, [0.53, 0.65]) for s in range(3)]
        built = built_of(tmp_path / folder, runs)
        with (built.index.parent / "tables" / "cifar100-20-ranking.csv").open(encoding="utf-8") as file:
            return {line["Method"]: line for line in csv.DictReader(file)}

    for folder, method, facts, role in (
        ("old", "scratch", None, True),
        ("own", "my-scratch", FACTS | {"reference": FROM_SCRATCH}, True),
        ("none", "my-scratch", FACTS, False),
        ("other", "my-scratch", FACTS | {"reference": "pretrained"}, False),
    ):
        line = ranked(folder, method, facts)["PackNet"]
        assert ("vs. scratch (points)" in line) == role, folder
        if role:
            assert float(line["vs. scratch (points)"]) == pytest.approx(4)  # 53 - 50 and 65 - 60


def test_facts_survive_the_record() -> None:
    one = record("bias-tuning", 0, [0.5], facts=FACTS)
    assert one.method == FACTS
    assert RunRecord.from_json(one.to_json()).method == FACTS
    assert record("bias-tuning", 0, [0.5]).method == {}
    card = METHODS["ksm"].facts()
    assert card.keys() == FACTS.keys()
    assert (card["title"], card["published"], card["look"], card["reference"]) == (
        "KSM", "2021-06", ["#0a63a6", "#6cb3f0", "o"], "",
    )  # fmt: skip
    assert (METHODS["scratch"].facts()["reference"], METHODS["ksm"].facts()["masks"]) == (FROM_SCRATCH, True)
