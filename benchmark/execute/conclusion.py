"""The end of a sweep: the table on the terminal, and the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.plan.spec import RunSpec


def conclude(results: Path, specs: Sequence[RunSpec]) -> None:
    """Print what the runs came to, and write the report; a fault of the report is said, no more."""
    from benchmark.console import print_table, waiting
    from benchmark.execute.store import run_folder

    records = [record for spec in specs if (record := run_folder(results, *spec.ids).read()) is not None]
    print_table(records)
    from reports.report_error import ReportError
    from results.locations import report_folder

    with waiting("writing the report"):
        try:
            from reports.build import build

            built = build(results, report_folder(results))
        except ReportError as error:
            print(f"no report: {error}", file=sys.stderr)
            return
        except OSError as error:
            print(f"no report: {error.filename or results} cannot be written ({error.strerror})", file=sys.stderr)
            return
        except Exception as error:  # a fault of the report must not make finished runs look failed
            print(f"no report: {type(error).__name__}: {error}; the runs are kept", file=sys.stderr)
            return
    print(f"report: {built.index}")
