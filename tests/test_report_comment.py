"""``report --compare BASE --comment FILE --fail-below POINTS``: what a pull request is told, and whether it passes."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from report_records import record, save

from benchmark.cli.report import add_parser
from benchmark.errors import RequestError
from reports.compare import compared
from reports.static_site.comparison_comment import Gate, comment
from results.schema import RunRecord

HOSTILE = "<b>|@everyone [x](http://x.invalid) `y`\n# z"


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["report", *words])
    return int(args.run(args))


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    """A base and a change in which KSM falls by 1 point and PackNet rises by 2; each has one that the other lacks."""
    base = [record("ksm", seed, [0.50 + seed / 10, 0.60]) for seed in range(2)]
    base += [record("packnet", 0, [0.5, 0.5]), record("cpg", 0, [0.5, 0.5])]
    here = [record("ksm", seed, [0.49 + seed / 10, 0.59]) for seed in range(2)]
    here += [record("packnet", 0, [0.52, 0.52]), record("piggyback", 0, [0.5, 0.5])]
    here += [record("cpg", 1, [0.5], status="failed", error=f"Traceback\nValueError: {HOSTILE}", tasks=[])]
    return str(save(tmp_path / "base", base)), str(save(tmp_path / "here", here))


@pytest.mark.parametrize(("points", "code"), [("0.99", 1), ("1", 0), ("0", 1), ("5", 0)])
def test_the_threshold_decides_the_exit_code(
    two: tuple[str, str], points: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, here = two
    words = ["--results", here, "--compare", base, "--out", str(tmp_path / "out"), "--fail-below", points]
    assert call(*words) == code
    said = capsys.readouterr().out.splitlines()[-1]
    if code:
        assert said == f"KSM (cifar100-20) falls by 1.00 points, more than {points} points."
    else:
        assert said.startswith("No mean accuracy falls by more than")
        assert "(2 compared)" in said


def test_without_a_threshold_the_comparison_only_tells(two: tuple[str, str], tmp_path: Path) -> None:
    base, here = two
    assert call("--results", here, "--compare", base, "--out", str(tmp_path / "out")) == 0
    assert (tmp_path / "out" / "compare.html").is_file()


def test_the_comment_has_paired_differences_and_what_stands_alone(two: tuple[str, str], tmp_path: Path) -> None:
    base, here = two
    file = tmp_path / "comment.md"
    words = ["--results", here, "--compare", base, "--out", str(tmp_path / "out"), "--comment", str(file)]
    assert call(*words, "--fail-below", "0.5") == 1
    text = file.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert cells[0][:5] == ["Configuration", "Setting", "Base (percent)", "Here (percent)", "Difference (points)"]
    # the largest fall first: means of 57.5 and 56.5 percent over two tasks and two seeds, 1 point on each of the four
    assert cells[1][0] == "KSM" and cells[1][2].startswith("57.5") and cells[1][3].startswith("56.5")
    assert cells[1][4].startswith("−1.00")
    assert (cells[2][0], cells[2][4]) == ("PackNet", "+2.00")
    assert ":x: KSM (cifar100-20) falls by 1.00 points, more than 0.5 points." in text
    assert "- Only in the base: CPG from task 1" in text
    assert "- New: Piggyback from task 1" in text
    assert "over the tasks and seeds that both have" in text
    assert "Failed here: 1" in text


def test_two_folders_need_no_results_and_the_first_is_the_base(two: tuple[str, str], tmp_path: Path) -> None:
    base, here = two
    assert call("--compare", base, here, "--out", str(tmp_path / "out"), "--fail-below", "0.5") == 1
    assert call("--compare", here, base, "--out", str(tmp_path / "out"), "--fail-below", "1.5") == 1  # PackNet, by 2


def test_nothing_in_common_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = save(tmp_path / "a", [record("ksm", 0, [0.5, 0.6])])
    b = save(tmp_path / "b", [record("ksm", 1, [0.5, 0.6])])
    assert call("--results", str(b), "--compare", str(a), "--out", str(tmp_path / "out"), "--fail-below", "9") == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("Nothing can be compared")


def test_accuracies_of_generated_images_are_not_compared(tmp_path: Path) -> None:
    spec = {"synthetic": True}
    a = save(tmp_path / "a", [record("ksm", 0, [0.9, 0.9], spec=spec), record("cpg", 0, [0.5, 0.6])])
    b = save(tmp_path / "b", [record("ksm", 0, [0.1, 0.1], spec=spec), record("cpg", 0, [0.5, 0.6])])
    found = compared(a, b)
    gate = Gate(found, 0)
    assert (gate.compared, gate.passed) == (1, True)
    assert "Not compared: images are generated: 1" in comment(found, gate)


def test_other_images_are_told(tmp_path: Path) -> None:
    a = save(tmp_path / "a", [record("ksm", 0, [0.5, 0.6]), record("cpg", 0, [0.5, 0.6])])
    changed = record("ksm", 0, [0.5, 0.6], provenance={"data_fingerprint": "e" * 64})
    text = comment(compared(a, save(tmp_path / "b", [changed, record("cpg", 0, [0.5, 0.6])])))
    assert "Compared, on other images than the base's: 1" in text
    assert "- KSM (cifar100-20)" in text


def test_texts_of_others_stay_texts(tmp_path: Path) -> None:
    runs = [record(HOSTILE, 0, [0.5, 0.6], scenario=HOSTILE, names=("a", "b"), run_id="one")]
    found = compared(save(tmp_path / "a", runs), save(tmp_path / "b", runs))
    text = comment(found)
    assert "<b>" not in text and "@everyone" not in text and "[x](" not in text and "\n# z" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1


def test_a_comment_is_short_enough_for_github(tmp_path: Path) -> None:
    def run(number: int, accuracy: float) -> RunRecord:
        spec = {"settings": {"epochs": 10, "lr": number * 1e-6, "note": "x" * 300}}
        made = record("ksm", 0, [accuracy, accuracy], spec=spec)
        return RunRecord.from_json(made.to_json() | {"run_id": f"run-{number}"})

    a = save(tmp_path / "a", [run(number, 0.5) for number in range(1, 121)])
    b = save(tmp_path / "b", [run(number, 0.4) for number in range(1, 101)])
    found = compared(a, b)
    gate = Gate(found, 1)
    text = comment(found, gate)
    assert len(gate.fallen) == 100
    assert len(text) < 65_536
    assert "… and 40 more" in text and "Without a counterpart: 20" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--comment", "x"], "--comment goes with --compare"),
        (["--fail-below", "1"], "--fail-below goes with --compare"),
        (["--compare", "a", "b", "c"], "--compare takes one or two folders, not 3"),
        (["--compare", "a", "b", "--results", "c"], "--compare with two folders takes no --results"),
        (["--compare", "a", "--fail-below", "x"], "--fail-below takes points of accuracy"),
        (["--compare", "a", "--fail-below", "-1"], "--fail-below takes points of accuracy"),
        (["--compare", "a", "--fail-below", "nan"], "--fail-below takes points of accuracy"),
    ],
)
def test_wrong_requests_are_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        call(*words)
