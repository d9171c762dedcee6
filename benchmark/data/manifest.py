"""What ``data prepare`` leaves beside the images: ``manifest.json``, and ``files.csv`` with size and sha256 of each."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.data.cache import file_digest
from benchmark.data.digest import content_digest
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent
from results.atomic import write_json, write_text
from results.units import in_units

MANIFEST, FILES = "manifest.json", "files.csv"
VERSION = 1


@dataclass(frozen=True)
class Listed:
    """One file as it was written."""

    size: int  #: bytes
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """How a folder of images came about. ``content``: ``content_digest`` of its files."""

    data_set: str
    layout: str  #: in which the source was found
    sources: Mapping[str, int]  #: archives, or the folder: name -> bytes
    split: str  #: the rule, in words
    crop: str  #: in words; empty: images are copied as they are
    train: int  #: images
    test: int
    class_names: tuple[str, ...]
    in_both_splits: int  #: test images that are training images too, byte by byte
    bytes: int
    warnings: tuple[str, ...]  #: sentences, for every record of a run on these images
    content: str
    files_sha256: str  #: of files.csv
    made_with: Mapping[str, str] = field(default_factory=dict)  #: versions
    version: int = VERSION


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None without one. Raises RequestError when it is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content |= {name: tuple(map(str, content[name])) for name in ("class_names", "warnings")}
        found = Manifest(**content)
        if found.version != VERSION or not isinstance(found.train, int) or not isinstance(found.content, str):
            raise ValueError(f"version {found.version}")
        return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(f"{path} is damaged ({error}); {_again(folder)}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, atomically."""
    write_json(folder / MANIFEST, dataclasses.asdict(manifest))


def write_files(folder: Path, files: Mapping[str, Listed]) -> None:
    """Write ``files.csv``, atomically, sorted by path."""
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerows((name, listed.size, listed.sha256) for name, listed in sorted(files.items()))
    write_text(folder / FILES, buffer.getvalue())


def read_files(path: Path) -> dict[str, Listed]:
    """The lines of a ``files.csv`` that are whole; a process that was killed may leave half of one at its end."""
    found: dict[str, Listed] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if len(row) == 3 and row[1].isdecimal() and len(row[2]) == 64:
                found[row[0]] = Listed(int(row[1]), row[2])
    return found


def verify(folder: Path, files: Sequence[Path], manifest: Manifest, progress: Progress = silent) -> None:
    """Raises RequestError, naming the first file, unless these are the files of the manifest.

    Names and sizes are compared every time. Bytes are read when a file has another size or modification time than
    when it was last read, and when this user's cache does not know them yet.
    """
    if file_digest(folder / FILES) != manifest.files_sha256 if (folder / FILES).is_file() else True:
        raise RequestError(f"{folder / FILES} is missing or is not the one of {MANIFEST}; {_again(folder)}")
    listed = read_files(folder / FILES)
    there = {file.relative_to(folder).as_posix(): file for file in files}
    for text, names in (("has gone", listed.keys() - there.keys()), ("has come", there.keys() - listed.keys())):
        if names:
            raise _differs(folder, min(names), text, len(names))
    sizes = [name for name, file in there.items() if file.stat().st_size != listed[name].size]
    if sizes:
        raise _differs(folder, min(sizes), f"has no longer {in_units(listed[min(sizes)].size)}", len(sizes))
    if content_digest(folder, files, progress) != manifest.content:
        changed = [name for name, file in there.items() if file_digest(file) != listed[name].sha256]
        raise _differs(folder, min(changed, default=MANIFEST), "has changed", len(changed))


def _differs(folder: Path, name: str, text: str, count: int) -> RequestError:
    more = f" (and {count - 1:,} more)" if count > 1 else ""
    return RequestError(f"{folder / name}{more} {text} since {folder.name} was prepared; {_again(folder)}")


def _again(folder: Path) -> str:
    return f"remove {folder} and prepare it again, or remove its {MANIFEST} to use the images as they are."
