"""Results folders in, a folder for a web server out: an index, a page a folder, a leaderboard a scenario.

Everything is static and every link relative, so that it can lie anywhere: GitHub Pages, a file server, a disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reports import background, page
from reports.build import build_records
from reports.method_facts import Methods
from reports.naming import plural
from reports.numbers import with_spread
from reports.static_site.leaderboard_sheet import leaderboard_sheet
from reports.static_site.site_sources import Source, copies, sources, unique_slugs
from reports.static_site.standings import Leaderboard, leaderboards
from reports.style import Look
from reports.table_files import write_sheet
from results.atomic import write_text
from results.temporary import sweep_below

#: folders below the site
PAGES, BOARDS = "reports", "leaderboards"
TITLE = "Mask-based continual learning, measured"
#: links from a page or a leaderboard back to the index
HOME = "../../index.html"


@dataclass(frozen=True)
class Site:
    """What was written."""

    index: Path
    pages: tuple[Path, ...]  #: one a results folder
    boards: tuple[Path, ...]  #: one a scenario
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class FolderView:
    """A results folder on the index."""

    name: str
    href: str
    facts: tuple[tuple[str, str], ...]
    scenarios: tuple[tuple[str, str, str], ...]  #: title, setting, address


@dataclass(frozen=True)
class BoardView:
    """A leaderboard on the index."""

    title: str
    href: str
    rows: int
    settings: int
    best: tuple[tuple[str, str, str], ...]  #: the best row of every setting: label, accuracy, setting


def build_site(folders: Sequence[Path], out: Path) -> Site:
    """Write the site over results folders into ``out``.

    Raises:
        ReportError: a folder does not exist or holds no usable record; nothing is written then.
    """
    found = sources(folders)
    copied, shown_once = copies(found)
    boards = leaderboards(found, copied)
    if out.is_dir():
        sweep_below(out)
    looks = _looks(found)
    built = [
        build_records(replace(one.loaded, home=HOME), out / PAGES / one.slug, one.steps, one.unread) for one in found
    ]
    left_out = tuple(f"{one.name}: {line}" for one, made in zip(found, built, strict=True) for line in made.left_out)
    places = unique_slugs([board.scenario for board in boards])
    written = [_board(board, place, found, looks, out) for board, place in zip(boards, places, strict=True)]
    write_text(out / "index.html", _index(found, boards, places, (*shown_once, *left_out), looks))
    write_text(out / ".nojekyll", "")
    return Site(out / "index.html", tuple(made.index for made in built), tuple(written), (*shown_once, *left_out))


def _board(board: Leaderboard, place: str, found: Sequence[Source], looks: Sequence[Look], out: Path) -> Path:
    folder = out / BOARDS / place
    several = len(board.boards) > 1
    views = [
        write_sheet(
            replace(
                leaderboard_sheet(one, f"leaderboard-{number}"), title=f"Setting {number}" if several else "Ranking"
            ),
            folder,
        )
        for number, one in enumerate(board.boards, start=1)
    ]
    rows = [row for one in board.boards for row in one.rows]
    named = {row.source.name for row in rows}
    html = page.render(
        "leaderboard.html.j2",
        f"Leaderboard: {board.title}",
        [page.Entry("top", "Overview"), *(page.Entry(view.key, view.title) for view in views)],
        looks,
        {
            "home": HOME,
            "lead": f"{plural(len(rows), 'row')} from {plural(len(named), 'results folder')}"
            + (f" in {len(views)} settings, which do not compare" if several else ""),
            "views": views,
            "looks": {row.label: row.configuration.facts.look.name for row in rows},
            "results": [(one.name, f"../../{PAGES}/{one.slug}/index.html") for one in found if one.name in named],
        },
    )
    write_text(folder / "index.html", html)
    return folder / "index.html"


def _index(
    found: Sequence[Source],
    boards: Sequence[Leaderboard],
    places: Sequence[str],
    left_out: Sequence[str],
    looks: Sequence[Look],
) -> str:
    runs = sum(len(one.loaded.finished) for one in found)
    lead = [plural(runs, "finished run"), plural(len(found), "results folder"), plural(len(boards), "scenario")]
    return page.render(
        "site.html.j2",
        TITLE,
        [
            page.Entry("leaderboards", "Leaderboards"),
            page.Entry("results", "Results"),
            *([page.Entry("left-out", "Left out")] if left_out else []),
        ],
        looks,
        {
            "lead": " · ".join(lead),
            "boards": [_board_view(board, place) for board, place in zip(boards, places, strict=True)],
            "folders": [_folder_view(one) for one in found],
            "left_out": left_out,
        },
    )


def _board_view(board: Leaderboard, place: str) -> BoardView:
    best = []
    for one in board.boards:
        row = one.rows[0]
        mean = with_spread(100 * row.accuracy.mean, _points(row.accuracy.half_width), 1)
        text = f"{mean} % ({plural(len(row.seeds), 'seed')}) {row.signs}".rstrip()
        best.append((row.label, text, one.setting))
    return BoardView(board.title, f"{BOARDS}/{place}/index.html", board.rows, len(board.boards), tuple(best))


def _points(half_width: float | None) -> float | None:
    return None if half_width is None else 100 * half_width


def _folder_view(source: Source) -> FolderView:
    loaded = source.loaded
    href = f"{PAGES}/{source.slug}/index.html"
    runs = plural(len(loaded.finished), "finished run")
    facts = [
        ("Runs", runs + (f", {len(loaded.failed)} failed" if loaded.failed else "")),
        ("On", dict(background.origin(loaded)).get("Devices", "")),
        ("When", background.period(loaded.all)),
        ("Code", "; ".join(background.commits(loaded.all)) or "no commit recorded"),
    ]
    scenarios = [(panel.title, panel.describe(), f"{href}#{panel.slug}") for panel in source.panels]
    return FolderView(source.name, href, tuple((term, text) for term, text in facts if text), tuple(scenarios))


def _looks(found: Sequence[Source]) -> tuple[Look, ...]:
    methods = Methods(record for one in found for record in one.loaded.all)
    return methods.looks(item.method for one in found for panel in one.panels for item in panel.everything)
