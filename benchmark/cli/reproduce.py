"""``reproduce``: the paper's tables as named plans of runs."""

from __future__ import annotations

import argparse

from benchmark.cli.options import DEFAULTS, add_options, complete, request_of
from benchmark.cli.run import campaign_of, print_plan
from benchmark.errors import RequestError

TABLES = ("table1", "table3", "table4")  #: keys of ``benchmark.plan.papers``, which costs time to import

DESCRIPTION = """\
table1: the twenty tasks of CIFAR-100, every method, piggyback under both BN policies, ksm under both schedules
table3: ksm on the twenty tasks with five initial tasks
table4: the six ablation rows under both BN policies (on the twenty tasks, unless --scenario says otherwise)
"""

EPILOGUE = """\
Every run is written when it is finished and goes on from its checkpoint when it is cut, also within a long task: type
the same command again.

examples:
  python -m benchmark reproduce table1 --data-root DIR --device cuda
  python -m benchmark reproduce table3 --data-root DIR --seed 0,1,2,3,4
  python -m benchmark reproduce table4 --data-root DIR --tasks 5 --epochs 5 --set backbone.width=0.125   (a small one)
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``reproduce``."""
    parser = subparsers.add_parser(
        "reproduce",
        help="the runs behind the paper's table 1, 3 or 4",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("table", choices=TABLES)
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out a table's runs; exit codes as ``run``.

    Raises:
        RequestError: the request is wrong or the data missing; nothing was started.
    """
    from benchmark.backbones.weights import file_sha256
    from benchmark.plan.papers import PRESETS
    from benchmark.plan.tables import expand
    from benchmark.run.sweep import carry_out
    from benchmark.scenarios.registry import load_scenario

    preset = PRESETS[args.table]
    if args.from_record:
        raise RequestError("--from-record belongs to run: it repeats one run, not a table.")
    complete(args, {"scenario": preset.scenario, "selection": preset.selection})
    for name in sorted(set.intersection(*(set(part.changes) for part in preset.parts))):
        if getattr(args, name) != DEFAULTS.get(name):
            raise RequestError(f"{preset.name} varies --{name.replace('_', '-')} itself; leave it out.")
    scenario = load_scenario(args.scenario)
    request = request_of(args)
    weights = request.weights or scenario.weights
    specs = list(expand(preset, request, scenario, file_sha256(weights) if weights else None))
    if not specs:
        raise RequestError(f"{preset.name} holds none of the methods asked for; leave out --method to run all of it.")
    if args.dry_run:
        print_plan(specs)
        return 0
    return carry_out(campaign_of(args, scenario, specs))
