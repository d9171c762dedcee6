"""``report --paper``: figures in two widths that grey paper tells apart, and LaTeX tables that a paper can take."""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text
from report_records import record, save

import benchmark as mb
from benchmark.cli.report import add_parser
from benchmark.errors import RequestError
from methods.registry import METHODS
from reports.grouping import group
from reports.publication.chosen import choose
from reports.publication.latex_tables import CAPTION, COLUMN, PAGE
from reports.publication.paper_folder import Published, publish
from reports.publication.print_figures import FIGURES
from reports.publication.print_style import LETTERS, lightness, paper_style, prints, with_lightness
from reports.report_error import ReportError
from results.schema import RunRecord

HOSTILE = r"[a_b & 100% $x$ #1 {z} ~ ^ \input{x} <b> |"


def runs_of(*methods: str, seeds: int = 3, tasks: int = 5, **changed: Any) -> list[RunRecord]:
    found = []
    for number, method in enumerate(methods):
        for seed in range(seeds):
            accuracies = [0.5 + 0.02 * task + 0.01 * number + 0.004 * seed for task in range(tasks)]
            at_end = [value - 0.05 for value in accuracies[:-1]] + accuracies[-1:]
            options: dict[str, Any] = {"seconds": [9.0 + number] * tasks, "sizes": {"itemised": (number + 1) * 2**21}}
            found.append(record(method, seed, accuracies, at_end=at_end, **options | changed))
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """What a paper gets of two methods, where a third and a lower bound were run beside them."""
    folder = tmp_path_factory.mktemp("paper")
    runs = save(folder / "runs", runs_of("head-only", "packnet", "piggyback", "ksm"))
    return publish([runs], folder / "out", ["ksm", "piggyback"])


def texts(made: Published) -> dict[str, str]:
    return {key: (made.index.parent / "tables" / f"{key}.tex").read_text(encoding="utf-8") for key in made.tables}


def faults_of(text: str) -> list[str]:
    """What a compiler would stumble over, as far as that can be seen without one."""
    found = []
    bare = re.sub(r"(?m)(?<!\\)%.*$", "", text)
    open_environments: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", bare):
        if kind == "begin":
            open_environments.append(name)
        elif not open_environments or open_environments.pop() != name:
            found.append(f"environment {name} ends where it did not begin")
    found += [f"environment {name} has no end" for name in open_environments]
    plain = bare.replace("\\\\", " ").replace(r"\{", "").replace(r"\}", "")
    depth = list(itertools.accumulate({"{": 1, "}": -1}.get(letter, 0) for letter in plain))
    if depth and (min(depth) < 0 or depth[-1]):
        found.append("braces do not match")
    if plain.replace(r"\$", "").count("$") % 2:
        found.append("a dollar sign stands alone")
    for columns, body in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", bare, re.S):
        count = len(re.findall(r"[lr]|p\{[^}]*\}", columns.replace("@{}", "")))
        for line in body.splitlines():
            if line.endswith(r"\\") and line.replace(r"\&", "").count("&") + 1 != count:
                found.append(f"{count} columns, but: {line}")
            if line.startswith(("[", "*")):
                found.append(f"read as an option: {line}")
    found += [f"not escaped: {letter}" for letter in "#_^~" if re.search(rf"(?<!\\){re.escape(letter)}", _words(bare))]
    return found


def _words(text: str) -> str:
    """Without labels and file names, which LaTeX takes as they are."""
    return re.sub(r"\\(label|ref|input|includegraphics)\{[^}]*\}", "", text)


def test_the_search_for_faults_finds_them() -> None:
    table = r"\begin{tabular}{@{}lr@{}}" + "\n{}\n" + r"\end{tabular}"
    assert faults_of(table.replace("{}\n", "a & b \\\\\n")) == []
    for wrong in (r"a & b & c \\", r"[a & b \\", r"a_b & c \\", r"a & {b \\", r"a & $b \\"):
        assert len(faults_of(table.replace("\n{}\n", f"\n{wrong}\n"))) == 1, wrong
    assert faults_of(r"\begin{table}\end{table*}") != []


def test_every_table_can_be_input_as_it_is(made: Published) -> None:
    found = texts(made)
    assert {"cifar100-20-summary", "cifar100-20-accuracy", "cifar100-20-training-seconds", "cifar100-20-size"} <= set(
        found
    )
    for key, text in found.items():
        assert faults_of(text) == [], key
        assert r"\usepackage{booktabs,threeparttable}" in text.split("\\begin", 1)[0]
        assert text.index(r"\end{tabular}") < text.index(r"\begin{tablenotes}")
        assert "documentclass" not in text
    assert faults_of(made.index.read_text(encoding="utf-8")) == []
    named = re.findall(r"\\input\{(.*?)\}", made.index.read_text(encoding="utf-8"))
    assert named == [f"tables/{key}" for key in made.tables]


def test_captions_are_one_line_and_name_no_table(made: Published) -> None:
    for key, text in texts(made).items():
        limit = CAPTION[PAGE] if r"\begin{table*}" in text else CAPTION[COLUMN]
        captions = re.findall(r"\\caption\{(.*)\}", text)
        assert captions
        for caption in captions:
            assert len(re.sub(r"\\(.)", r"\1", caption)) <= limit, key
            assert not re.search(r"Table \d|Figure \d", caption), caption


