"""``python -m benchmark report``: tables, figures and claims from the run records of folders, as a page, for a paper,
as a site, and beside another folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmark.cli.report_requests import Wanted, wanted
from benchmark.errors import RequestError, printable

OUT = Path("results/report")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``report``."""
    parser = subparsers.add_parser(
        "report",
        help="tables, figures and claims from finished runs; for a paper, as a site, as a pull-request comment",
        description="Regenerate the paper's tables and figures from whatever runs exist, beside the published ones.",
    )
    parser.add_argument(
        "--results",
        action="append",
        metavar="DIR",
        help="results folder, or a folder of such, repeatable (default: results/runs)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"where to write the page (default: {OUT})")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    group = parser.add_argument_group("for a paper")
    group.add_argument(
        "--paper", type=Path, metavar="OUT", help="PDF figures of 3.3 and 7 inches and LaTeX tables, into this folder"
    )
    group.add_argument(
        "--method",
        action="append",
        metavar="M",
        help="only these methods: name or group, repeatable, comma lists (default: all)",
    )
    group = parser.add_argument_group("for the web")
    group.add_argument(
        "--site", type=Path, metavar="DIR", help="a page for every --results, and a leaderboard for every scenario"
    )
    group = parser.add_argument_group("beside other results")
    group.add_argument(
        "--compare",
        nargs="+",
        metavar="DIR",
        help="--results beside this base folder, or two folders side by side; paired differences, second minus first",
    )
    group.add_argument("--comment", type=Path, metavar="FILE", help="the comparison as Markdown for a pull request")
    group.add_argument(
        "--fail-below",
        metavar="POINTS",
        help="exit with 1 when the mean accuracy of a configuration falls by more than this against the base, or "
        "when nothing can be compared",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write what is asked for and say where it is; exit code 0, or 1 where ``--fail-below`` was not met.

    Raises:
        RequestError: options contradict one another, a results folder is missing or holds no usable record, or there
            is no place to write.
    """
    asked = wanted(args)
    kinds: list[tuple[object, Callable[[Wanted], int]]] = [
        (asked.paper, _paper),
        (asked.site, _site),
        (asked.compare, _compare),
    ]
    chosen = next((carry_out for given, carry_out in kinds if given), _page)
    with _faults_told(asked.place):
        return chosen(asked)


def _page(asked: Wanted) -> int:
    from reports.build import build

    built = build(asked.results, asked.out or OUT)
    return _told(built.left_out, built.index, asked.open)


def _paper(asked: Wanted) -> int:
    from reports.naming import plural
    from reports.publication.chosen import expanded
    from reports.publication.paper_folder import publish

    assert asked.paper is not None
    made = publish(asked.results, asked.paper, expanded(asked.methods))
    tables, figures = plural(len(made.tables), "LaTeX table"), plural(len(made.figures), "PDF figure")
    print(f"{tables}, {figures}; all of them in one document:")
    return _told(made.left_out, made.index, False)


def _site(asked: Wanted) -> int:
    from reports.naming import plural
    from reports.static_site.site_folder import build_site

    assert asked.site is not None
    made = build_site(asked.results, asked.site)
    print(f"{plural(len(made.pages), 'page')}, {plural(len(made.boards), 'leaderboard')}; their index:")
    return _told(made.left_out, made.index, asked.open)


def _compare(asked: Wanted) -> int:
    from reports.compare import compare_page, compared
    from reports.static_site.comparison_comment import Gate, comment
    from results.atomic import write_text

    base, beside = asked.compare[0], asked.compare[1:] or asked.results
    found = compared(base, beside)
    gate = None if asked.fail_below is None else Gate(found, asked.fail_below)
    built = compare_page(found, asked.out or OUT)
    if asked.comment is not None:
        write_text(asked.comment, comment(found, gate))
        print(asked.comment)
    _told(built.left_out, built.index, asked.open)
    for line in gate.lines if gate else ():
        print(printable(line))
    return 1 if gate is not None and not gate.passed else 0


def _told(left_out: Sequence[str], index: Path, shown: bool) -> int:
    for line in left_out:
        print(f"left out: {printable(line)}")
    print(index)
    if shown:
        import webbrowser

        webbrowser.open(index.resolve().as_uri())
    return 0


@contextmanager
def _faults_told(place: Path) -> Iterator[None]:
    """What cannot be reported as a RequestError; ``place``: where the report is written."""
    from reports.report_error import ReportError

    try:
        yield
    except ReportError as error:
        raise RequestError(str(error)) from error
    except OSError as error:
        raise RequestError(
            f"The report cannot be made: {error.filename or place}: {error.strerror}; choose another folder to write "
            "into, or look at the folder's rights."
        ) from error
