"""Numbers that single methods report, and what to know of a method's numbers: from the card to the page."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from report_records import record, save
from step_rows import row_of

from benchmark.execute.record import measures_of
from benchmark.perf.text_tables import SETTING, as_csv
from benchmark.plan.repeat import verdict
from methods.card import Card, Measure
from methods.registry import METHODS, _check
from reports.build import build
from reports.compare import compare
from reports.method_facts import Methods
from results.atomic import write_text
from results.reader import read_record
from results.schema import RunRecord, SchemaError

CELLS = Measure("cells", "Written cells", "cells", "how many cells were written anew, all tasks")
CAVEAT = "interpretation from the abstract: no code and no full text was available"
CARD = dataclasses.replace(METHODS["ksm"], name="tiles", title="Tiles", measures=(CELLS,), caveat=CAVEAT, look=None)


def runs_of(card: Card, **fields: Any) -> list[RunRecord]:
    """Two seeds of a method that nobody here has, with 10 and 12 written cells."""
    return [
        record(card.name, seed, [0.5, 0.6], facts=card.facts(), measures={"cells": 10 + 2 * seed}, **fields)
        for seed in range(2)
    ]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_measures_stand_in_the_record_and_come_back(tmp_path: Path) -> None:
    folder = save(tmp_path, runs_of(CARD))
    read = read_record(folder / "cifar100-20-tiles-1-1" / "result.json")
    assert read.measures == {"cells": 12}
    assert read.method["measures"] == {
        "cells": {"title": "Written cells", "unit": "cells", "meaning": "how many cells were written anew, all tasks"}
    }
    assert read.method["caveat"] == CAVEAT
    assert record("ksm", 0, [0.5]).measures == {}  # records before there were measures


@pytest.mark.parametrize(
    ("measures", "reason"),
    [
        ({"cells": "12"}, "measures.cells is '12', not a number"),
        ({"cells": True}, "measures.cells is True, not a number"),
        ({"cells": 1e300}, r"measures.cells is 1e\+300, not a number"),
        ([1], "measures is"),
        ({"=cells": 1}, "its measure '=cells' has no name of small letters"),
        ({"c" * 41: 1}, "has no name of small letters"),
    ],
)
def test_measures_that_are_none_are_refused_with_a_sentence(tmp_path: Path, measures: Any, reason: str) -> None:
    one = record("tiles", 0, [0.5])
    save(tmp_path, [dataclasses.replace(one, measures=measures)])
    with pytest.raises(SchemaError, match=reason):
        read_record(tmp_path / one.run_id / "result.json")


def test_a_run_reports_what_its_card_names_and_finite_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._cards(), "tiles", CARD)
    assert measures_of("tiles", {"cells": 3}) == {"cells": 3.0}
    assert measures_of("ksm", {}) == {}
    assert measures_of("tiles", {}) == {}, "not there yet"
    with pytest.raises(ValueError, match="of ksm reports the measure speed, and its card names none"):
        measures_of("ksm", {"speed": 1.0})
    with pytest.raises(ValueError, match="reports nan as its measure cells"):
        measures_of("tiles", {"cells": float("nan")})


@pytest.mark.parametrize("name", ["Cells", "", "a-b", "c" * 41])
def test_a_card_with_a_measure_that_makes_no_column_is_left_out(name: str) -> None:
    with pytest.raises(ValueError, match="small letters, digits and underscores"):
        _check(dataclasses.replace(CARD, groups=(), measures=(dataclasses.replace(CELLS, name=name),)), {})
    with pytest.raises(ValueError, match="a name of its own"):
        _check(dataclasses.replace(CARD, groups=(), measures=(CELLS, CELLS)), {})


def test_a_repeated_run_with_another_measure_is_not_identical() -> None:
    before, other = runs_of(CARD)
    assert verdict(before, before).startswith("identical")
    after = dataclasses.replace(before, measures=other.measures)
    assert "the measure cells is 12, the record has 10" in verdict(before, after)
    assert verdict(dataclasses.replace(before, measures={}), after).startswith("identical")  # an older record


def test_the_report_has_one_table_and_one_column_of_them(tmp_path: Path) -> None:
    built = build(save(tmp_path / "runs", [*runs_of(CARD), record("ksm", 0, [0.5, 0.6])]), tmp_path / "out")
    assert "cifar100-20-measures" in built.tables
    (line,) = rows(tmp_path / "out" / "tables" / "cifar100-20-measures.csv")
    assert (line["Method"], line["Measure"], line["Unit"]) == ("Tiles", "Written cells", "cells")
    assert float(line["Value"]) == 11
    assert line["Meaning"] == CELLS.meaning
    found = {(row["method"], row["seed"]): row["measure_cells"] for row in rows(tmp_path / "out" / "runs.csv")}
    assert found == {("tiles", "0"): "10", ("tiles", "1"): "12", ("ksm", "0"): ""}
    assert "Measures of single methods" in built.index.read_text(encoding="utf-8")


def test_a_report_without_measures_and_caveats_says_nothing_of_them(tmp_path: Path) -> None:
    built = build(save(tmp_path / "runs", [record("ksm", 0, [0.5, 0.6])]), tmp_path / "out")
    assert "Measures of single methods" not in built.index.read_text(encoding="utf-8")
    assert not any("measure" in name for name in rows(tmp_path / "out" / "runs.csv")[0])
    assert not any(key.endswith("-measures") for key in built.tables)


def test_a_measure_of_which_the_record_says_nothing_has_its_name(tmp_path: Path) -> None:
    runs = [record("tiles", 0, [0.5], facts={"title": "Tiles", "measures": "no"}, measures={"cells": 1, "b": -2})]
    build(save(tmp_path / "runs", runs), tmp_path / "out")
    lines = rows(tmp_path / "out" / "tables" / "cifar100-20-measures.csv")
    assert [(line["Measure"], float(line["Value"])) for line in lines] == [("b", -2), ("cells", 1)]


def test_every_page_with_a_number_of_the_method_says_the_caveat_once(tmp_path: Path) -> None:
    sentence = f"Tiles: {CAVEAT}."
    folder = save(tmp_path / "runs", [*runs_of(CARD), record("ksm", 0, [0.5, 0.6])])
    page = build(folder, tmp_path / "out").index.read_text(encoding="utf-8")
    assert page.count(sentence) == 1
    assert page.index(sentence) < page.index("<table")
    assert sentence in (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert compare(folder, folder, tmp_path / "both").index.read_text(encoding="utf-8").count(sentence) == 1


def test_a_measured_step_of_the_method_is_a_number_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._cards(), "tiles", CARD)
    folder = save(tmp_path / "runs", [record("ksm", 0, [0.5, 0.6])])
    rows = [row_of("tiles, BN frozen", 10.0, bn_policy="frozen"), row_of("ksm, BN frozen", 9.0, bn_policy="frozen")]
    write_text(folder / "perf" / "thin" / "step.csv", as_csv(rows, dict.fromkeys(SETTING, "") | {"width": "1"}))
    page = build(folder, tmp_path / "out").index.read_text(encoding="utf-8")
    assert f"Tiles: {CAVEAT}." in page


def test_two_methods_of_one_caveat_share_its_line(tmp_path: Path) -> None:
    other = dataclasses.replace(CARD, name="more-tiles", title="More tiles", order=1)
    page = build(save(tmp_path / "runs", [*runs_of(CARD), *runs_of(other)]), tmp_path / "out").index.read_text("utf-8")
    assert f"Tiles, More tiles: {CAVEAT}." in page


def test_a_caveat_is_known_from_the_card_where_the_record_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS._cards(), "tiles", CARD)
    older = {name: fact for name, fact in CARD.facts().items() if name not in ("caveat", "measures")}
    facts = Methods([record("tiles", 0, [0.5], facts=older)])["tiles"]
    assert facts.caveat == CAVEAT
    assert facts.measures["cells"].title == "Written cells"


@pytest.mark.parametrize("caveat", [3, None, "two\nlines", "x" * 301, ["a"]])
def test_a_caveat_that_cannot_be_shown_is_left_out(caveat: Any) -> None:
    assert Methods([record("tiles", 0, [0.5], facts=CARD.facts() | {"caveat": caveat})])["tiles"].caveat == ""


def test_list_says_the_caveat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.cli.list import _methods

    monkeypatch.setitem(METHODS._cards(), "tiles", CARD)
    _methods()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  tiles ")]
    assert f"; {CAVEAT} [" in line