def test_only_the_methods_asked_for_are_in_it(made: Published) -> None:
    for key, text in texts(made).items():
        assert "PackNet" not in text, key
        assert "CPG" not in re.sub(r"CPG repository", "", text), key
        assert "KSM" in text
    summary = texts(made)["cifar100-20-summary"]
    heads = [line.split(" & ")[0] for line in summary.splitlines() if line.endswith(r"\\")]
    assert heads == ["Method", "KSM", "Piggyback"]  # the best first
    # 0.53, 0.55, 0.57, 0.59, each less 0.05, and 0.61, and the mean 0.004 of the seeds more: 53.4 percent
    assert r"KSM & \textbf{53.4 $\pm$ 1.0} & 5.0 $\pm$ 0.0 & 60.0 & 8.00 \\" in summary


def test_a_lower_bound_that_nobody_asked_for_still_marks_what_is_below_it(tmp_path: Path) -> None:
    good, bad = runs_of("head-only"), runs_of("ksm")
    worse = [record("ksm", run.spec["seed"], [0.3] * 5, sizes={"itemised": 9}) for run in bad]
    made = publish([save(tmp_path / "runs", [*good, *worse])], tmp_path / "out", ["ksm"])
    summary = texts(made)["cifar100-20-summary"]
    assert "30.0 $\\pm$ 0.0 §" in summary or "30.0 §" in summary
    assert "§ below head-only" in summary
    assert "Head only &" not in summary


def test_configurations_of_a_method_are_told_apart_by_notes(tmp_path: Path) -> None:
    slow = runs_of("ksm", seeds=2)
    fast = runs_of("ksm", seeds=2, spec={"settings": {"epochs": 10, "lr": 1e-3}})
    fast = [RunRecord.from_json(run.to_json() | {"run_id": f"fast-{run.run_id}"}) for run in fast]
    made = publish([save(tmp_path / "runs", [*slow, *fast])], tmp_path / "out")
    text = texts(made)["cifar100-20-accuracy"]
    assert r"KSM\tnote{a}" in text and r"KSM\tnote{b}" in text
    assert r"\item[a] lr 0.0001." in text and r"\item[b] lr 0.001." in text


def test_a_named_schedule_is_a_note_by_its_name(tmp_path: Path) -> None:
    measured = Path(__file__).resolve().parent.parent / "results" / "measured" / "cifar100-20-thin-cpu"
    text = texts(publish([measured], tmp_path / "out", ["ksm"]))["cifar100-20-accuracy"]
    assert r"\item[a] release schedule." in text


def test_a_table_too_wide_for_the_page_is_parted(tmp_path: Path) -> None:
    runs = [
        RunRecord.from_json(run.to_json() | {"run_id": f"{lr}-{run.run_id}"})
        for lr in range(1, 19)
        for run in runs_of("ksm", seeds=2, spec={"settings": {"epochs": 10, "lr": lr * 1e-4}})
    ]
    made = publish([save(tmp_path / "runs", runs)], tmp_path / "out")
    text = texts(made)["cifar100-20-accuracy"]
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert len(captions) == text.count(r"\begin{table*}") > 1
    assert captions[0].endswith(f"(1 of {len(captions)})")
    assert sum(text.count(rf"\tnote{{{letter}}}") for letter in "abcdefghijklmnopqr") == 18
    assert faults_of(text) == []
    labels = re.findall(r"\\label\{(.*)\}", text)
    assert len(set(labels)) == len(labels)


