"""``check``: is the data there and right? Decodes and checks every image, imports no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.options import add_options, settle
from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.scenarios.contract import Scenario, ScenarioData, Task

NAMES_WIDTH = 40  #: characters of class names shown per task


OPTIONS = ("scenario", "data_root", "tasks", "weights")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``check``."""
    parser = subparsers.add_parser(
        "check",
        help="is the data there and right: counts, classes, what is missing and where to get it",
        description="Reads a scenario's data as a run would. Exit code 0: ready; 2: not, and why.",
    )
    add_options(parser, OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is there on stdout and what is wrong on stderr; 0 when a run could start, else 2."""
    from benchmark.data.locate import data_root
    from benchmark.scenarios.registry import load_scenario
    from benchmark.scenarios.weights import weights_faults

    settle(args, OPTIONS)
    scenario = load_scenario(args.scenario)
    count = len(scenario.task_names) if args.tasks is None else args.tasks
    if not 1 <= count <= len(scenario.task_names):
        raise RequestError(f"--tasks must be 1 to {len(scenario.task_names)} for {scenario.name}, not {count}.")
    faults = weights_faults(scenario, args.weights)
    print(f"{scenario.name}: {scenario.summary}\n")
    data = _read(scenario, data_root(args.data_root), count, faults)
    if data is not None:
        for note in notes(scenario, data.tasks):
            print(f"note: {note}")
        print(f"fingerprint: {data.fingerprint}")
    for fault in faults:
        print(f"not ready: {fault}", file=sys.stderr)
    if not faults:
        print("ready")
    return 2 if faults else 0


def _read(scenario: Scenario, root: Path | None, count: int, faults: list[str]) -> ScenarioData | None:
    """A line per task that can be read; faults of the others are added. The data, when every task could be."""
    from benchmark.console import CLEAR, decoding_progress

    width = max(len(name) for name in scenario.task_names[:count])
    print(f"{'':>3} {'task':<{width}} {'classes':>8} {'train':>8} {'test':>8}")
    progress = decoding_progress()
    for index in range(1, count + 1):
        try:
            (task,) = scenario.read(root, [index], progress).tasks
        except RequestError as error:
            if sys.stderr.isatty():  # the bar that was under way
                print(CLEAR, end="", file=sys.stderr)
            print(f"{index:>3} {scenario.task_names[index - 1]:<{width}} {'-':>8} {'-':>8} {'-':>8}")
            if str(error) not in faults:
                faults.append(str(error))
            continue
        counts = f"{len(task.class_names):>8,} {len(task.train):>8,} {len(task.test):>8,}"
        print(f"{index:>3} {task.name:<{width}} {counts}  {_shortened(task.class_names)}")
    print()
    return None if faults else scenario.read(root, range(1, count + 1), progress)


def _shortened(names: tuple[str, ...]) -> str:
    joined = ", ".join(names)
    return joined if len(joined) <= NAMES_WIDTH else joined[: NAMES_WIDTH - 1] + "…"


def notes(scenario: Scenario, tasks: tuple[Task, ...]) -> list[str]:
    """What is unusual but no fault: of the source, images in both splits, counts that differ from the papers'."""
    from benchmark.data.overlap import shared_images

    found: list[str] = []
    for task in tasks:
        found += [f"{task.name}: {note}." for note in task.notes]
        if shared := shared_images(task.train.images, task.test.images):
            found.append(
                f"{task.name}: test images that are training images too, pixel for pixel: {shared:,} of "
                f"{len(task.test):,}."
            )
        classes = scenario.classes[task.index - 1]
        if classes and len(task.class_names) != classes:
            found.append(f"{task.name} has {len(task.class_names)} classes, {classes} in the papers.")
        if scenario.images and (len(task.train), len(task.test)) != scenario.images[task.index - 1]:
            train, test = scenario.images[task.index - 1]
            found.append(
                f"{task.name} has {len(task.train):,} training and {len(task.test):,} test images, "
                f"{train:,} and {test:,} in the papers."
            )
    return found
