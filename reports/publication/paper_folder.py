"""Records in, a folder for a paper out: PDF figures in two widths, LaTeX tables, and a document that shows both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_pdf import FigureCanvasPdf

from reports.formats import latex_text
from reports.grouping import group
from reports.method_facts import Methods
from reports.publication.chosen import Choice, choose
from reports.publication.latex_tables import PACKAGES, written
from reports.publication.paper_tables import tables
from reports.publication.print_figures import FIGURES
from reports.publication.print_style import COLUMN, PAGE, paper_style
from reports.records import Loaded, load
from reports.report_error import ReportError
from results.atomic import replacing, write_text
from results.temporary import sweep_below

#: the document that shows everything; what of it is needed goes into the paper
EXAMPLE = "example.tex"
FIGURE_FOLDER, TABLE_FOLDER = "figures", "tables"
#: ends of file names, and what an example puts a figure into
WIDTHS = {"column": (COLUMN, "figure"), "page": (PAGE, "figure*")}


@dataclass(frozen=True)
class Published:
    """What was written: the example, tables and figures by file name without ending, and what was left out."""

    index: Path
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    left_out: tuple[str, ...]


def publish(results: Sequence[Path], out: Path, methods: Sequence[str] = ()) -> Published:
    """Write figures and tables of ``methods`` (none named: all that were run) into ``out``.

    Raises:
        ReportError: a folder does not exist, holds no usable record, or none of any of the methods; nothing is written
            then.
    """
    return publish_records(load(*results), out, methods)


def publish_records(loaded: Loaded, out: Path, methods: Sequence[str] = ()) -> Published:
    """The same of records."""
    real = [record for record in loaded.finished if not record.is_synthetic]
    generated = tuple(f"{record.run_id}: its images are generated" for record in loaded.finished if record.is_synthetic)
    if generated and not real:
        raise ReportError("All runs are on generated images (--synthetic-data): there is no accuracy to print.")
    panels, repeated = group(real, Methods([*loaded.all, *loaded.trials]))
    choices, absent = choose(panels, methods)
    if out.is_dir():
        sweep_below(out)
    keys = [key for choice in choices for key in _write_tables(choice, out)]
    drawn = [(key, caption) for choice in choices for key, caption in _draw(choice, out)]
    write_text(out / EXAMPLE, _example(keys, drawn))
    return Published(
        out / EXAMPLE,
        tuple(keys),
        tuple(f"{key}-{end}" for key, _ in drawn for end in WIDTHS),
        loaded.left_out + repeated + generated + absent,
    )


def _write_tables(choice: Choice, out: Path) -> list[str]:
    keys = []
    for table in tables(choice):
        write_text(out / TABLE_FOLDER / f"{table.key}.tex", written(table, choice.names))
        keys.append(table.key)
    return keys


def _draw(choice: Choice, out: Path) -> list[tuple[str, str]]:
    """(file name without width and ending, caption) of every figure that the records allow."""
    found: dict[str, str] = {}
    for draw in FIGURES:
        for end, (width, _) in WIDTHS.items():
            with paper_style():
                figure = draw(choice.panel, choice.whole, width)
                if figure is None:
                    continue
                key = f"{choice.panel.slug}-{figure.kind}"
                with replacing(out / FIGURE_FOLDER / f"{key}-{end}.pdf") as path:
                    FigureCanvasPdf(figure.figure).print_pdf(path, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
            found[key] = f"{figure.caption}: {choice.panel.title}."
    return list(found.items())


def _example(tables_written: Sequence[str], figures: Sequence[tuple[str, str]]) -> str:
    """A two-column document with every table, then every figure in both widths."""
    lines = [
        "% Everything that was written, in two columns. Take what you need into your paper.",
        r"\documentclass[twocolumn,10pt]{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage[margin=0.75in,columnsep=0.4in]{geometry}  % columns of 3.3 inches, 7 inches for both",
        rf"\usepackage{{{','.join(('graphicx', *PACKAGES))}}}",
        r"\begin{document}",
    ]
    lines += [rf"\input{{{TABLE_FOLDER}/{key}}}\clearpage" for key in tables_written]
    for key, caption in figures:
        for end, (_, environment) in WIDTHS.items():
            lines += [
                rf"\begin{{{environment}}}[tb]\centering",
                rf"\includegraphics{{{FIGURE_FOLDER}/{key}-{end}.pdf}}",
                rf"\caption{{{latex_text(caption)}}}",
                rf"\end{{{environment}}}\clearpage",
            ]
    return "\n".join([*lines, r"\end{document}", ""])
