"""Temporary files and folders that a killed process cannot leave for good.

A process holds a lock on each of its own for as long as it is at it, and the system frees the lock when the process
ends, however it ends. So what is not locked is nobody's, and the next command that comes by removes it. Locks may not
reach from machine to machine: a name tells the machine, and what another one made is left alone for a day.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY_SUFFIX = ".part"
#: where no lock can tell, what is older is nobody's
STALE_SECONDS = 24 * 3600

#: how ``temporary_file`` and ``temporary_folder`` call theirs; nobody else's files are touched
_OURS = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
#: the same, with the machine that made it
_OF_MACHINE = re.compile(r"\..+\.m([0-9a-f]{8})\.[a-z0-9_]{8}\.part")
_SCRATCH = "maskbench-"
_SCRATCHES = re.compile(_SCRATCH + r"[a-z0-9_]{8}")


def machine(folder: Path) -> str:
    """Eight hex digits that tell apart which running system, and which of its mounted file systems, see ``folder``.

    Within one of them the system's locks tell living processes from dead ones. Raises OSError: no such folder.
    """
    return _digits(os.stat(folder).st_dev)


@functools.cache
def _digits(device: int) -> str:
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # no Linux
        start = str(uuid.getnode())
    return hashlib.sha256(f"{platform.node()} {start} {device}".encode()).hexdigest()[:8]


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A new empty file beside ``path``, removed at the end unless it was renamed by then."""
    sweep_beside(path)
    prefix = f".{path.name}.m{machine(path.parent)}."
    name, lock = _made(lambda: tempfile.mkstemp(prefix=prefix, suffix=TEMPORARY_SUFFIX, dir=path.parent)[::-1])
    owner = os.getpid()
    try:
        yield Path(name)
    finally:
        if os.getpid() == owner:  # a forked child may come by here, too
            Path(name).unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path``, removed at the end with all that it holds."""
    sweep_beside(path)
    with _folder(f".{path.name}.m{machine(path.parent)}.", TEMPORARY_SUFFIX, path.parent) as folder:
        yield folder


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder among the system's temporary files, removed at the end; older ones of killed processes go first."""
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    with os.scandir(parent) as entries:
        left = [Path(entry.path) for entry in entries if _SCRATCHES.fullmatch(entry.name)]
    for item in left:
        remove_abandoned(item)
    with _folder(_SCRATCH, "", parent) as folder:
        yield folder


@contextmanager
def _folder(prefix: str, suffix: str, parent: Path) -> Iterator[Path]:
    def make() -> tuple[str, int]:
        while True:
            name = tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent)
            with suppress(FileNotFoundError):  # another process removed it before it was opened
                return name, os.open(name if fcntl is not None else os.devnull, os.O_RDONLY)

    name, lock = _made(make)
    owner = os.getpid()
    try:
        yield Path(name)
    finally:
        if os.getpid() == owner:
            shutil.rmtree(name, ignore_errors=True)
        os.close(lock)


def _made(make: Callable[[], tuple[str, int]]) -> tuple[str, int]:
    """Name and open descriptor of something new that is locked. Raises OSError."""
    while True:
        name, descriptor = make()
        if fcntl is None:
            return name, descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: then nobody else can take it for abandoned, either
            return name, descriptor
        with suppress(FileNotFoundError):  # another process removed it before it was locked
            if os.stat(name).st_ino == os.fstat(descriptor).st_ino:
                return name, descriptor
        os.close(descriptor)


def sweep_beside(path: Path) -> None:
    """Remove what killed processes left of their writing of ``path``."""
    start = f".{path.name}."
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(start)]
    except OSError:
        return
    for name in filter(_OURS.fullmatch, names):
        remove_abandoned(path.parent / name)


def sweep_below(folder: Path) -> None:
    """Remove what killed processes left below ``folder``."""
    for parent, folders, files in os.walk(folder):
        for name in filter(_OURS.fullmatch, [*folders, *files]):
            remove_abandoned(Path(parent, name))
        folders[:] = [name for name in folders if not _OURS.fullmatch(name)]


def remove_abandoned(path: Path) -> None:
    """Remove a temporary file or folder of ours unless a process is at it, or somebody else owns it."""
    with suppress(OSError):  # another process was faster, or is at it
        made = _OF_MACHINE.fullmatch(path.name)
        if fcntl is None or (made is not None and made[1] != machine(path.parent)):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                _remove(path, path.stat().st_mode)
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            about = os.fstat(descriptor)
            if about.st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path, about.st_mode)
        finally:
            os.close(descriptor)


def _remove(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()
