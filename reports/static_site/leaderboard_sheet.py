"""A leaderboard as a table of the page: who ran what where, and how it came out."""

from __future__ import annotations

from dataclasses import replace

from reports.static_site.standings import Board, Standing
from reports.tables.model_size import MIB
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry

#: seeds that are written out; of more the first and the last, and how many
_SEEDS = 6


def leaderboard_sheet(board: Board, key: str) -> Sheet:
    """One line a row, best mean accuracy first; seconds and sizes as recorded by each."""
    one_seed = any(len(row.seeds) == 1 for row in board.rows)
    several = len({row.hardware for row in board.rows}) > 1
    remarks = [
        *board.remarks,
        *(["Rows without ± rest on one seed: their order may be chance."] if one_seed else []),
        *(["Seconds of different devices do not compare."] if several else []),
    ]
    return Sheet(
        key=key,
        title=board.title,
        caption=f"{board.setting}. Mean test accuracy after the last task ± 95 % t-interval over seeds. A row is one "
        "configuration of one results folder on one device; nothing is averaged over rows.",
        headings=(
            Heading("Method", numeric=False),
            Heading("Accuracy", "percent"),
            Heading("Seeds"),
            Heading("Settings"),
            Heading("Device", numeric=False),
            Heading("Code", numeric=False),
            Heading("Results", numeric=False),
            Heading("Training", "seconds"),
            Heading("Size", "MiB"),
            Heading("Forgetting", "points"),
        ),
        lines=tuple(map(_line, board.rows)),
        remarks=tuple(remarks),
    )


def _line(row: Standing) -> Line:
    accuracy = interval_entry(row.accuracy, 100, 1)
    entries = (
        replace(accuracy, text=f"{accuracy.text} {row.signs}".rstrip(), mark=row.signs),
        Entry(_seeds(row.seeds)),
        Entry(row.tuned),
        Entry(row.hardware.label, kind="words"),
        Entry(row.commits, kind="words"),
        Entry(row.source.name, kind="words"),
        interval_entry(row.seconds),
        interval_entry(row.size, 1 / MIB),
        interval_entry(row.forgetting, 100, 1),
    )
    return Line(Entry(row.label), entries)


def _seeds(seeds: tuple[int, ...]) -> str:
    if len(seeds) <= _SEEDS:
        return ", ".join(map(str, seeds))
    return f"{len(seeds)}: {seeds[0]} to {seeds[-1]}"
