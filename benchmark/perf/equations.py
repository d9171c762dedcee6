"""What the fast path of the masks pays: training steps by the equations and by the fast path, round by round."""

from __future__ import annotations

import argparse
import csv
import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from unittest import mock

import torch

from benchmark.data.locate import data_root
from benchmark.errors import RequestError
from benchmark.perf.contenders import OnePass, labels, session
from benchmark.perf.rounds import Series, interleaved, paired_ratio
from benchmark.perf.surroundings import device_name, surroundings
from benchmark.perf.workload import Workload, read_pixels
from benchmark.plan.spec import RunSpec
from benchmark.run.allocator import keep_freed_blocks
from benchmark.run.preflight import usable
from benchmark.scenarios.registry import load_scenario
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


def run_equations(specs: Sequence[RunSpec], args: argparse.Namespace) -> int:
    """Measure, print, write ``equations.txt`` and ``equations.csv``; exit code 0. Raises RequestError: no masks."""
    warnings.filterwarnings("ignore", message="No loggers specified")
    masked = {name: spec for name, spec in labels(specs).items() if spec.mask is not None}
    if not masked:
        raise RequestError(
            "--equations compares masks, and none of the methods asked for has any; name one in --method."
        )
    keep_freed_blocks()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = usable(args.device)
    pixels = read_pixels(
        load_scenario(args.scenario), data_root(args.data_root), device, required=args.data_root is not None
    )
    backbone = specs[0].backbone
    lines = [f"{args.scenario}, {backbone['name']} at width {backbone['width']:g}, {args.precision}"]
    lines += surroundings(device)
    print("\n".join(lines), flush=True)
    workload = Workload(pixels, specs[0], device, int(str(args.batch_size).split(",")[0]), args.steps)
    passes: dict[str, OnePass] = {}
    for name, spec in masked.items():
        passes[f"{name}, fast"] = session(workload.with_spec(spec))
        passes[f"{name}, equations"] = _by_equations(session(workload.with_spec(spec)))
    series = interleaved(passes, args.steps, args.repeats, workload.synchronise)
    found = [compared(name, series[f"{name}, equations"], series[f"{name}, fast"]) for name in masked]
    lines += ["", as_text(found), "", f"{args.repeats} paired rounds of {args.steps} steps of {workload.batch_size}."]
    print("\n".join(lines[3:]), flush=True)
    if args.out is not None:
        write_text(args.out / "equations.txt", "\n".join([*lines, *surroundings(device)]) + "\n")
        setting = {
            "scenario": args.scenario,
            "backbone": backbone["name"],
            "width": backbone["width"],
            "overrides": "; ".join(args.set or ()),
            "device": device_name(device),
            "threads": torch.get_num_threads() if device.type == "cpu" else "",
            "rounds": args.repeats,
        }
        write_text(args.out / "equations.csv", as_csv(found, setting))
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
