"""How this process gets memory from the system on a CPU.

glibc hands every block above 32 MiB back when it is freed, and the system clears a new one page by page when it is
asked for again: with the flat tensors and gradients of a wide network that happens several times a step, and costs
a tenth of it (a third of CPG's). Both calls do nothing where the C library is another one.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

#: mallopt's names for numbers (malloc.h)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


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
    return libc is not None and bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def give_back_freed_blocks() -> None:
    """Return what is free to the system, so that the resident memory is what is in use."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)
