"""One figure, four times: inline in the page, in the page's own colours, and as SVG, PNG and PDF beside it."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from reports.configuration import Configuration
from reports.naming import short
from reports.numbers import MINUS
from reports.page import FigureView
from reports.style import GRID, INK, MUTED, PAPER, Look, line_style, shades
from results.atomic import replacing, write_text

PNG_DPI = 160
PAGE_FONT = "system-ui, 'Liberation Sans', Arial, sans-serif"
#: Widths in inches of everything that stands in the page's text column.
WIDTH = 10.0
#: entries of a legend side by side at most, and how wide they are together at most: the points of a figure that a phone
#: shows unscrolled
LEGEND_COLUMNS, LEGEND_WIDTH = 4, 415
#: points that an entry of a legend takes beside its words, and that a letter takes
LEGEND_KEY, LETTER = 40, 4.8
#: rows of a legend that a figure's height has room for, and inches that a further one takes
LEGEND_ROWS, LEGEND_ROW = 3, 0.19
#: decades below which a logarithmic axis has evenly spaced numbers, and from which on powers of ten are enough
NARROW, WIDE = 0.8, 2.2
#: letters of a label in a legend at most
LABEL = 44

#: markers of lines alone, which are drawn bolder
THIN_MARKERS = "+x1234|_"

_STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9, "axes.edgecolor": MUTED.light, "axes.labelcolor": INK.light, "axes.titlecolor": INK.light,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": GRID.light, "grid.linewidth": 0.7, "text.color": INK.light, "xtick.color": MUTED.light,
    "ytick.color": MUTED.light, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.4, "lines.markersize": 5, "figure.facecolor": "none", "axes.facecolor": "none",
    "savefig.facecolor": "none", "svg.fonttype": "none", "svg.hashsalt": "maskbench", "pdf.fonttype": 42,
    "text.parse_math": False,
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """A finished figure and the words that go with it."""

    key: str
    title: str
    caption: str
    alt: str  #: what somebody who cannot see the figure should know, numbers included
    figure: Figure
    csv: str = ""  #: its data, where no table of the report has them
    folded: bool = False  #: shown when a reader asks for it


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this: fonts, grid and inks of the page."""
    with matplotlib.rc_context(_STYLE):
        yield


