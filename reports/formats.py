"""Tables as CSV, LaTeX (booktabs) and Markdown; all runs as one tidy CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from reports.claims import Checked
from reports.evidence import Evidence
from reports.grouping import Panel
from reports.hardware import hardware_of
from reports.tables.grid import NOT_RUN, Grid
from reports.tables.sheet import Entry, Heading, Sheet
from reports.validation import mean_of_all, validation_accuracy
from results.schema import SYNTHETIC, RunRecord, TaskRow

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "−": r"$-$", "×": r"$\times$", "–": "--", "—": "---", "·": r"$\cdot$", "…": r"\ldots{}",
    "→": r"$\rightarrow$", "≥": r"$\geq$", "≤": r"$\leq$", "|": r"\textbar{}", "“": "``", "”": "''", "’": "'",
    "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}", "\N{NO-BREAK SPACE}": "~",
    "²": r"\textsuperscript{2}", "⁰": r"\textsuperscript{0}",
}  # fmt: skip


#: letters beyond which a cell of words is broken into lines
LONG = 60

VALIDATION_COLUMN = "validation_accuracy"
#: Columns of ``runs.csv``: of the run, of the task (attributes of ``TaskRow``, and the validation accuracy of what was
#: kept, empty where there is none), and of the run as a whole.
RUN_COLUMNS = ("panel", "scenario", "method", "configuration", "seed", "run_id", "initial_task", "hardware")
TASK_COLUMNS = (
    "index", "name", "status", "classes", "train_images", "test_images", "accuracy", "accuracy_at_end", "epochs",
    "training_seconds", "seconds_per_epoch", "images_per_second", "peak_memory_bytes", "energy_joules", "goal",
    "goal_met", VALIDATION_COLUMN,
)  # fmt: skip
TOTAL_COLUMNS = (
    "mean_accuracy", "mean_validation_accuracy", "forgetting", "backward_transfer", "training_seconds_total",
    "itemised_bytes", "forward_flops", "started", "commit",
)  # fmt: skip


def grid_csv(grid: Grid) -> str:
    """Tidy: one line per cell with measured mean, interval, seeds, published number, difference and verdict.

    Where a column is marked (``reports.soundness``) there is a last field with the mark in words.
    """
    marked = any(column.mark for column in grid.columns)
    header = ("row", "column", "unit", "seeds", "mean", "half_width", "published", "difference", "ratio", "verdict",
              "best", *(["mark"] if marked else []))  # fmt: skip
    lines = []
    for row in grid.rows:
        for column in grid.columns:
            cell = grid.cell(row, column)
            verdict = grid.verdict(row, column)
            if cell.published is None and verdict == NOT_RUN:
                continue
            interval = cell.interval
            lines.append((
                row.title, column.title, grid.unit, len(cell.samples),
                number(interval.mean if interval else None), number(interval.half_width if interval else None),
                number(cell.published), number(cell.difference), number(cell.ratio), verdict,
                "yes" if (row.key, column.key) in grid.best else "",
                *([column.mark] if marked else []),
            ))  # fmt: skip
    return written(header, lines)


def sheet_csv(sheet: Sheet) -> str:
    """The table as it stands, raw numbers; beside a column its intervals (``±``) and its marks, where it has any."""
    columns = [[line.entries[place] for line in sheet.lines] for place in range(len(sheet.headings) - 1)]
    header = [sheet.headings[0].text]
    rows = [[line.head.text] for line in sheet.lines]
    for heading, entries in zip(sheet.headings[1:], columns, strict=True):
        name = full_heading(heading)
        parts: list[tuple[str, list[str]]] = [(name, [_raw(entry) for entry in entries])]
        if any(entry.spread is not None for entry in entries):
            parts.append((f"{name} ±", [number(entry.spread) for entry in entries]))
        if any(entry.mark for entry in entries):
            parts.append((f"{name} mark", [entry.mark for entry in entries]))
        for title, texts in parts:
            header.append(title)
            for row, text in zip(rows, texts, strict=True):
                row.append(text)
    return written(header, rows)


def claims_csv(panels: Iterable[tuple[Panel, Sequence[Checked]]]) -> str:
    """Every claim on every panel, with the numbers behind the verdict."""
    keys = ("difference", "bound", "seeds_low", "seeds_high", "bootstrap_low", "bootstrap_high", "seeds", "pairs",
            "ratio", "share", "changed", "tasks", "largest")  # fmt: skip
    header = (
        "panel",
        "claim",
        "statement",
        "source",
        "printed",
        "verdict",
        "setting",
        "more_seeds",
        "compared",
        "statistic",
        *keys,
    )
    lines = []
    for panel, checked in panels:
        for item in checked:
            claim, evidence = item.claim, item.evidence
            lines.append((
                panel.slug, claim.key, claim.statement, claim.source, claim.printed, evidence.verdict,
                "" if evidence.verdict == NOT_RUN else "other" if item.away else "paper's",
                _more_seeds(evidence), " / ".join(evidence.compared),
                evidence.statistic, *(number(evidence.numbers.get(key)) for key in keys),
            ))  # fmt: skip
    return written(header, lines)


def _more_seeds(evidence: Evidence) -> str:
    """``3``; ``at least 2`` where a single seed shows no spread."""
    if evidence.more_seeds is None:
        return ""
    return f"{'at least ' if evidence.spread_unknown else ''}{evidence.more_seeds}"


def runs_csv(panels: Iterable[Panel]) -> str:
    """One line per run and task, everything in the record's own units (fractions, seconds, bytes).

    Numbers that single methods report have a column each, ``measure_<name>``, at the end.
    """
    panels = tuple(panels)
    every = (run for panel in panels for item in panel.everything for run in item.runs)
    measures = sorted({name for run in every for name in run.measures})
    own = (f"measure_{name}" for name in measures)
    header = (*RUN_COLUMNS, "task_index", "task", *TASK_COLUMNS[2:], *TOTAL_COLUMNS, *own)
    return written(header, (line for panel in panels for line in _run_lines(panel, measures)))


def _run_lines(panel: Panel, measures: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for item in panel.everything:
        for run in item.runs:
            about_run = (
                panel.slug, panel.scenario, item.method, item.label, run.spec["seed"], run.run_id, item.initial_task,
                hardware_of(run).label,
            )  # fmt: skip
            kept = [validation_accuracy(run, row) for row in run.tasks]
            totals = (
                SYNTHETIC if run.is_synthetic else number(run.mean_accuracy),
                number(mean_of_all(kept)),
                number(run.forgetting),
                number(run.backward_transfer),
                number(run.training_seconds_total),
                run.size.rules.get("itemised") if run.size else None,
                run.forward_flops,
                run.provenance.get("started", ""),
                (run.provenance.get("git") or {}).get("commit", ""),
                *(number(run.measures.get(name)) for name in measures),
            )
            for row, validation in zip(run.tasks, kept, strict=True):
                yield (*about_run, *_task_values(run, row, validation), *totals)


def _task_values(run: RunRecord, row: TaskRow, validation: float | None) -> Iterator[object]:
    for name in TASK_COLUMNS:
        if run.is_synthetic and name in ("accuracy", "accuracy_at_end", VALIDATION_COLUMN):
            yield SYNTHETIC
        else:
            value = validation if name == VALIDATION_COLUMN else getattr(row, name)
            yield number(value) if isinstance(value, float) else value


def latex(sheets: Sequence[Sheet]) -> str:
    r"""One ``table`` environment per view; needs ``booktabs`` and ``graphicx``."""
    return "\n\n".join(_latex_table(sheet) for sheet in sheets) + "\n"


def _latex_table(sheet: Sheet) -> str:
    columns = "".join(_latex_column(sheet, place) for place in range(len(sheet.headings)))
    head = " & ".join(_latex_heading(heading) for heading in sheet.headings)
    body: list[str] = []
    previous = False
    for line in sheet.lines:
        if line.summary and not previous and body:
            body.append(r"\midrule")
        previous = line.summary
        body.append(" & ".join(_latex_entry(entry) for entry in (line.head, *line.entries)) + r" \\")
    caption = latex_text(
        " ".join(
            [
                f"{sheet.title}{' (' + sheet.view_title.lower() + ')' if sheet.view else ''}.",
                sheet.caption,
                *sheet.remarks,
            ]
        )
    )
    return "\n".join([
        r"\begin{table}[htbp]", r"\centering\small", rf"\caption{{{caption}}}", rf"\label{{tab:{sheet.key}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule", head + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}}", r"\end{table}",
    ])  # fmt: skip


def _latex_column(sheet: Sheet, place: int) -> str:
    """Numbers to the right, words to the left, sentences in a column that breaks its lines."""
    if sheet.headings[place].numeric:
        return "r"
    texts = [(line.head, *line.entries)[place].text for line in sheet.lines]
    return "p{9cm}" if max(map(len, texts), default=0) > LONG else "l"


def markdown(sheets: Sequence[Sheet]) -> str:
    """GitHub tables, one per view, for a pull request."""
    parts = []
    for sheet in sheets:
        title = sheet.title + (f", {sheet.view_title.lower()}" if sheet.view else "")
        rows = [
            "| " + " | ".join(escape_markdown(full_heading(heading)) for heading in sheet.headings) + " |",
            "|" + "|".join("---:" if heading.numeric else "---" for heading in sheet.headings) + "|",
            *("| " + " | ".join(_markdown_entry(e) for e in (line.head, *line.entries)) + " |" for line in sheet.lines),
        ]
        notes = [escape_markdown(text) for text in (sheet.caption, *sheet.remarks) if text]
        parts.append(f"**{escape_markdown(title)}**\n\n" + "\n".join(rows) + "\n\n" + "  \n".join(notes))
    return "\n\n".join(parts) + "\n"


def escape_latex(text: str) -> str:
    """Every character that LaTeX reads as markup, made to print itself; what no font prints becomes ``?``."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return "".join(c if c == "\n" or " " <= c <= "~" or "\u00a1" <= c <= "\u017f" else "?" for c in escaped)


