"""The kinds of report by name, for programs: a page, figures and tables for a paper, a site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.report_error import ReportError

KINDS = ("page", "paper", "site")


def write(kind: str, folders: Sequence[Path], out: Path, methods: str | Iterable[str] = ()) -> Path:
    """Write a report of ``kind`` on results folders into ``out``; returns what to open first.

    Args:
        methods: of a paper alone: names and groups, comma lists too; none named: all.

    Raises:
        ReportError: no such kind, methods for another kind than a paper, or what that kind raises.
    """
    from reports.publication.chosen import expanded

    names = expanded(methods)
    if kind not in KINDS:
        raise ReportError(f"there is no report of kind {kind!r}; kinds are {', '.join(KINDS)}")
    if names and kind != "paper":
        raise ReportError("methods are chosen for a paper alone; leave them out, or take kind='paper'")
    if kind == "paper":
        from reports.publication.paper_folder import publish

        return publish(folders, out, names).index
    if kind == "site":
        from reports.static_site.site_folder import build_site

        return build_site(folders, out).index
    from reports.build import build

    return build(folders, out).index
