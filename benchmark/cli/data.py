"""``data``: from published archives to the folders that scenarios read. Downloads nothing, imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOGUE = """\
examples:
  python -m benchmark list data                             what to get, from whom, how large
  python -m benchmark data prepare flowers --from downloads --to DIR
  python -m benchmark data prepare cubs_cropped --from CUB_200_2011.tgz --to DIR
  python -m benchmark check --scenario imagenet2sketch --data-root DIR
"""
PREPARE = """\
Reads published archives, or what was unpacked from them, and writes the folders that a scenario reads. All is checked
before anything is written; what is made appears whole, under its name, at the end. A command that was cut goes on where
it stopped; one that is repeated does nothing. Exit code 0: it is there; 2: not, and why.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``data``."""
    parser = subparsers.add_parser(
        "data",
        help="make a data set from the archives that its authors publish",
        description="Makes the data sets of the scenarios from the archives that their authors publish.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=lambda args: _help(parser))
    verbs = parser.add_subparsers(metavar="VERB")
    prepare = verbs.add_parser("prepare", help="make one data set", description=PREPARE, allow_abbrev=False)
    prepare.add_argument("name", metavar="NAME", help="as 'list data' names it: flowers, wikiart, ...")
    prepare.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        metavar="SOURCE",
        help="folder of the archives, or one archive",
    )
    prepare.add_argument("--to", dest="root", type=Path, required=True, metavar="DIR", help="the data root")
    prepare.set_defaults(run=run)


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


def run(args: argparse.Namespace) -> int:
    """Prepare one data set; 0 when it is there. Raises RequestError: the source is wrong, or there is no room."""
    from benchmark.console import decoding_progress
    from benchmark.data.prepare.data_sets import data_set
    from benchmark.data.prepare.preparing import prepare

    chosen = data_set(args.name)
    source, root = args.source.expanduser(), args.root.expanduser()
    manifest = prepare(chosen, source, root, lambda text: print(text, flush=True), decoding_progress())
    classes = f" of {len(manifest.class_names):,} classes" if manifest.class_names else ""
    print(f"{chosen.target(root)}: {manifest.train:,} training and {manifest.test:,} test images{classes}")
    print(f"split: {manifest.split}")
    if manifest.crop:
        print(f"crop: {manifest.crop}")
    return 0
