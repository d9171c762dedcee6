"""``perf``'s main question: how long does a training step take, of whom, and where does the time go."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmark.perf.conditions import setting_of
from benchmark.perf.contenders import Contender, fine_tuning, labels, method, optimizer_of
from benchmark.perf.floor import measured_rates
from benchmark.perf.measurement import Row, measure
from benchmark.perf.peers import peers
from benchmark.perf.surroundings import surroundings
from benchmark.perf.text_tables import as_csv, as_text, write_picture
from benchmark.perf.workload import Workload
from benchmark.plan.spec import RunSpec
from methods.registry import reference
from results.atomic import write_text
from results.seal import sealed_table


def run_steps(specs: Sequence[RunSpec], sizes: Sequence[int], args: argparse.Namespace) -> int:
    """Measure, print, write ``step.txt``, ``step.csv``, ``step.png`` and ``step.svg``; exit code 0."""
    setting = setting_of(specs, args)
    device, pixels, lines = setting.device, setting.pixels, list(setting.lines)
    rows: list[Row] = []
    rates = measured_rates(Workload(pixels, specs[0], device, sizes[0], args.steps))
    lines.append(
        f"rates reached: {rates.flops / 1e9:.0f} GFLOP/s in a matrix product, {rates.bytes / 1e9:.1f} GB/s in a copy"
    )
    for size in sizes:
        workload = Workload(pixels, specs[0], device, size, args.steps)
        rows += measure(contenders(specs, workload, args.peers), args.repeats, rates, _say)
    lines += ["", as_text(rows), "", f"{args.repeats} rounds of {args.steps} steps; ratios are medians over rounds."]
    _say("\n".join(lines[-5:]))
    if args.out is not None:
        write_text(args.out / "step.txt", "\n".join([*lines, *surroundings(device)]) + "\n")
        write_text(args.out / "step.csv", sealed_table(as_csv(rows, setting.columns)))
        write_picture(rows, setting.title, args.out)
        _say(f"written: {args.out}/step.csv, step.txt, step.png, step.svg")
    return 0


def contenders(specs: Sequence[RunSpec], workload: Workload, wanted_peers: str) -> list[Contender]:
    """Fine-tuning with every optimizer that is needed, the methods, and the peers."""
    others = [spec for spec in specs if spec.method != reference(pretrained=True).name]
    optimizers = sorted({"adam", *(optimizer_of(spec) for spec in others)})
    found = [fine_tuning(workload, optimizer) for optimizer in optimizers]
    found += [method(workload.with_spec(spec), name) for name, spec in labels(others).items()]
    if wanted_peers == "none":
        return found
    return found + [peer for peer in peers(workload) if wanted_peers == "all" or peer.name == "plain loop"]


def _say(line: str) -> None:
    print(line, flush=True)
