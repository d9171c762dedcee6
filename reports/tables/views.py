"""The three views of a grid: measured, published, difference with a verdict."""

from __future__ import annotations

from reports.numbers import DASH, signed, times, with_spread
from reports.statistics import MINIMUM_SEEDS
from reports.tables.grid import NOT_ENOUGH_SEEDS, NOT_RUN, Axis, Grid
from reports.tables.sheet import Entry, Heading, Line, Sheet


def views(grid: Grid) -> tuple[Sheet, ...]:
    """Measured, and where the papers print numbers also published and difference."""
    return (measured(grid), published(grid), difference(grid)) if grid.has_published else (measured(grid),)


def measured(grid: Grid) -> Sheet:
    """Mean ± 95 % t-interval over seeds; the best of a row in bold where the statistics allow it."""
    columns = grid.measured_columns
    rows = tuple(
        row for row in grid.rows if row.unless_measured or any(grid.cell(row, column).samples for column in columns)
    )
    remarks = [*grid.signs, *grid.remarks, *(f"Not run: {reason}" for reason in grid.missing)]
    if any(len(cell.samples) == 1 for cell in grid.cells.values()):
        remarks.append("Numbers without ± rest on one seed: no interval can be given.")
    return Sheet(
        key=grid.key,
        title=grid.title,
        caption=grid.caption,
        headings=(
            Heading(grid.row_title, numeric=False),
            *(Heading(column.signed, _seeds(grid, column)) for column in columns),
        ),
        lines=tuple(
            Line(_head(row), tuple(_measured_entry(grid, row, column) for column in columns), row.summary)
            for row in rows
        ),
        remarks=tuple(remarks),
        view="measured" if grid.has_published else "",
        view_title="Measured" if grid.has_published else "",
    )


def published(grid: Grid) -> Sheet:
    """The numbers as the papers print them (means recomputed from the printed rows)."""
    columns = [c for c in _once(grid) if any(grid.cell(row, c).published is not None for row in grid.rows)]
    rows = [row for row in grid.rows if any(grid.cell(row, column).published is not None for column in columns)]
    lines = []
    for row in rows:
        numbers = [grid.cell(row, column).published for column in columns]
        entries = tuple(
            Entry(DASH, kind="missing") if number is None else Entry(f"{number:,.{grid.decimals}f}", number)
            for number in numbers
        )
        lines.append(Line(_head(row), entries, row.summary))
    return Sheet(
        key=f"{grid.key}-published",
        title=grid.title,
        caption=f"{grid.published_name}, as printed; means recomputed from the printed rows, over the tasks shown.",
        headings=(Heading(grid.row_title, numeric=False), *(Heading(column.printed) for column in columns)),
        lines=tuple(lines),
        view="published",
        view_title="Published",
    )


def difference(grid: Grid) -> Sheet:
    """Measured minus published with a verdict; for seconds, which no other device shares, measured over published.

    Where no cell can have a verdict the caption says so, once.
    """
    columns = [c for c in grid.columns if any(grid.cell(row, c).published is not None for row in grid.rows)]
    rows = [row for row in grid.rows if any(grid.cell(row, column).published is not None for column in columns)]
    what = "Measured over published" if _as_ratio(grid) else "Measured minus published"
    said = {
        grid.verdict(row, column)
        for row in rows
        for column in columns
        if grid.cell(row, column).samples and grid.cell(row, column).published is not None
    }
    reasons = {grid.incomparable or column.incomparable for column in columns} - {""}
    silent = len(said) == 1 and said <= {NOT_ENOUGH_SEEDS, *reasons}
    if silent and said <= reasons:
        rule = f"No verdict: {said.pop()}."
    elif silent:
        rule = f"No verdict: that takes {MINIMUM_SEEDS} seeds."
    elif grid.counted:
        rule = f"Agrees: within {grid.rounding:g} of the printed number."
    else:
        rule = (
            "Agrees: the printed number, a single run, lies within the 95 % prediction interval of one more run here."
        )
    return Sheet(
        key=f"{grid.key}-difference",
        title=grid.title,
        caption=f"{what} ({grid.unit if not _as_ratio(grid) else 'ratio'}). {rule}",
        headings=(Heading(grid.row_title, numeric=False), *(Heading(column.signed) for column in columns)),
        lines=tuple(
            Line(_head(row), tuple(_difference_entry(grid, row, c, silent) for c in columns), row.summary)
            for row in rows
        ),
        remarks=(*grid.signs, *(f"Not run: {reason}" for reason in grid.missing)),
        view="difference",
        view_title="Difference",
    )


def _head(row: Axis) -> Entry:
    return Entry(row.title, hint=row.hint)


def _once(grid: Grid) -> list[Axis]:
    """Published columns, each method once although it may have several measured configurations."""
    seen: dict[str, Axis] = {}
    for column in grid.columns:
        seen.setdefault(column.printed, column)
    return list(seen.values())


def _seeds(grid: Grid, column: Axis) -> str:
    counts = sorted({len(grid.cell(row, column).samples) for row in grid.rows} - {0})
    if not counts:
        return ""
    if len(counts) > 1:
        return f"{counts[0]}–{counts[-1]} seeds"
    return "1 seed" if counts[0] == 1 else f"{counts[0]} seeds"


def _measured_entry(grid: Grid, row: Axis, column: Axis) -> Entry:
    cell = grid.cell(row, column)
    if cell.interval is None:
        return Entry(row.unless_measured or DASH, kind="missing", hint=cell.remark)
    interval = cell.interval
    return Entry(
        with_spread(interval.mean, interval.half_width, grid.decimals),
        interval.mean,
        interval.half_width,
        bold=(row.key, column.key) in grid.best,
        place=grid.places.get((row.key, column.key), 0),
        hint=cell.remark,
    )


def _as_ratio(grid: Grid) -> bool:
    return grid.unit == "seconds"


def _difference_entry(grid: Grid, row: Axis, column: Axis, silent: bool) -> Entry:
    cell = grid.cell(row, column)
    verdict = grid.verdict(row, column)
    if cell.published is None:
        return Entry(DASH, kind="missing", hint="no published number")
    if cell.interval is None or cell.difference is None:
        return Entry(cell.remark_in_short or NOT_RUN, kind="missing", hint=cell.remark)
    beside = f"{cell.interval.mean:,.{grid.decimals}f} measured, {cell.published:,.{grid.decimals}f} published"
    if _as_ratio(grid) and cell.ratio is not None:
        return Entry(times(cell.ratio), cell.ratio, hint=beside)
    text = signed(cell.difference, grid.decimals) + ("" if silent else f" {verdict}")
    return Entry(text, cell.difference, kind="" if silent else verdict.replace(" ", "-"), hint=beside)
