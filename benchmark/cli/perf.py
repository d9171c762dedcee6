"""``perf``: step times, throughput and memory of methods and peers side by side on this machine."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.command_line import add_options, settle
from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.plan.spec import RunSpec

EPILOGUE = """\
examples:
  python -m benchmark perf
  python -m benchmark perf --scenario cifar100-20 --set backbone.width=0.25 --batch-size 32,128 --out perf
  python -m benchmark perf --scenario cifar100-20 --method ksm,piggyback --bn-policy frozen,per-task
  python -m benchmark perf --scale --out perf
  python -m benchmark perf --events --method ksm --out perf
  python -m benchmark perf --throughput --method head-only --workers 2 --threads 1 --out perf
  python -m benchmark perf --equations --method ksm,piggyback --scenario cifar100-20 --repeats 31 --steps 2
  python -m benchmark perf --measuring --method ksm,packnet --repeats 40 --threads 1
"""


#: the options that ``perf`` shares with ``run``
OPTIONS = (
    "scenario", "methods", "backbone", "overrides", "protocol", "epochs", "data_root", "device", "precision", "compile",
    "threads", "plugins", "workers", "executor", "slurm",
)  # fmt: skip


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``perf``."""
    parser = subparsers.add_parser(
        "perf",
        help="step time, throughput and memory of methods and peers side by side",
        description="Times training steps of methods and of what users would use instead, in rounds, warm-up excluded. "
        "Where a scenario's data are not at hand, noise of the same shape stands in (not with --measuring, --events "
        "and --throughput, whose runs are real). The report shows the tables of --out folders below its results "
        "folder, two levels at most.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    defaults = {"threads": "torch's choice", "epochs": "the scenario's; of the runs of --measuring only"}
    add_options(parser, OPTIONS, defaults)
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--bn-policy", metavar="P", help="frozen, per-task or, with a comma, both; default: as the method's paper"
    )
    what.add_argument("--batch-size", default="32", metavar="N,N", help="comma list (default: 32)")
    what.add_argument("--peers", default="all", metavar="P", help="all (default), none, or plain: only the plain loop")
    instead = what.add_mutually_exclusive_group()
    instead.add_argument("--scale", action="store_true", help="instead: time, memory and bytes from 5 to 200 tasks")
    instead.add_argument(
        "--measuring", action="store_true", help="instead: whole runs with and without the measuring, in pairs"
    )
    instead.add_argument(
        "--equations", action="store_true", help="instead: steps by the masks' equations and by their fast path, paired"
    )
    instead.add_argument(
        "--events", action="store_true", help="instead: what a run costs beside training: files, lock, events, report"
    )
    instead.add_argument(
        "--throughput", action="store_true",
        help="instead: many short runs, one at a time and --workers at a time; with --executor slurm its jobs, too",
    )  # fmt: skip
    what.add_argument("--runs", type=int, default=40, metavar="N", help="runs of --throughput (default: 40)")
    what.add_argument(
        "--tasks", type=int, default=200, metavar="N", help="how many tasks --scale learns (default: 200)"
    )
    what.add_argument("--steps", type=int, default=20, metavar="N", help="steps per round (default: 20)")
    what.add_argument("--repeats", type=int, default=7, metavar="N", help="rounds, or pairs of runs (default: 7)")
    what.add_argument("--out", type=Path, metavar="DIR", help="write the table, as text and CSV, and the picture there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
        RequestError: the request is wrong; nothing was measured.
    """
    sizes = _batch_sizes(args.batch_size)
    for name in ("steps", "repeats", "tasks", "runs"):
        if getattr(args, name) < 1:
            raise RequestError(f"--{name} must be at least 1, not {getattr(args, name)}.")
    if args.peers not in ("all", "none", "plain"):
        raise RequestError(f"--peers {args.peers!r} is unknown; choose one of all, none, plain.")
    if args.out is not None:
        _require_folder(args.out)
    specs = _specs(args)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler would complain aloud where there is no GPU
    print("importing torch and avalanche …", flush=True)
    _require_sound(specs, args.device)
    from benchmark.execute.assembly import precision_of

    with precision_of(specs[0]):
        try:
            return _measure(specs, sizes, args)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory", str(error)):
                raise
            raise RequestError(
                f"There is not memory enough on {args.device}; take a smaller --batch-size, or fewer methods."
            ) from error


def _measure(specs: Sequence[RunSpec], sizes: Sequence[int], args: argparse.Namespace) -> int:
    if args.scale:
        from benchmark.perf.scale import run_scale

        return run_scale(specs, args)
    if args.events:
        from benchmark.perf.sweep_parts import run_events

        return run_events(specs, args)
    if args.throughput:
        from benchmark.perf.throughput import run_throughput

        return run_throughput(specs, args)
    if args.measuring:
        from benchmark.perf.measuring import run_measuring

        return run_measuring(specs, args)
    if args.equations:
        from benchmark.perf.equations import run_equations

        return run_equations(specs, sizes, args)
    from benchmark.perf.steps import run_steps

    return run_steps(specs, sizes, args)


def _batch_sizes(text: str) -> list[int]:
    try:
        sizes = [int(word) for word in text.split(",")]
    except ValueError:
        raise RequestError(
            f"--batch-size {text!r} must be whole numbers with commas between, such as 32,128."
        ) from None
    if min(sizes) < 2:
        raise RequestError(f"--batch-size must be at least 2 (BN needs two images), not {min(sizes)}.")
    return sizes


def _require_folder(folder: Path) -> None:
    from results.atomic import require_place

    try:
        require_place(folder)
    except OSError as error:
        raise RequestError(f"--out {folder} cannot be written ({error.strerror}); choose another folder.") from error


def _require_sound(specs: Sequence[RunSpec], device: str) -> None:
    """Every network and mask can be built, on this device. Raises RequestError."""
    from benchmark.execute.preflight import fault, networks
    from benchmark.plan.execution import RunOptions

    for spec in networks(specs):
        if found := fault(spec, RunOptions(device=device)):
            raise RequestError(found)


def _with_steps(methods: tuple[str, ...]) -> tuple[str, ...]:
    """The methods that train, by name. Raises RequestError: none does."""
    from benchmark.plan.request import method_names
    from methods.registry import METHODS

    names = method_names(methods)
    found = tuple(name for name in names if METHODS[name].needs.networks_of is None)
    if not found:
        raise RequestError(
            f"{', '.join(names)}: nothing trains there, so there is no step to time; name other methods."
        )
    return found


def _specs(args: argparse.Namespace) -> list[RunSpec]:
    """One spec a method and BN policy. Raises RequestError."""
    import dataclasses

    from benchmark.plan.device import devices_of, torch_name
    from benchmark.plan.options import declared
    from benchmark.plan.planning import planned
    from benchmark.plan.request import Request
    from benchmark.scenarios.start_weights import scenario_of

    option, words = declared(Request)["bn_policy"], args.bn_policy.split(",") if args.bn_policy else []
    policies = [option.read(word, option.flag) for word in words] or [None]
    args.set = args.overrides or ()
    args.bn_policy = None
    request = settle(args, OPTIONS)
    request = dataclasses.replace(request, methods=_with_steps(request.methods))
    for key, value in request.overrides.items():
        if isinstance(value, list):
            raise RequestError(f"perf takes one value for {key}, not {len(value)}; give the command once for each.")
    if len(devices := devices_of(request.device)) > 1 and "," in request.device:
        raise RequestError(f"perf measures one device, not {', '.join(devices)}.")
    if request.executor != "process" and not args.throughput:
        raise RequestError(f"--executor {request.executor} is for run, and for perf --throughput.")
    if request.executor == "slurm" and args.out is None:
        raise RequestError("perf --executor slurm needs --out, a folder that the nodes see: the runs lie in it.")
    args.device = torch_name(devices[0])
    scenario = scenario_of(request)
    specs = [spec for policy in policies for spec in planned(dataclasses.replace(request, bn_policy=policy), scenario)]
    return list({spec.run_id: spec for spec in specs}.values())
