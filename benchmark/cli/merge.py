"""``merge``: results of several machines in one folder."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOGUE = """\
A folder may be a results folder or one that holds several. Finished and failed runs are copied with their weights;
nothing is removed. A run that lies in several folders is taken once: where its numbers are equal the first stays and
is named; where they differ the first stays, too, and the exit code is 1.

examples:
  python -m benchmark run --seed 0,1,2,3,4 --shard 1/3 --results machine1     on each machine, 2/3 and 3/3 on others
  python -m benchmark merge machine1 machine2 machine3 --to results/runs
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``merge``."""
    parser = subparsers.add_parser(
        "merge",
        help="results of several machines in one folder",
        description="Copies the runs of several results folders into one, and names duplicates and conflicts.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="results folders, or folders of such")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="where all runs go")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Copy, and say what became of every run; 1 where two folders have other numbers for a run.

    Raises:
        RequestError: a folder does not exist or holds no run, or the target cannot be written.
    """
    from benchmark.errors import printable
    from benchmark.execute.gathering import gather

    found = gather(args.folders, args.to)
    for what, lines in (("conflict", found.conflicts), ("twice", found.twice), ("left out", found.left_out)):
        for line in lines:
            print(f"{what}: {printable(line)}")
    counts = [f"{len(found.copied)} run{'' if len(found.copied) == 1 else 's'} copied"]
    counts += [f"{len(found.same)} there already"] if found.same else []
    counts += [f"{len(found.twice)} carried out twice"] if found.twice else []
    counts += [f"{len(found.conflicts)} in conflict: the first stays"] if found.conflicts else []
    counts += [f"{len(found.left_out)} left out"] if found.left_out else []
    print(f"{', '.join(counts)}; in {args.to}")
    return 1 if found.conflicts else 0
