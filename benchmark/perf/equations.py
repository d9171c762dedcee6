"""What the fast path of the masks pays: training steps by the equations and by the fast path, round by round."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from unittest import mock

from benchmark.errors import RequestError
from benchmark.perf.conditions import setting_of
from benchmark.perf.contenders import OnePass, labels, session
from benchmark.perf.rounds import Series, interleaved, paired_ratio
from benchmark.perf.surroundings import surroundings
from benchmark.perf.workload import Workload
from benchmark.plan.spec import RunSpec
from methods.engine import fast
from results.atomic import write_text


@dataclass(frozen=True)
class Comparison:
    """One method: milliseconds a step both ways, and the median of paired ratios, fast path over equations, with its
    95 % bootstrap interval over rounds."""

    method: str
    equations: float
    fast_path: float
    ratio: float
    lowest: float
    highest: float


def run_equations(specs: Sequence[RunSpec], sizes: Sequence[int], args: argparse.Namespace) -> int:
    """Measure, print, write ``equations.txt`` and ``equations.csv``; exit code 0.

    Raises:
        RequestError: no masks, or several batch sizes.
    """
    masked = {name: spec for name, spec in labels(specs).items() if spec.mask is not None}
    if not masked:
        raise RequestError(
            "--equations compares masks, and none of the methods asked for has any; name one in --method."
        )
    if len(sizes) > 1:
        raise RequestError(f"--equations takes one batch size, not {args.batch_size}; give the command once for each.")
    setting = setting_of(specs, args)
    workload = Workload(setting.pixels, specs[0], setting.device, sizes[0], args.steps)
    passes: dict[str, OnePass] = {}
    for name, spec in masked.items():
        passes[f"{name}, fast"] = session(workload.with_spec(spec))
        passes[f"{name}, equations"] = _by_equations(session(workload.with_spec(spec)))
    series = interleaved(passes, args.steps, args.repeats, workload.synchronise)
    found = [compared(name, series[f"{name}, equations"], series[f"{name}, fast"]) for name in masked]
    lines = ["", as_text(found), "", f"{args.repeats} paired rounds of {args.steps} steps of {workload.batch_size}."]
    print("\n".join(lines), flush=True)
    if args.out is not None:
        text = [*setting.lines, *lines, *surroundings(setting.device)]
        write_text(args.out / "equations.txt", "\n".join(text) + "\n")
        write_text(args.out / "equations.csv", as_csv(found, {**setting.columns, "rounds": args.repeats}))
        print(f"written: {args.out}/equations.csv, equations.txt")
    return 0


def _by_equations(one_pass: OnePass) -> OnePass:
    def run() -> object:
        with mock.patch.object(fast, "serves", return_value=False):
            return one_pass()

    return run


def compared(method: str, equations: Series, fast_path: Series) -> Comparison:
    """The two series of one method, paired by round."""
    ratio = paired_ratio(fast_path, equations)
    return Comparison(method, equations.median, fast_path.median, ratio.median, ratio.low, ratio.high)


def as_text(found: Iterable[Comparison]) -> str:
    """A table for the terminal."""
    rows = [f"{'':<28} {'equations':>10} {'fast path':>10}   ratio and 95 % interval"]
    rows += [
        f"{item.method:<28} {item.equations:>7.2f} ms {item.fast_path:>7.2f} ms   "
        f"{item.ratio:.3f} [{item.lowest:.3f}, {item.highest:.3f}]"
        for item in found
    ]
    return "\n".join(rows)


def as_csv(found: Iterable[Comparison], setting: dict[str, object]) -> str:
    """The same with its setting in every row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = ("method", "equations", "fast_path", "ratio", "lowest", "highest")
    writer.writerow([*fields, *setting])
    for item in found:
        numbers = [f"{getattr(item, name):.4f}" for name in fields[1:]]
        writer.writerow([item.method, *numbers, *setting.values()])
    return text.getvalue()