def test_texts_of_others_stay_texts(tmp_path: Path) -> None:
    spec = {"scenario_title": f"{HOSTILE}\n\n{HOSTILE}"}
    runs = runs_of(HOSTILE, "ksm", scenario="own", names=[f"{n}{HOSTILE}" for n in range(5)], spec=spec)
    runs = [RunRecord.from_json(run.to_json() | {"run_id": f"run-{n}"}) for n, run in enumerate(runs)]
    made = publish([save(tmp_path / "runs", runs)], tmp_path / "out")
    for key, text in texts(made).items():
        assert faults_of(text) == [], key
        assert r"\input{x}" not in text
    assert faults_of(made.index.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("end", ["column", "page"])
def test_figures_have_the_widths_of_a_paper_and_embed_their_fonts(made: Published, end: str) -> None:
    inches = {"column": 3.3, "page": 7.0}[end]
    figures = [key for key in made.figures if key.endswith(f"-{end}")]
    assert {key.removeprefix("cifar100-20-").removesuffix(f"-{end}") for key in figures} == {
        "tradeoff", "accuracy", "training", "forgetting", "size",
    }  # fmt: skip
    for key in figures:
        content = (made.index.parent / "figures" / f"{key}.pdf").read_bytes()
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
        assert box is not None
        assert float(box.group(1)) / 72 == pytest.approx(inches, abs=0.01)
        assert b"/FontFile2" in content  # TrueType, so an editor can change it: fonttype 42
        assert b"/Type3" not in content


def test_every_letter_of_a_figure_is_of_8_points(tmp_path: Path) -> None:
    panels, _ = group(runs_of("packnet", "piggyback", "ksm"))
    chosen, _ = choose(panels, ())
    for draw, width in itertools.product(FIGURES, (COLUMN, PAGE)):
        with paper_style():
            printed = draw(chosen[0].panel, chosen[0].whole, width)
            assert printed is not None
            sizes = {text.get_fontsize() for text in printed.figure.findobj(Text) if text.get_text()}
        assert sizes == {LETTERS}, draw


def test_grey_paper_tells_all_methods_of_a_figure_apart() -> None:
    methods = list(METHODS)[:8]
    panels, _ = group(
        [
            *runs_of(*methods, seeds=1),
            *(
                RunRecord.from_json(run.to_json() | {"run_id": f"again-{run.run_id}"})
                for run in runs_of(*methods[:4], seeds=1, spec={"settings": {"epochs": 10, "lr": 1e-3}})
            ),
        ]
    )
    items = panels[0].configurations
    assert len(items) == 12
    found = [prints(items)[item.label] for item in items]
    for what in (lambda one: (one.marker, one.filled), lambda one: one.dashes, lambda one: one.hatch):
        assert len({what(one) for one in found}) == 12
    levels = sorted(lightness(one.colour) for one in found)
    assert min(b - a for a, b in itertools.pairwise(levels)) > 4  # L*: about two just noticeable steps
    assert levels[-1] < 70  # against white paper, 100


def test_lightness_by_known_values() -> None:
    assert lightness("#000000") == 0
    assert lightness("#ffffff") == pytest.approx(100)
    assert lightness("#777777") == pytest.approx(50.03, abs=0.01)
    assert lightness("#ff0000") == pytest.approx(53.24, abs=0.01)
    for target in (20.0, 60.0):
        assert lightness(with_lightness("#0a63a6", target)) == pytest.approx(target, abs=0.5)


def test_it_compiles_in_two_columns(made: Published, tmp_path: Path) -> None:
    compiler = shutil.which("pdflatex") or shutil.which("tectonic")
    if compiler is None:
        pytest.skip("neither pdflatex nor tectonic is here to compile the tables and figures")
    shutil.copytree(made.index.parent, tmp_path / "paper")
    options = [] if "tectonic" in compiler else ["-interaction=nonstopmode", "-halt-on-error"]
    command = [compiler, *options, made.index.name]
    done = subprocess.run(command, cwd=tmp_path / "paper", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper" / "example.pdf").is_file()


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    args = parser.parse_args(["report", *words])
    return int(args.run(args))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(save(tmp_path / "runs", runs_of("ksm", "piggyback")))
    assert call("--results", runs, "--paper", str(tmp_path / "out"), "--method", "ksm,cpg") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(tmp_path / "out" / "example.tex")
    assert "left out: cpg: no run of it is finished" in out
    with pytest.raises(
        RequestError, match=r"There is no method 'ksn' here\. Did you mean 'ksm'\? The records have runs"
    ):
        call("--results", runs, "--paper", str(tmp_path / "other"), "--method", "ksn")
    with pytest.raises(RequestError, match="No run of cpg is finished; the records have runs of ksm, piggyback"):
        call("--results", runs, "--paper", str(tmp_path / "other"), "--method", "cpg")
    assert not (tmp_path / "other").exists()


def test_from_python(tmp_path: Path) -> None:
    runs = save(tmp_path / "runs", runs_of("ksm", "piggyback", seeds=1, tasks=2))
    index = mb.report(runs, kind="paper", methods="ksm", out=tmp_path / "paper")
    assert index == tmp_path / "paper" / "example.tex"
    assert "Piggyback" not in (tmp_path / "paper/tables/cifar100-20-accuracy.tex").read_text(encoding="utf-8")
    assert mb.report(runs, kind="site", out=tmp_path / "site") == tmp_path / "site" / "index.html"
    with pytest.raises(RequestError, match="no report of kind 'book'; kinds are page, paper, site"):
        mb.report(runs, kind="book", out=tmp_path / "book")
    with pytest.raises(RequestError, match="methods are chosen for a paper alone"):
        mb.report(runs, methods=["ksm"], out=tmp_path / "book")
    assert not (tmp_path / "book").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "ksm"], "--method goes with --paper"),
        (["--paper", "p", "--site", "s"], "--paper and --site each say what to make"),
        (["--paper", "p", "--out", "o"], "--out is where the page goes"),
        (["--paper", "p", "--open"], "--open shows a page"),
        (["--paper", "p", "--method", "ksm,,cpg"], "a method's name is empty"),
        (["--results", ""], "--results needs a value"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], sentence: str) -> None:
    with pytest.raises(RequestError, match=re.escape(sentence)):
        call(*words)


def test_without_a_finished_run_there_is_nothing_to_publish(tmp_path: Path) -> None:
    failed = record("ksm", 0, [0.5], status="failed", error="broke", tasks=[])
    with pytest.raises(ReportError, match="No run of any method is finished"):
        publish([save(tmp_path / "runs", [failed])], tmp_path / "out")
