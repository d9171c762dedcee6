"""``run``: plan, check, carry out, report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.command_line import CONFIG, DRY_RUN, add_config, add_options, given, request_of
from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.plan.request import Request
    from benchmark.plan.spec import RunSpec
    from benchmark.scenarios.contract import Scenario
    from results.schema import RunRecord

EPILOGUE = """\
examples:
  python -m benchmark run
  python -m benchmark run --scenario cifar100-20 --data-root DIR --tasks 5 --seed 0,1,2
  python -m benchmark run --method ksm,piggyback --bn-policy frozen --set ksm.lr=2e-4 --set ksm.schedule=cosine
  python -m benchmark run --method ksm --set ksm.lr=1e-4,1e-3          one run for each
  python -m benchmark run --grid units=element,kernel soft=none,release bn=frozen,per-task --dry-run
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``run``."""
    parser = subparsers.add_parser(
        "run",
        help="train and measure methods on a scenario, then write the report",
        description="Trains and measures methods on a scenario, one child process per run, then writes the report.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)
    add_config(parser)
    parser.add_argument("--from-record", type=Path, metavar="FILE", help="repeat the run of a result.json exactly")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the request; exit code 0, 1 when a run failed.

    Raises:
        RequestError: the request is wrong or the data missing; nothing was started.
    """
    from benchmark.plan.crossing import in_words
    from benchmark.plan.planning import planned
    from benchmark.scenarios.start_weights import scenario_of

    if args.from_record:
        return _repeat(args)
    request = request_of(args)
    scenario = scenario_of(request)
    specs = planned(request, scenario)
    if request.grid is not None:
        print(in_words(request), flush=True)
    return do(args, request, scenario, specs)


def do(args: argparse.Namespace, request: Request, scenario: Scenario, specs: Sequence[RunSpec]) -> int:
    """Carry out a plan, or with ``--dry-run`` show it; exit codes as ``run``."""
    from benchmark.execute.sweep import carry_out, sweep_of

    if getattr(args, DRY_RUN):
        from benchmark.execute.plan_view import print_plan

        print_plan(request, scenario, specs)
        return 0
    return carry_out(sweep_of(request, scenario, specs))


def _repeat(args: argparse.Namespace) -> int:
    """``--from-record``: the very spec of a record, in a results folder of its choice; 1 when it comes out otherwise.

    Raises:
        RequestError: the record cannot be repeated, or what was asked for is not its repetition.
    """
    import dataclasses

    from benchmark.execute.store import run_folder
    from benchmark.plan.execution import Execution
    from benchmark.plan.needed import with_needed
    from benchmark.plan.repeat import identical, inputs_differ, read, request_to_repeat, verdict
    from benchmark.scenarios.start_weights import scenario_of
    from results.schema import WHOLE

    told = given(args)
    free = {item.name for item in dataclasses.fields(Execution)} | {"scenario", "weights"}
    fixed = [name for name in (*told, CONFIG) if name not in free and (name in told or getattr(args, name))]
    if fixed:
        from benchmark.plan.options import declared
        from benchmark.plan.request import Request

        known = declared(Request)
        flags = ", ".join(known[name].flag if name in known else f"--{name}" for name in fixed)
        raise RequestError(f"--from-record repeats a run as it was: leave out {flags}.")
    record, spec = read(args.from_record)
    request = request_to_repeat(record, spec, told)
    spec = dataclasses.replace(spec, device=request.device.partition(":")[0])
    same = dataclasses.replace(request, synthetic_data=spec.synthetic, backbone=spec.backbone.name)
    scenario = scenario_of(same)
    if beyond := [index for index in spec.task_indices if not 1 <= index <= len(scenario.task_names)]:
        raise RequestError(f"{args.from_record} cannot be repeated: {scenario.name} has no task {beyond[0]}.")
    if (spec.crops == WHOLE) != bool(set(spec.task_indices) & set(scenario.whole)):
        raise RequestError(
            f"{args.from_record} was made when random crops came from the central square of an image; they come from "
            "the whole image now, so that it cannot be repeated. Run the method anew."
        )
    folder = run_folder(request.results, *spec.ids)
    there = folder.read()
    again = getattr(args, DRY_RUN) or request.force or folder.to_be_repeated
    if there is not None and there.finished and _same_run(there, record) and not again:
        raise RequestError(
            f"{request.results} holds the very run of {args.from_record}, which would be compared with itself: repeat "
            "it with another --results DIR."
        )
    if not getattr(args, DRY_RUN):
        _same_weights(spec, request.weights or scenario.weights)
    code = do(args, request, scenario, list(with_needed([spec])))
    after = folder.read()
    if code or getattr(args, DRY_RUN) or after is None or not after.finished or not record.finished:
        return code
    for line in inputs_differ(record, after):
        print(f"repeat: {line}")
    print(f"repeat: {verdict(record, after)}")
    return 0 if identical(record, after) else 1


def _same_run(a: RunRecord, b: RunRecord) -> bool:
    """Two records tell of one and the same run, perhaps as copies of one file."""
    return all(a.provenance.get(key) == b.provenance.get(key) for key in ("started", "finished"))


def _same_weights(spec: RunSpec, weights: Path | None) -> None:
    """Raises RequestError when the file is not the one that the record started from."""
    from benchmark.backbones.weights import file_sha256

    expected = spec.backbone.weights_sha256
    if expected and (weights is None or file_sha256(weights) != expected):
        raise RequestError(
            f"The record started from {spec.backbone.weights} with sha256 {expected[:12]}…; name that file with "
            "--weights."
        )
