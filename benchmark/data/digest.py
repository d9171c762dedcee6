"""What a source holds, as one sha256; remembered per size and time of its files, so that a second start is instant."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.cache import cache_folder, file_digest
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent
from results.atomic import write_json
from results.reader import content_of

REPORT_EVERY = 500  #: files between two calls of ``progress``
UNREAD = "no ordinary file"


def content_digest(root: Path, files: Sequence[Path], progress: Progress = silent) -> str:
    """sha256 (hex) of the files' names below ``root`` and their bytes, in the order given.

    Reads the files only when one of them has another size or modification time than when they were last read. Of a
    pipe or a device only that it is one counts: it is not read. Raises RequestError when a file cannot be read.
    """
    root = root.absolute()
    memo, seen = _memo(root, files), _sha256(*(_status(file) for file in files))
    try:
        remembered = json.loads(content_of(memo))
        if remembered["seen"] == seen:
            return str(remembered["content"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digests: list[str] = []
    for number, file in enumerate(files):
        if number % REPORT_EVERY == 0:
            progress(f"reading {root.name}", number, len(files))
        try:
            digests.append(file_digest(file) if file.is_file() else UNREAD)
        except OSError as error:
            raise RequestError(f"{file} cannot be read: {error.strerror or error}.") from error
    progress(f"reading {root.name}", len(files), len(files))
    content = digest_of(root, files, digests)
    _remember(memo, root, files, seen, content)
    return content


def digest_of(root: Path, files: Sequence[Path], digests: Sequence[str]) -> str:
    """What ``content_digest`` says of files whose own sha256 are known."""
    names = [file.absolute().relative_to(root.absolute()).as_posix() for file in files]
    return _sha256(*(part for pair in zip(names, digests, strict=True) for part in pair))


def remember(root: Path, files: Sequence[Path], content: str) -> None:
    """Spare ``content_digest`` its first reading, for files that this process has just written."""
    root = root.absolute()
    _remember(_memo(root, files), root, files, _sha256(*(_status(file) for file in files)), content)


def _memo(root: Path, files: Sequence[Path]) -> Path:
    return cache_folder() / "digests" / f"{_sha256(str(root), *map(str, files))}.json"


def _remember(memo: Path, root: Path, files: Sequence[Path], seen: str, content: str) -> None:
    try:
        write_json(memo, {"root": str(root), "files": len(files), "seen": seen, "content": content})
    except OSError:  # a cache that is complete but read-only still serves
        pass


def _status(file: Path) -> str:
    try:
        status = file.stat()
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror or error}.") from error
    kind = "" if stat.S_ISREG(status.st_mode) else f" {UNREAD}"
    return f"{file.name} {status.st_size} {status.st_mtime_ns}{kind}"


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
