"""Who is at a run, also where several machines share the folder but no lock manager.

Two layers. The system's lock (``flock``) tells the processes of one machine apart and is gone with its process. Beside
the lock file stands the claim, a file ``<lock>.<number>`` that one process alone can create; its owner renews its time
as long as it lives, and renames it to ``<lock>.<number>.free`` when it is done. Numbers only rise: taking a lock is to
create the next one, so that of several processes that find a dead claim one alone succeeds.

A claim is dead when its owner, of this machine and at this mounted file system, does not hold the system's lock any
more, or when its time has not changed while this process watched it for ``STALE`` seconds by its own clock: clocks of
two machines are never compared.
"""

from __future__ import annotations

import fcntl  # not on Windows, where records are read and no run is carried out
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from results.reader import without_waiting
from results.temporary import machine

#: seconds between two signs of life
HEARTBEAT = 10.0
#: seconds without one after which the owner counts as dead; network file systems may show times a minute late
STALE = 100.0
#: seconds between two looks at a claim that is waited for
POLL = 0.2


class ClaimLost(RuntimeError):
    """Another process took the claim over, because this one gave no sign of life for too long."""


class Claim:
    """A lock that this process holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Raises ClaimLost: nothing may be written in its name any more."""
        try:
            os.close(os.open(self.path, os.O_RDONLY))  # opening asks the server, looking asks a cache
        except FileNotFoundError:
            raise ClaimLost(f"another process took over {self.path.parent}") from None

    def release(self) -> None:
        """Let others have it."""
        self._ended.set()
        with suppress(OSError):  # it was lost, or its folder is gone
            self.path.rename(_freed(self.path))

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            try:
                os.utime(self.path)
            except FileNotFoundError:
                return
            except OSError:  # a server that is away for a moment
                continue


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[Claim]:
    """Hold an exclusive lock on ``path`` (made where absent), between processes of one machine and of several.

    The lock is not on the existence of a file: one that a dead process left behind locks nothing.

    Args:
        path: the lock file, never removed.
        waiting: called once when another process holds the lock, which is then waited for.

    Raises:
        BlockingIOError: another process holds it, and ``waiting`` was not given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = False

    def wait() -> None:
        nonlocal told
        if waiting is None:
            raise BlockingIOError(f"another process holds {path}")
        if not told:
            waiting()
        told = True

    with open(path, "a", opener=without_waiting) as file:
        claim = Claim(_taken(path, _system_lock(file, path, wait), wait))
        try:
            yield claim
        finally:
            claim.release()


def _system_lock(file: Any, path: Path, wait: Callable[[], None]) -> bool:
    """Take the system's lock on an open file; False where the file system has none, or keeps that of a dead machine."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _left_by_another_machine(path):
                return False
            wait()
            time.sleep(POLL)
        except OSError:
            return False
        else:
            return True


def _left_by_another_machine(path: Path) -> bool:
    """The newest claim of ``path`` is held, by no machine of this name, and nobody renews it."""
    entries = _entries(path)
    number = max(entries, default=0)
    if not number or _is_free(path, number, entries[number]) or not _dead(_name(path, number), alone=False):
        return False
    try:
        owner = json.loads(_name(path, number).read_bytes())["machine"]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return bool(owner != machine(path.parent))


def _taken(path: Path, alone: bool, wait: Callable[[], None]) -> Path:
    """Create the next claim of ``path`` once nobody holds one.

    Args:
        alone: no other process of this machine can hold the lock now.
    """
    while True:
        entries = _entries(path)
        number = max(entries, default=0)
        if number and not _is_free(path, number, entries[number]) and not _dead(_name(path, number), alone):
            wait()
            time.sleep(POLL)
            continue
        own = _name(path, number + 1)
        try:
            descriptor = os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:  # somebody was faster
            wait()
            time.sleep(POLL)
            continue
        with suppress(OSError):  # a full disk: the claim holds all the same
            os.write(descriptor, json.dumps({"machine": machine(path.parent), "process": os.getpid()}).encode())
        os.close(descriptor)
        entries = _entries(path)
        if max(entries, default=0) > number + 1 or _freed(own).name in entries.get(number + 1, ()):
            own.unlink(missing_ok=True)  # the first look showed the folder as it was a while ago
            continue
        for lower in entries.keys() - {number + 1}:
            for name in entries[lower]:
                (path.parent / name).unlink(missing_ok=True)
        return own


def _entries(path: Path) -> dict[int, set[str]]:
    """Names of claims by their number."""
    pattern = re.compile(re.escape(path.name) + r"\.(\d+)(\.free)?")
    found: dict[int, set[str]] = {}
    with os.scandir(path.parent) as entries:
        for entry in entries:
            if match := pattern.fullmatch(entry.name):
                found.setdefault(int(match[1]), set()).add(entry.name)
    return found


def _name(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _freed(claim: Path) -> Path:
    return claim.with_name(f"{claim.name}.free")


def _is_free(path: Path, number: int, names: set[str]) -> bool:
    return _name(path, number).name not in names


#: what this process saw of claims of others: the time and number of the file, and when it saw them first
_watched: dict[Path, tuple[tuple[int, int], float]] = {}


def _dead(claim: Path, alone: bool) -> bool:
    """The claim's owner lives no more, or has released it just now."""
    try:
        descriptor = os.open(claim, os.O_RDONLY)
    except FileNotFoundError:
        return False  # the next look will tell
    try:
        about = os.fstat(descriptor)
        content = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    with suppress(ValueError, TypeError, KeyError):
        if alone and json.loads(content)["machine"] == machine(claim.parent):
            return True
    now, stamp = time.monotonic(), (about.st_mtime_ns, about.st_ino)
    before = _watched.get(claim)
    if before is None or before[0] != stamp:
        _watched[claim] = (stamp, now)
        return False
    return now - before[1] >= STALE
