"""``smoke``: the benchmark of at most five minutes for continuous integration."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.command_line import add_options, settle
from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.api import Results

OPTIONS = ("data_root", "device", "plugins")

#: an image set, two tasks of it, on a thin VGG, at rates at which every method leaves chance behind in 12 epochs
CIFAR: dict[str, Any] = {
    "scenario": "cifar100-20",
    "methods": ("finetune", "piggyback", "ksm", "head-only"),
    "tasks": 2,
    "train_limit": 200,
    "epochs": 12,
    "settings": {
        "backbone.width": 0.125,
        "protocol.batch_size": 8,
        "ksm.lr": 5e-4,
        "ksm.head_lr": 1e-3,
        "piggyback.lr": 5e-4,
        "piggyback.head_lr": 1e-3,
        "scratch.epochs": 24,
    },
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``smoke``."""
    parser = subparsers.add_parser(
        "smoke",
        help="a short benchmark for continuous integration",
        description="Runs the five methods of the paper on the digits, and four on two tasks of CIFAR-100 where its "
        "data are at hand. Exit code 1 when a run fails, when an accuracy is no better than chance, or when the page "
        "is missing. At most five minutes on two cores.",
    )
    add_options(parser, OPTIONS)
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep runs and report there; default: they are deleted")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Both benchmarks; exit code 1 when something is wrong. Raises RequestError: a wrong option."""
    from benchmark.data.locate import data_root
    from benchmark.plan.device import device_of
    from results.temporary import scratch_folder

    settle(args, OPTIONS)
    device_of(args.device)
    started = time.monotonic()
    how = {"device": args.device, "plugins": args.plugins, "threads": 1}
    root = data_root(args.data_root)
    with scratch_folder() as folder:
        place = args.out or folder
        faults = _faults({"scenario": "digits"}, how, place / "digits")
        if root is not None and (root / "cifar100").is_dir():
            faults += _faults(CIFAR, {**how, "data_root": root}, place / "cifar")
        else:
            print(f"smoke: CIFAR-100 is left out, there is no {(root or Path('data')) / 'cifar100'}")
    for fault in faults:
        print(f"smoke: {fault}", file=sys.stderr)
    print(f"smoke: {'FAILED' if faults else 'passed'} in {time.monotonic() - started:.0f} s")
    return 1 if faults else 0


def _faults(what: dict[str, Any], how: dict[str, Any], place: Path) -> list[str]:
    """What is wrong with the outcome of a sweep, one line each."""
    from benchmark import api

    try:
        found = api.run(**what, **how, results=place / "runs")
    except RequestError as error:
        return [str(error)]
    page = place / "report" / "index.html"
    return [*_of_runs(found), *([] if page.is_file() else [f"no page in {page.parent}"])]


def _of_runs(found: Results) -> list[str]:
    faults = [f"{record.run_id} failed: {(record.error or '').partition(chr(10))[0]}" for record in found.failed]
    for record in found.records:
        for task in record.tasks:
            if task.accuracy <= 1 / task.classes:
                faults.append(f"{record.run_id}: {task.name} is at chance, {task.accuracy:.3f}")
    return faults
