"""``reproduce``: the paper's tables as named plans of runs."""

from __future__ import annotations

import argparse

from benchmark.cli.command_line import add_config, add_options, request_of
from benchmark.cli.run import do
from benchmark.errors import RequestError

TABLES = (
    "table1",
    "table2",
    "table3",
    "table4",
    "wsn-superclass",
)  #: keys of ``benchmark.plan.papers``, which costs time to import

DESCRIPTION = """\
table1: the twenty tasks of CIFAR-100, every method, piggyback under both BN policies, ksm under both schedules
table2: finetune, packnet, piggyback, cpg and ksm on ImageNet-to-Sketch, each as its own code ran it
        (--protocol source), with the ImageNet row and the sizes
table3: ksm on the twenty tasks with five initial tasks
table4: the six ablation rows under both BN policies (on the twenty tasks, unless --scenario says otherwise)
wsn-superclass: supsup, wsn and packnet on the twenty tasks with LeNet, as WSN's authors ran them
"""

EPILOGUE = """\
Every run is written when it is finished and goes on from its checkpoint when it is cut, also within a long task: type
the same command again.

examples:
  python -m benchmark reproduce table1 --data-root DIR --device cuda
  python -m benchmark reproduce table2 --data-root DIR --device cuda --dry-run    (how long it will take)
  python -m benchmark reproduce table3 --data-root DIR --seed 0,1,2,3,4
  python -m benchmark reproduce table4 --data-root DIR --tasks 5 --epochs 5 --set backbone.width=0.125   (a small one)
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``reproduce``."""
    parser = subparsers.add_parser(
        "reproduce",
        help="the runs behind a paper's table",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("table", choices=TABLES)
    defaults = {
        "scenario": "the table's",
        "methods": "all of the table",
        "selection": "legacy-test; wsn-superclass: validation",
        "protocol": "the scenario's; table2: source",
    }
    add_options(parser, defaults=defaults)
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out a table's runs; exit codes as ``run``.

    Raises:
        RequestError: the request is wrong or the data missing; nothing was started.
    """
    from benchmark.plan.options import declared
    from benchmark.plan.papers import PRESETS
    from benchmark.plan.planning import weights_sha256
    from benchmark.plan.request import Request
    from benchmark.plan.shards import shard_of
    from benchmark.plan.tables import expand
    from benchmark.scenarios.start_weights import scenario_of

    preset = PRESETS[args.table]
    own = {"scenario": preset.scenario, "selection": preset.selection, "protocol": preset.protocol}
    request = request_of(args, own)
    options = declared(Request)
    if request.grid is not None:
        raise RequestError(f"{preset.name} is a plan by itself; --grid belongs to run.")
    for name in sorted(set.intersection(*(set(part.changes) for part in preset.parts))):
        if getattr(request, name) != options[name].default:
            raise RequestError(f"{preset.name} varies {options[name].flag} itself; leave it out.")
    scenario = scenario_of(request)
    specs = list(expand(preset, request, scenario, weights_sha256(request, scenario)))
    if not specs:
        raise RequestError(f"{preset.name} holds none of the methods asked for; leave out --method to run all of it.")
    return do(args, request, scenario, shard_of(specs, request.shard))
