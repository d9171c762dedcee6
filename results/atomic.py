"""Files that appear whole or not at all: temporary name in the same folder, flush, rename."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results.temporary import temporary_file


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed and renamed to ``path``.

    On any exception the temporary file is removed and ``path`` stays what it was. What a killed process left of its
    own writing of ``path`` is removed, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)


def require_place(folder: Path) -> None:
    """Make sure that files can be written into ``folder``, which is made where it is absent. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_file(folder / "probe") as probe:
        probe.write_bytes(b"probe")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content``, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically. NaN is refused (ValueError): a record holds numbers or null."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, sort_keys=False) + "\n")


def require_regular(path: Path) -> None:
    """Raises OSError where ``path`` is no ordinary file, or not there: reading a pipe or a device would never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
