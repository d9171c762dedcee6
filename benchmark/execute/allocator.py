"""How this process gets memory from the system on a CPU.

glibc hands every block above 32 MiB back when it is freed, and the system clears a new one page by page when it is
asked for again: with the flat tensors and gradients of a wide network that happens several times a step, and costs
a tenth of it (a third of CPG's, and of any with ResNet-50 at 224 pixels). So a run keeps what it frees.

What is kept must fit what is asked for next. torch wants blocks that begin at a multiple of 64 bytes, and glibc cuts
such a block out of a larger one. The few bytes left behind it wait in caches of small blocks, where small objects get
them; a large block between two of those never fits the next of its own size, and the process grows to twice what is in
use. Without these caches (``M_MXFAST``, ``without_thread_cache``) rests join their neighbours again. What no longer
fits all the same goes back at the end of an epoch where there is much of it (``FreedBlocks``).

All calls do nothing where the C library is another one.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

#: mallopt's names for numbers (malloc.h)
M_MXFAST, M_TRIM_THRESHOLD, M_MMAP_MAX = 1, -1, -4

#: the environment variable from which a program takes glibc's settings as it begins, and the one that is wanted
TUNABLES, NO_THREAD_CACHE = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"


@lru_cache(maxsize=1)
def _libc() -> Any:
    """The C library, None where it lacks the calls used here."""
    try:
        library = ctypes.CDLL("libc.so.6")
        return library if library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError):
        return None


def keep_freed_blocks() -> bool:
    """From now on freed memory stays with the process and is used again; False where that cannot be arranged.

    Results do not change by a bit. Resident memory no longer falls by itself: see ``give_back_freed_blocks``.
    """
    libc = _libc()
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_MXFAST, 0))
    return libc is not None and all(bool(libc.mallopt(name, value)) for name, value in wanted)


def give_back_freed_blocks() -> None:
    """Return what is free to the system, so that the resident memory is what is in use."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


@contextmanager
def without_thread_cache() -> Iterator[None]:
    """Programs that begin inside keep no cache of small blocks for each thread, unless the user has set its size."""
    before = os.environ.get(TUNABLES)
    if "glibc.malloc.tcache_count" not in (before or ""):
        os.environ[TUNABLES] = f"{before}:{NO_THREAD_CACHE}" if before else NO_THREAD_CACHE
    try:
        yield
    finally:
        os.environ.pop(TUNABLES, None)
        if before is not None:
            os.environ[TUNABLES] = before


class FreedBlocks:
    """Gives freed blocks back where the process has grown by much since it last did.

    That, and asking for them again in the next step, takes half a second per GiB. A network that makes a process grow
    by ``MUCH`` is so large that this is little to one of its epochs; others keep their blocks to the task's end.
    """

    #: bytes
    MUCH = 1 << 30

    def __init__(self) -> None:
        self._least = resident_bytes()

    def are_many(self) -> bool:
        """The process has grown by ``MUCH``; False where its size is not known."""
        return resident_bytes() - self._least >= self.MUCH

    def give_back(self) -> None:
        """See ``give_back_freed_blocks``."""
        give_back_freed_blocks()
        self._least = resident_bytes()


def resident_bytes() -> int:
    """Resident memory of this process, 0 where the system does not tell (it is no Linux)."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
