"""A table as files beside the page: CSV, LaTeX, Markdown."""

from __future__ import annotations

from pathlib import Path

from reports import formats
from reports.effects import Effects
from reports.grouping import Panel
from reports.page import TableView
from reports.tables.effect_sheets import effect_sheets, effects_csv
from reports.tables.grid import Grid
from reports.tables.sheet import Sheet
from reports.tables.views import views
from results.atomic import write_text

TABLES = "tables"  #: folder beside the page


def write_grid(grid: Grid, out: Path) -> TableView:
    """A table with up to three views; its CSV is tidy, one line per cell."""
    return _write(grid.key, grid.title, views(grid), formats.grid_csv(grid), out)


def write_sheet(sheet: Sheet, out: Path) -> TableView:
    """A table of one view."""
    return _write(sheet.key, sheet.title, (sheet,), formats.sheet_csv(sheet), out)


def write_effects(panel: Panel, effects: Effects, out: Path) -> TableView:
    """Main effects and interactions; the CSV is tidy, one line per effect."""
    return _write(effects.key, effects.title, effect_sheets(panel, effects), effects_csv(effects), out)


def _write(key: str, title: str, sheets: tuple[Sheet, ...], csv: str, out: Path) -> TableView:
    texts = {"csv": csv, "tex": formats.latex(sheets), "md": formats.markdown(sheets)}
    for suffix, text in texts.items():
        write_text(out / TABLES / f"{key}.{suffix}", text)
    return TableView(key, title, sheets, tuple(f"{TABLES}/{key}.{suffix}" for suffix in texts))
