"""``check``: is the data there and right? Decodes and checks every image, imports no torch."""

from __future__ import annotations

import argparse
import sys

from benchmark.cli.command_line import add_options, settle

NAMES_WIDTH = 40  #: characters of class names shown per task

OPTIONS = ("scenario", "data_root", "tasks", "weights")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``check``."""
    parser = subparsers.add_parser(
        "check",
        help="is the data there and right: counts, classes, what is missing and where to get it",
        description="Reads a scenario's data as a run would; of data that 'data prepare' made it compares the files "
        "with their manifest. Tries the weights on the network. Exit code 0: ready; 2: not, and why.",
    )
    add_options(parser, OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is there on stdout and what is wrong on stderr; 0 when a run could start, else 2."""
    from benchmark.console import CLEAR, decoding_progress
    from benchmark.plan.planning import require_tasks
    from benchmark.scenarios.readiness import conclude, task_checks
    from benchmark.scenarios.sources import root_of
    from benchmark.scenarios.start_weights import scenario_of

    scenario = scenario_of(settle(args, OPTIONS))
    require_tasks(args.tasks, scenario)
    count = args.tasks or len(scenario.task_names)
    root, progress = root_of(scenario, args.data_root), decoding_progress()
    print(f"{scenario.name}: {scenario.summary}\n")
    width = max(len(name) for name in scenario.task_names[:count])
    print(f"{'':>3} {'task':<{width}} {'classes':>8} {'train':>8} {'test':>8}")
    tasks = []
    for task in task_checks(scenario, root, count, progress):
        tasks.append(task)
        if task.fault:
            if sys.stderr.isatty():  # the bar that was under way
                print(CLEAR, end="", file=sys.stderr)
            print(f"{task.index:>3} {task.name:<{width}} {'-':>8} {'-':>8} {'-':>8}")
            continue
        counts = f"{len(task.class_names):>8,} {task.train:>8,} {task.test:>8,}"
        print(f"{task.index:>3} {task.name:<{width}} {counts}  {_shortened(task.class_names)}")
    print()
    found = conclude(scenario, root, args.weights, tuple(tasks), progress)
    for note in found.notes:
        print(f"note: {note}")
    for task in found.tasks:
        if task.content:
            print(f"files of {task.name}: as its manifest has them, sha256 {task.content}")
    if (weights := args.weights or scenario.weights) is not None and weights.is_file():
        print(f"weights: {weights}")
    if found.fingerprint:
        print(f"fingerprint: {found.fingerprint}")
    for fault in found.faults:
        print(f"not ready: {fault}", file=sys.stderr)
    if found.ready:
        print("ready")
    return 0 if found.ready else 2


def _shortened(names: tuple[str, ...]) -> str:
    joined = ", ".join(names)
    return joined if len(joined) <= NAMES_WIDTH else joined[: NAMES_WIDTH - 1] + "…"