def latex_text(text: str) -> str:
    """Text of a caption or a cell: escaped, in one paragraph, and never read as the option of what stands before it."""
    escaped = escape_latex(" ".join(text.split()))
    return "{}" + escaped if escaped[:1] in ("[", "*") else escaped


def escape_markdown(text: str) -> str:
    """Text that stays text: no markup, no HTML, no cell break."""
    for character in "\\`*_{}[]<>|#!":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


def full_heading(heading: Heading) -> str:
    """``Training (seconds)``."""
    return f"{heading.text} ({heading.note})" if heading.note else heading.text


def number(value: float | None) -> str:
    """Nine significant digits, empty for None: enough to recompute anything, short enough to read."""
    return "" if value is None else f"{value:.9g}"


def written(header: Sequence[object], lines: Iterable[Sequence[object]]) -> str:
    """Comma-separated text; cells that a spreadsheet would run as a formula are quoted with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_harmless(value) for value in header])
    writer.writerows([_harmless(value) for value in line] for line in lines)
    return stream.getvalue()


def _harmless(value: object) -> object:
    if isinstance(value, str) and value[:1] in "=+@\t\r-" and value and not _is_number(value):
        return "'" + value
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _raw(entry: Entry) -> str:
    return number(entry.value) if entry.value is not None else ("" if entry.kind == "missing" else entry.text)


def _latex_heading(heading: Heading) -> str:
    if not heading.note:
        return latex_text(heading.text)
    return rf"\shortstack{{{latex_text(heading.text)}\\{{\scriptsize {latex_text(heading.note)}}}}}"


def _latex_entry(entry: Entry) -> str:
    text = latex_text(entry.text)
    return rf"\textbf{{{text}}}" if entry.bold else text


def _markdown_entry(entry: Entry) -> str:
    text = escape_markdown(entry.text)
    return f"**{text}**" if entry.bold else text
