"""``tune``: the same number of trials for every method, on validation images alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.command_line import DRY_RUN, add_config, add_options, request_of

EPILOGUE = """\
Every method gets as many trials as the others, over a space of as many dimensions: rates on a log scale around the
protocol's, and the schedule. Trial 0 is the protocol itself. A trial learns the first tasks (three unless --tasks says
otherwise) and counts with its accuracy on images held out from training; no test image is seen. Trials are runs: they
go on after a kill, several commands share them, and finished ones are not repeated.

examples:
  python -m benchmark tune --method ksm,piggyback --trials 6
  python -m benchmark run --tuned tuned.yaml --seed 0,1,2
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``tune``."""
    parser = subparsers.add_parser(
        "tune",
        help="find settings for methods by trials on validation images",
        description="Finds settings for methods by trials on validation images; 'run --tuned FILE' takes them.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("how to search")
    group.add_argument(
        "--trials", metavar="N", help="of every method, the protocol's own settings among them (default: 8)"
    )
    group.add_argument("--out", type=Path, metavar="FILE", help="the settings found (default: tuned.yaml)")
    group.add_argument(
        "--prune", action="store_true", help="try one task first; the worse half of the trials goes no further"
    )
    add_options(parser, defaults={"tasks": "3"})
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the search; exit codes as ``run``.

    Raises:
        RequestError: the request is wrong or the data missing.
    """
    from benchmark.scenarios.start_weights import scenario_of
    from benchmark.tuning.ledger import require_optuna
    from benchmark.tuning.search import TRIALS, carry_out, count_of, search_of
    from benchmark.tuning.tuned_file import require_place

    trials = TRIALS if args.trials is None else count_of(args.trials)
    out = Path("tuned.yaml") if args.out is None else args.out
    request = request_of(args)
    scenario = scenario_of(request)
    search = search_of(request, scenario, trials)
    if getattr(args, DRY_RUN):
        from benchmark.execute.plan_view import print_plan

        print_plan(search.request, scenario, [trial.spec for trial in search.trials])
        return 0
    require_optuna()
    require_place(out)
    return carry_out(search, out, args.prune)
