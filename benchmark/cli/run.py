"""``run``: plan, check, carry out, report."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.options import add_options, complete, device_of, options_of, plugins_of, request_of
from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.plan.request import Request
    from benchmark.plan.spec import RunSpec
    from benchmark.run.sweep import Campaign
    from benchmark.scenarios.contract import Scenario
    from results.schema import RunRecord

EPILOGUE = """\
examples:
  python -m benchmark run
  python -m benchmark run --scenario cifar100-20 --data-root DIR --tasks 5 --seed 0,1,2
  python -m benchmark run --method ksm,piggyback --bn-policy frozen --set ksm.lr=2e-4 --set ksm.schedule=cosine
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out the request; exit code 0, 1 when a run failed.

    Raises:
        RequestError: the request is wrong or the data missing; nothing was started.
    """
    from benchmark.run.sweep import carry_out
    from benchmark.scenarios.registry import load_scenario

    if args.from_record:
        return _repeat(args)
    complete(args)
    scenario = load_scenario(args.scenario)
    request = request_of(args)
    specs = planned(request, scenario)
    if args.dry_run:
        print_plan(specs)
        return 0
    return carry_out(campaign_of(args, scenario, specs))


def campaign_of(args: argparse.Namespace, scenario: Scenario, specs: Sequence[RunSpec]) -> Campaign:
    """Completed options and a plan -> what ``carry_out`` takes. Raises RequestError: no such data root."""
    from benchmark.run.sweep import Campaign

    workers = 1 if args.executor == "local" else min(args.workers, len(specs))
    options = options_of(args, args.weights or scenario.weights, scenario.threads)
    return Campaign(
        scenario,
        specs,
        dataclasses.replace(options, workers=workers),
        weights=args.weights,
        workers=workers,
        in_process=args.executor == "local",
        force=args.force,
        download=args.download,
    )


def planned(request: Request, scenario: Scenario) -> list[RunSpec]:
    """Every run of a request. Raises RequestError."""
    from benchmark.backbones.weights import file_sha256
    from benchmark.plan.request import plan

    weights = request.weights or scenario.weights
    sha256 = file_sha256(weights) if weights is not None else None
    return list(plan(request, scenario, sha256))


def print_plan(specs: Sequence[RunSpec]) -> None:
    """The plan as a table on stdout."""
    width = max(len(spec.run_id) for spec in specs)
    for spec in specs:
        shown = (
            f"{len(spec.task_indices)} tasks, {spec.settings['epochs']} epochs, {spec.backbone['name']}, "
            f"BN {spec.bn_policy}, selection {spec.selection}, {spec.device}"
        )
        print(f"{spec.run_id:<{width}}  {shown}")
    print(f"{len(specs)} run{'s' if len(specs) != 1 else ''}; nothing was started.")


#: options that would change the run which --from-record names
_OF_THE_RECORD = (
    "method", "seed", "tasks", "train_limit", "test_limit", "epochs", "backbone", "bn_policy", "selection",
    "initial_task", "set", "config", "precision", "compile",
)  # fmt: skip


def _repeat(args: argparse.Namespace) -> int:
    """``--from-record``: the very spec of a record, in a results folder of its choice; 1 when it comes out otherwise.

    Raises:
        RequestError: the record cannot be repeated, or what was asked for is not its repetition.
    """
    from benchmark.plan.repeat import identical, plugins_of_record, read, verdict
    from benchmark.run.store import run_folder
    from benchmark.run.sweep import carry_out
    from benchmark.scenarios.registry import load_scenario

    if given := [name for name in _OF_THE_RECORD if getattr(args, name) is not None]:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise RequestError(f"--from-record repeats a run as it was: leave out {options}.")
    plugins_of(args.plugin)
    record, spec = read(args.from_record)
    args.plugin = [*(args.plugin or ()), *plugins_of_record(record)]
    before = record.provenance.get("options") or {}
    if args.scenario is None:
        args.scenario = before.get("scenario_source") or spec.scenario
    if args.data_root is None and before.get("data_root"):
        args.data_root = Path(before["data_root"])
    if args.threads is None:
        args.threads = (record.provenance.get("host") or {}).get("threads") or 0
    if args.weights is None and before.get("weights"):
        args.weights = Path(before["weights"])
    args.device = args.device or spec.device
    complete(args)
    args.device = device_of(args.device)
    spec = dataclasses.replace(spec, device=args.device.partition(":")[0])
    scenario = load_scenario(args.scenario)
    if beyond := [index for index in spec.task_indices if not 1 <= index <= len(scenario.task_names)]:
        raise RequestError(f"{args.from_record} cannot be repeated: {scenario.name} has no task {beyond[0]}.")
    if args.dry_run:
        print_plan([spec])
        return 0
    folder = run_folder(args.results, *spec.ids)
    there = folder.read()
    if there is not None and there.finished and _same_run(there, record) and not (args.force or folder.to_be_repeated):
        raise RequestError(
            f"{args.results} holds the very run of {args.from_record}, which would be compared with itself: repeat it "
            "with another --results DIR."
        )
    _same_weights(spec, args.weights)
    code = carry_out(campaign_of(args, scenario, [spec]))
    again = folder.read()
    if code or again is None or not again.finished or not record.finished:
        return code
    print(f"repeat: {verdict(record, again)}")
    return 0 if identical(record, again) else 1


def _same_run(a: RunRecord, b: RunRecord) -> bool:
    """Two records tell of one and the same run, perhaps as copies of one file."""
    return all(a.provenance.get(key) == b.provenance.get(key) for key in ("started", "finished"))


def _same_weights(spec: RunSpec, weights: Path | None) -> None:
    """Raises RequestError when the file is not the one that the record started from."""
    from benchmark.backbones.weights import file_sha256

    expected = spec.backbone.get("weights_sha256")
    if expected and (weights is None or file_sha256(weights) != expected):
        raise RequestError(
            f"The record started from {spec.backbone['weights']} with sha256 {expected[:12]}…; "
            "name that file with --weights."
        )
