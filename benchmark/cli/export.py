"""``export``: one learned task as a file, for use without this suite."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.command_line import add_options, settle
from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.execute.stored_run import StoredRun
    from results.schema import TaskRow

EPILOGUE = """\
example:
  python -m benchmark export digits-ksm-s0-1a2b3c4d5e --task two-three --to task.st --backbone-to net.st

then, with torch and safetensors alone:
  from methods import load_task
  network = load_task(backbone, "task.st")
  logits = network(network.normalise(images))   uint8 (n, channels, height, width) of any size
  network.switch("other.st")                  one pass over the masked weights
  network.prepare("task.st", "other.st")      from here on switching between them takes under a millisecond
"""


OPTIONS = ("results", "data_root", "plugins")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``export``."""
    parser = subparsers.add_parser(
        "export",
        help="write one learned task of a run to a file that loads without this suite",
        description="Writes what one learned task adds to the shared backbone: packed masks, head, BN set, class names "
        "and normalisation.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="RUN", help="a run's folder, or its id under --results")
    parser.add_argument("--task", required=True, metavar="T", help="1-based index in the scenario, or name")
    parser.add_argument("--to", required=True, type=Path, metavar="FILE", help="the task's file (safetensors)")
    parser.add_argument("--backbone-to", type=Path, metavar="FILE", help="also write the backbone that all tasks share")
    add_options(parser, OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files and hold them to the record; exit code 1 where they do not agree.

    Raises:
        RequestError: no such run or task, weights not kept, no place to write.
    """
    settle(args, OPTIONS)
    folder = find_run(args.source, args.results)
    from benchmark.execute.stored_run import export_backbone, exported_task, read_run, task_row
    from results.atomic import replacing
    from results.units import in_units

    stored = read_run(folder)
    if stored.spec.synthetic:
        raise RequestError(
            f"{stored.record.run_id} learned generated images (--synthetic-data): there is nothing to export."
        )
    row = task_row(stored, args.task)
    _require_places(args.to, args.backbone_to)
    try:
        with replacing(args.to) as draft:  # an earlier file stays where this one is refused
            draft.write_bytes(exported_task(stored, row))
            _verify(stored, row, draft, args)
        if args.backbone_to:
            export_backbone(stored, args.backbone_to)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        raise RequestError(f"{error.filename or args.to} cannot be written ({error.strerror}).") from error
    written = in_units(args.to.stat().st_size)
    print(f"{args.to}: task {row.index} {row.name}, {written}, accuracy {row.accuracy_at_end:.4f}")
    if args.backbone_to:
        print(f"{args.backbone_to}: the backbone {stored.spec.backbone.name} of {stored.record.run_id}")
    return 0


class Refused(Exception):
    """The exported network is not that of the record."""


def _verify(stored: StoredRun, row: TaskRow, draft: Path, args: argparse.Namespace) -> None:
    """Say how the exported file does on the test images. Raises Refused where that is not the record."""
    from benchmark.execute.verify import images_of, verify

    try:
        task = images_of(stored, row, args.data_root)
    except RequestError as error:
        print(f"not verified, since the test images are not at hand: {error}")
        return
    found = verify(stored, row, draft, task)
    if not found.agrees:
        raise Refused(
            f"the exported network answers {found.right} of {found.images} test images rightly, the record has "
            f"{found.recorded}; {args.to} was not written. Are these the images of the run? Name them with --data-root."
        )
    print(f"verified: {found.right} of {found.images} test images right, the record has {found.recorded}")


def _require_places(*paths: Path | None) -> None:
    """Before anything is written: every file has a name and a place of its own. Raises RequestError."""
    from results.atomic import require_place

    given = [path for path in paths if path is not None]
    for path in given:
        if not path.name or path.is_dir():
            raise RequestError(f"{path} is a folder; name the file to write, for example {path / 'task.safetensors'}.")
        if path.exists() and not path.is_file():
            raise RequestError(f"{path} is no ordinary file, and would be replaced; name another file to write.")
        try:
            require_place(path.parent)
        except OSError as error:
            raise RequestError(f"{path} cannot be written ({error.strerror}).") from error
    if len({path.resolve() for path in given}) < len(given):
        raise RequestError(f"--to and --backbone-to both name {given[0]}; give each a file of its own.")


def find_run(source: str, results: Path) -> Path:
    """The folder of a run that is named by its folder, its record or its id. Raises RequestError."""
    for folder in (Path(source), Path(source).parent, results / source):
        if (folder / "result.json").is_file() and (folder != Path(source).parent or Path(source).name == "result.json"):
            return folder
    known = sorted(path.parent.name for path in results.glob("*/result.json"))
    hint = f" There are {', '.join(known[:5])}{', …' if len(known) > 5 else ''}." if known else ""
    raise RequestError(f"There is no run {source!r}, neither as a folder nor under {results}.{hint}")