def blank(
    rows: int = 1, columns: int = 1, *, height: float, width: float = WIDTH, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of ``width`` by ``height`` inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [axis for row in axes for axis in row]


def drawn_as(item: Configuration) -> dict[str, Any]:
    """Colour, marker and line of a configuration: the same in every figure."""
    chosen = item.facts.look
    return {
        "color": chosen.light, "marker": chosen.marker, "linestyle": line_style(item.variant),
        "label": short(item.label, LABEL),
        "markerfacecolor": chosen.light if item.variant == 0 else "none",
        "markeredgewidth": 1.7 if chosen.marker in THIN_MARKERS else 1.0,
    }  # fmt: skip


def logarithmic(axes: Axes, which: str, *, fine: bool = False, coarse: bool = False) -> None:
    """Make ``which`` ("x" or "y") logarithmic; plain numbers at powers of ten, when ``fine`` at 2 and 5 too.

    ``coarse``: there is room for few numbers, so on less than three decades at 3 instead.

    Where the axis spans so little that these would leave fewer than two numbers on it, it has finer ones. Call it when
    everything is drawn.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    decades = math.log10(high / low) if 0 < low < high else 1.0
    if decades < NARROW:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    else:
        between = (1.0, 3.0) if coarse else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=between if fine or decades < WIDE else (1.0,)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def from_where(axis: Axes) -> str:
    """A second line, ``(axis from 30)``, where an axis of percentages begins above 0; call it when all is drawn."""
    low = axis.get_ylim()[0]
    return f"\n(axis from {low:.0f})" if low >= 0.5 else ""


def within_percent(axis: Axes) -> None:
    """Cut an axis of percentages at 0 and just above 100, whatever its whiskers reach; call it when all is drawn."""
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, 0.0), min(high, 102.0))  # a marker at 100 is seen whole


def _with_thousands(figure: Figure) -> None:
    """``1,000`` on linear axes too."""
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            if type(axis.get_major_formatter()) is ScalarFormatter and max(map(abs, limits)) >= 1000:
                axis.set_major_formatter(FuncFormatter(_plain))


def _plain(value: float, _: int | None = None) -> str:
    """A number at an axis: 0.0001, -1,000, with a true minus; 1e-05 keeps its hyphen."""
    return f"{value:,.10g}" if value >= 0 else f"{MINUS}{-value:,.10g}"


def legend(figure: Figure, *axes: Axes, columns: int = LEGEND_COLUMNS) -> None:
    """One legend of what ``axes`` show, below the figure, so narrow that a phone shows it unscrolled; the figure grows
    by what its rows take."""
    shown = [axis.get_legend_handles_labels() for axis in axes]
    handles, labels = [handle for some, _ in shown for handle in some], [label for _, some in shown for label in some]
    wide = LEGEND_KEY + LETTER * max(map(len, labels), default=0)
    columns = max(1, min(columns, int(LEGEND_WIDTH / wide)))
    more = math.ceil(len(labels) / columns) - LEGEND_ROWS
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(0, more))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=2.4, labelspacing=0.6)


def name_tasks(axis: Axes, names: Sequence[str], positions: Sequence[float]) -> None:
    """Task names where there is room; with more than eight tasks the numbers, whose names the tables give."""
    if len(names) <= 8:
        axis.set_xticks(positions, [short(name) for name in names], rotation=20, ha="right", rotation_mode="anchor")
    else:
        axis.set_xticks(positions, [name.split(" ")[0] for name in names])
        axis.set_xlabel("Task (numbered as in the tables)")


def save(drawing: Drawing, folder: Path, prefix: str, looks: Iterable[Look] = ()) -> FigureView:
    """Write SVG, PNG, PDF and data into ``folder``; returns the figure for the page. ``looks``: of the methods in it.

    The canvases are asked to print directly: ``Figure.savefig`` would draw everything twice per format.
    """
    figure = drawing.figure
    _with_thousands(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout is found once, not once per format
    stream = io.StringIO()
    figure.set_dpi(PNG_DPI)
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": "maskbench"})  # type: ignore[no-untyped-call]
    svg = stream.getvalue()
    write_text(folder / f"{drawing.key}.svg", _with_white_page(svg))
    figure.set_facecolor(PAPER.light)
    figure.set_dpi(PNG_DPI)  # the SVG canvas leaves its own 72 behind
    with replacing(folder / f"{drawing.key}.png") as path:
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": "maskbench"})  # type: ignore[no-untyped-call]
    with replacing(folder / f"{drawing.key}.pdf") as path:
        FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
    if drawing.csv:
        write_text(folder / f"{drawing.key}.csv", drawing.csv)
    suffixes = ("svg", "png", "pdf", *(("csv",) if drawing.csv else ()))
    files = tuple(f"{prefix}/{drawing.key}.{suffix}" for suffix in suffixes)
    return FigureView(drawing.key, drawing.title, drawing.caption, inline(svg, drawing, looks), files, drawing.folded)


def inline(svg: str, drawing: Drawing, looks: Iterable[Look] = ()) -> Markup:
    """The SVG as an element of the page: page colours, page font, unique ids, title and description."""
    key = drawing.key
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(
        r'(<image\b[^>]*?) id="[^"]*"', r"\1", body
    )  # two equal images have equal ids; nothing refers to them
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', body)
    body = body.replace("'DejaVu Sans'", PAGE_FONT)
    for shade in shades(looks):
        body = body.replace(shade.light, f"var(--{shade.name})")
    opening = re.match(r"<svg[^>]*>", body)
    assert opening is not None
    width = figure_width(drawing)
    box = re.search(r'viewBox="[^"]+"', opening.group())
    assert box is not None
    words = f'<title id="{key}-title">{escape(drawing.title)}</title><desc id="{key}-desc">{escape(drawing.alt)}</desc>'
    root = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" {box.group()} role="img" '
        f'style="max-width:{width:.0f}px;--least:{0.038 * width:.3g}rem" '
        f'aria-labelledby="{key}-title {key}-desc">'
    )
    return Markup(root + words + body[opening.end() :])


def figure_width(drawing: Drawing) -> float:
    """Pixels at which the figure's letters are as large as the page's small print."""
    return 100 * float(drawing.figure.get_figwidth())


def _with_white_page(svg: str) -> str:
    """A file that is looked at alone needs its page behind it."""
    opening = re.search(r"<svg[^>]*>", svg)
    assert opening is not None
    return svg[: opening.end()] + f'<rect width="100%" height="100%" fill="{PAPER.light}"/>' + svg[opening.end() :]
