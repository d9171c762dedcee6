"""The options of ``report``, checked: which go together, and what each names. Imports no torch."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import RequestError
from benchmark.plan.request import Request

#: options that each say what is made, of which one at most is given
KINDS = ("paper", "site", "compare")


@dataclass(frozen=True)
class Wanted:
    """What ``report`` was asked for."""

    results: tuple[Path, ...]
    out: Path | None
    open: bool
    paper: Path | None
    methods: tuple[str, ...]  #: for the paper, as typed; none: all
    site: Path | None
    compare: tuple[Path, ...]  #: the base folder, and the one beside it where it is not ``results``
    comment: Path | None
    fail_below: float | None  #: points

    @property
    def place(self) -> Path:
        """Where the main thing is written."""
        return self.paper or self.site or self.out or Path("results/report")


def wanted(args: argparse.Namespace) -> Wanted:
    """The options of the command line. Raises RequestError: some contradict one another, or a value is none."""
    made = [name for name in KINDS if getattr(args, name)]
    if len(made) > 1:
        raise RequestError(f"--{made[0]} and --{made[1]} each say what to make; give one of them.")
    kind = made[0] if made else ""
    _only(kind, "paper", args.method, "--method")
    _only(kind, "compare", args.comment, "--comment")
    _only(kind, "compare", args.fail_below, "--fail-below")
    if kind in ("paper", "site") and args.out is not None:
        raise RequestError(f"--out is where the page goes; --{kind} names its own folder, so leave --out out.")
    if kind == "paper" and args.open:
        raise RequestError("--open shows a page; --paper writes none.")
    compared = tuple(_folder("--compare", word) for word in args.compare or ())
    if len(compared) > 2:
        raise RequestError(f"--compare takes one or two folders, not {len(compared)}.")
    if len(compared) == 2 and args.results:
        raise RequestError("--compare with two folders takes no --results; with one, that is the base of --results.")
    words = args.results if args.results is not None else [str(Request().results)]
    return Wanted(
        results=tuple(dict.fromkeys(_folder("--results", word) for word in words)),
        out=args.out,
        open=args.open,
        paper=args.paper,
        methods=tuple(args.method or ()),
        site=args.site,
        compare=compared,
        comment=args.comment,
        fail_below=_points(args.fail_below),
    )


def _only(kind: str, needed: str, given: object, option: str) -> None:
    if given is not None and kind != needed:
        raise RequestError(f"{option} goes with --{needed}.")


def _folder(option: str, word: str) -> Path:
    if not word:
        raise RequestError(f"{option} needs a value.")
    return Path(os.path.expanduser(word))


def _points(word: str | None) -> float | None:
    if word is None:
        return None
    try:
        points = float(word)
    except ValueError:
        points = math.nan
    if not (math.isfinite(points) and points >= 0):
        raise RequestError(f"--fail-below takes points of accuracy, a number from 0 on, not {word!r}.")
    return points
