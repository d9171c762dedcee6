"""Two folders side by side, and the verb ``report``."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import pytest
from report_records import record, save

from benchmark.cli.report import add_parser
from benchmark.errors import RequestError
from reports.compare import compare
from reports.report_error import ReportError


def test_paired_differences_worked_by_hand(tmp_path: Path) -> None:
    a = [record("ksm", s, [0.5, 0.6], seconds=[10.0, 20.0], sizes={"itemised": 100}) for s in range(3)]
    # B is better by 1, 2 and 3 points on every task (2 ± 2.48), twice as slow, half as large.
    b = [
        record("ksm", s, [0.51 + s / 100, 0.61 + s / 100], seconds=[20.0, 40.0], sizes={"itemised": 50})
        for s in range(3)
    ]
    b += [record("cpg", 0, [0.5, 0.6])]
    a += [record("piggyback", 0, [0.5, 0.6], epochs=10)]
    b += [record("piggyback", 0, [0.4, 0.6], epochs=20)]
    built = compare(save(tmp_path / "a", a), save(tmp_path / "b", b), tmp_path / "out")
    text = (built.index.parent / "tables" / "comparison.csv").read_text(encoding="utf-8")
    lines = {line["Method"]: line for line in csv.DictReader(io.StringIO(text))}
    ksm = lines["KSM"]
    assert float(ksm["A (percent)"]) == pytest.approx(55)
    assert float(ksm["B (percent)"]) == pytest.approx(57)
    assert float(ksm["B − A (points)"]) == pytest.approx(2)
    assert float(ksm["B − A (points) ±"]) == pytest.approx(2.484138, abs=1e-6)
    assert ksm["Verdict"] == "no difference shown"
    assert (float(ksm["Time (B over A)"]), float(ksm["Size (B over A)"])) == (pytest.approx(2), pytest.approx(0.5))
    assert ksm["What differs in the specification"] == "nothing"
    piggyback = lines["Piggyback"]
    assert float(piggyback["B − A (points)"]) == pytest.approx(-5)
    assert piggyback["Verdict"] == "one seed"
    assert "epochs: 10 → 20" in piggyback["What differs in the specification"]
    page = built.index.read_text(encoding="utf-8")
    assert "Only in B: CPG from task 1" in page
    assert f"{tmp_path / 'a'}" in page


def test_the_same_folder_twice_is_identical(tmp_path: Path) -> None:
    runs = save(tmp_path / "a", [record("ksm", s, [0.5, 0.6 + s / 50]) for s in range(3)])
    built = compare(runs, runs, tmp_path / "out")
    assert "identical" in built.index.read_text(encoding="utf-8")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    runs = save(tmp_path / "a", [record("ksm", 0, [0.5])])
    with pytest.raises(ReportError, match="does not exist"):
        compare(runs, tmp_path / "absent", tmp_path / "out")


def _call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["report", *arguments])
    return int(args.run(args))


def test_the_verb_writes_a_page_and_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = save(tmp_path / "runs", [record("ksm", s, [0.5, 0.6]) for s in range(2)])
    (runs / "broken").mkdir()
    (runs / "broken" / "result.json").write_text("{")
    assert _call("--results", str(runs), "--out", str(tmp_path / "out")) == 0
    out = capsys.readouterr().out
    assert "left out: broken/result.json: it is half-written or no JSON" in out
    assert out.splitlines()[-1] == str(tmp_path / "out" / "index.html")
    assert _call("--compare", str(runs), str(runs), "--out", str(tmp_path / "both")) == 0
    assert (tmp_path / "both" / "compare.html").is_file()


def test_the_verb_refuses_an_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match=r"the results folder .* does not exist; run `python -m benchmark run` first"
    ):
        _call("--results", str(tmp_path / "absent"))
