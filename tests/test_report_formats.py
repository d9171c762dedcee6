"""LaTeX, Markdown and CSV of tables: escaping, shape, and that the LaTeX compiles where a compiler is."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from report_records import record, save

from reports.build import build
from reports.formats import escape_latex, escape_markdown, latex, markdown, sheet_csv, written
from reports.tables.sheet import Entry, Heading, Line, Sheet

HOSTILE = r"a_b & 100% $x$ #1 {z} ~ ^ \input{x} <b> |"
SHEET = Sheet(
    key="k", title=HOSTILE, caption="c", headings=(Heading("Task", numeric=False), Heading("KSM", "3 seeds")),
    lines=(Line(Entry(HOSTILE), (Entry("78.9 ± 0.4", 78.9, 0.4, bold=True),)),
           Line(Entry("Mean"), (Entry("–", kind="missing"),), True)),
)  # fmt: skip


def test_latex_escapes_and_marks() -> None:
    text = latex([SHEET])
    assert r"\textbf{78.9 $\pm$ 0.4} \\" in text
    assert r"a\_b \& 100\% \$x\$ \#1 \{z\}" in text
    assert r"\input" not in text
    assert r"\midrule" + "\nMean" in text
    assert escape_latex("日本 é − ×") == r"?? é $-$ $\times$"


def test_markdown_escapes() -> None:
    text = markdown([SHEET])
    assert "| Task | KSM (3 seeds) |" in text
    assert "**78.9 ± 0.4**" in text
    assert escape_markdown("<b>|x\ny") == r"\<b\>\|x y"


def test_csv_holds_numbers_and_their_spread() -> None:
    lines = list(csv.reader(io.StringIO(sheet_csv(SHEET))))
    assert lines == [["Task", "KSM (3 seeds)", "KSM (3 seeds) ±"], [HOSTILE, "78.9", "0.4"], ["Mean", "", ""]]


def test_csv_cells_do_not_run_as_formulas() -> None:
    lines = list(csv.reader(io.StringIO(written(["name"], [["=1+1"], ["@x"], ["-0.5"], ["-x"]]))))
    assert lines == [["name"], ["'=1+1"], ["'@x"], ["-0.5"], ["'-x"]]


def test_every_table_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("tectonic") or shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("neither tectonic nor pdflatex is here to compile the LaTeX tables")
    runs = [
        record(m, s, (0.5, 0.6 + s / 100), sizes={"itemised": 9})
        for m in ("ksm", "piggyback", "a_b&c")
        for s in range(3)
    ]
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    tables = sorted((built.index.parent / "tables").glob("*.tex"))
    body = "\n".join(rf"\input{{{path.as_posix()}}}" for path in tables)
    document = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}" + body + r"\end{document}"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    options = [] if "tectonic" in compiler else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([compiler, *options, "all.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_is_balanced() -> None:
    """What can be said without a compiler: environments, braces and column counts match."""
    text = latex([SHEET])
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 1
    bare = text.replace("\\\\", "").replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [line.replace(r"\&", "").count(" & ") for line in rows] == [1, 1, 1]


def test_a_cell_is_no_option_of_the_line_before_and_a_caption_has_one_paragraph() -> None:
    lines = (Line(Entry("[x] y"), (Entry("* z"),)), Line(Entry("a"), (Entry("b"),)))
    text = latex([Sheet("k", "t", "one\n\ntwo", (Heading("Task", numeric=False), Heading("KSM")), lines)])
    assert "\n{}[x] y & {}* z \\\\\n" in text
    assert "one two" in text
