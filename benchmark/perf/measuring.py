"""What measuring costs: the same run with all gauges and with none, side by side.

Two answers. *Beside each other*: the time of a run with everything measured over that of a run with
``run.measure=minimal``, pair by pair; honest, but a shared machine wavers by more than what is looked for. *Counted*:
the share of a run that lies in no phase; gauges are read in nobody's time, so this bounds what reading them takes.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmark.data.locate import data_root
from benchmark.execute.runner import run
from benchmark.perf.contenders import labels
from benchmark.perf.surroundings import made_ready, surroundings
from benchmark.plan.execution import RunOptions
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import silent
from benchmark.scenarios.loader import load_scenario
from results.atomic import replacing, write_text
from results.schema import RunRecord
from results.temporary import scratch_folder

#: seconds of one whole run that is measured fully ("full") or not ("minimal"), and its share in no phase
Measured = tuple[float, float]


@dataclass(frozen=True)
class Pair:
    """One run with everything measured and one with nothing, right after each other."""

    method: str
    full_seconds: float
    minimal_seconds: float
    uncounted_share: float  #: of the fully measured run: time in no phase, over its wall time

    @property
    def ratio(self) -> float:
        """Above 1 the measuring costs time."""
        return self.full_seconds / self.minimal_seconds


@dataclass(frozen=True)
class Overhead:
    """All pairs of one method.

    Attributes:
        median: of the ratios.
        low, high: 95 % interval of that median by order statistics; None with fewer than six pairs.
        uncounted: median share of a run in no phase.
    """

    method: str
    pairs: int
    median: float
    low: float | None
    high: float | None
    uncounted: float


def run_measuring(specs: Sequence[RunSpec], args: argparse.Namespace) -> int:
    """Measure, print, write ``measuring.csv``, ``measuring.txt`` and the pictures; exit code 0, 1 if a run fails."""
    device = made_ready(args)
    root = data_root(args.data_root)
    load_scenario(args.scenario).read(root, specs[0].task_indices, silent)  # missing data come out here, as a sentence
    pairs: list[Pair] = []
    lines = [f"{args.scenario}: whole runs, everything measured over run.measure=minimal, {args.repeats} pairs each"]
    lines += surroundings(device)
    print("\n".join(lines), flush=True)
    with scratch_folder() as folder:
        options = RunOptions(
            folder,
            data_root=root,
            scenario_source=args.scenario,
            device=args.device,
            threads=args.threads,
            keep_weights="none",
            resume=False,
        )
        for name, spec in labels(specs).items():
            try:
                pairs += in_pairs(name, partial(_measured, spec, options), args.repeats)
            except RuntimeError as error:
                print(f"{name}: not measured, {error}")
                return 1
            print(as_text(overheads(pairs)).splitlines()[-1], flush=True)
    lines += ["", as_text(overheads(pairs))]
    if args.out is not None:
        write_text(args.out / "measuring.txt", "\n".join(lines) + "\n")
        write_text(args.out / "measuring.csv", as_csv(pairs))
        write_picture(pairs, args.out)
        print(f"written: {args.out}/measuring.csv, measuring.txt, measuring.png, measuring.svg")
    return 0


def _measured(spec: RunSpec, options: RunOptions, measure: str) -> Measured:
    record = run(spec, dataclasses.replace(options, measure=measure), lambda event: None)
    if record is None or not record.finished or not record.wall_seconds:
        raise RuntimeError((record.error or "").partition("\n")[0] if record else "another process is at this run")
    return record.wall_seconds, 1 - accounted_seconds(record) / record.wall_seconds


def accounted_seconds(record: RunRecord) -> float:
    """Seconds of all phases of a record together."""
    return sum(record.seconds.values()) + sum(sum(task.seconds.values()) for task in record.tasks)


def in_pairs(method: str, measured: Callable[[str], Measured], repeats: int) -> list[Pair]:
    """``repeats`` pairs after one run as a warm-up; who goes first changes from pair to pair."""
    measured("full")
    pairs = []
    for number in range(repeats):
        order = ("full", "minimal") if number % 2 else ("minimal", "full")
        found = {measure: measured(measure) for measure in order}
        pairs.append(Pair(method, found["full"][0], found["minimal"][0], found["full"][1]))
    return pairs


def overheads(pairs: Sequence[Pair]) -> list[Overhead]:
    """One line per method."""
    from scipy.stats import quantile_test

    found = []
    for method in dict.fromkeys(pair.method for pair in pairs):
        own = [pair for pair in pairs if pair.method == method]
        ratios = [pair.ratio for pair in own]
        interval = quantile_test(ratios, q=1.0, p=0.5).confidence_interval(0.95) if len(own) > 5 else None
        found.append(
            Overhead(
                method,
                len(own),
                statistics.median(ratios),
                float(interval.low) if interval else None,
                float(interval.high) if interval else None,
                statistics.median(pair.uncounted_share for pair in own),
            )
        )
    return found


def as_text(found: Sequence[Overhead]) -> str:
    """A line per method, in percent of a run."""
    lines = []
    for one in found:
        ends = "" if one.low is None or one.high is None else f" [{_percent(one.low - 1)}, {_percent(one.high - 1)}]"
        lines.append(
            f"{one.method:<22} {_percent(one.median - 1)}{ends} median of {one.pairs} pairs (95 %); "
            f"{100 * one.uncounted:.2f} % of a run lie in no phase"
        )
    return "\n".join(lines)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:+.2f} %"


def as_csv(pairs: Sequence[Pair]) -> str:
    """One line per pair."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "full_seconds", "minimal_seconds", "ratio", "uncounted_share"])
    for pair in pairs:
        writer.writerow([pair.method, pair.full_seconds, pair.minimal_seconds, pair.ratio, pair.uncounted_share])
    return text.getvalue()


def write_picture(pairs: Sequence[Pair], folder: Path) -> None:
    """Every pair as a dot, the median and its interval as a line; measuring.png and measuring.svg."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = overheads(pairs)
    figure, panel = pyplot.subplots(figsize=(7, 1.4 + 0.6 * len(found)), layout="constrained")
    for at, one in enumerate(found):
        percents = [100 * (pair.ratio - 1) for pair in pairs if pair.method == one.method]
        panel.scatter(percents, [at] * len(percents), s=14, color="#3b6ea5", alpha=0.35, linewidths=0)
        if one.low is not None and one.high is not None:
            panel.hlines(at, 100 * (one.low - 1), 100 * (one.high - 1), color="#c0392b", linewidth=3)
        panel.scatter([100 * (one.median - 1)], [at], marker="|", s=160, color="#c0392b", zorder=3)
    panel.axvline(0, color="#777777", linewidth=0.8)
    panel.set_yticks(range(len(found)), [one.method for one in found])
    panel.set_ylim(len(found) - 0.5, -0.5)
    panel.set_xlabel("run time with everything measured against nothing measured, %\nred: median and its 95 % interval")
    for name in ("measuring.png", "measuring.svg"):
        with replacing(folder / name) as path:
            figure.savefig(path, dpi=150, format=name.rpartition(".")[2])
    pyplot.close(figure)
