"""``python -m benchmark report``: tables, figures and claims from the run records of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.command_line import add_options, settle
from benchmark.errors import RequestError, printable


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``report``."""
    parser = subparsers.add_parser(
        "report",
        help="tables, figures and claims from finished runs",
        description="Regenerate the paper's tables and figures from whatever runs exist, beside the published ones.",
    )
    add_options(parser, ("results",))
    parser.add_argument(
        "--out", type=Path, default=Path("results/report"), metavar="DIR", help="where to write (%(default)s)"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("DIR_A", "DIR_B"),
        help="two results folders side by side, paired differences",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is; exit code 0.

    Raises:
        RequestError: the results folder is missing or holds no usable record, or the report has no place to go.
    """
    settle(args, ("results",))
    from reports.build import build
    from reports.report_error import ReportError

    try:
        if args.compare:
            from reports.compare import compare

            built = compare(args.compare[0], args.compare[1], args.out)
        else:
            built = build(args.results, args.out)
    except ReportError as error:
        raise RequestError(str(error)) from error
    except OSError as error:
        raise RequestError(
            f"The report cannot be made: {error.filename or args.out}: {error.strerror}; choose another --out, or look "
            "at the folder's rights."
        ) from error
    for line in built.left_out:
        print(f"left out: {printable(line)}")
    print(built.index)
    if args.open:
        import webbrowser

        webbrowser.open(built.index.resolve().as_uri())
    return 0
