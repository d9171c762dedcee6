"""Pauses of the whole process (Ctrl-Z, SIGSTOP, a frozen container): they are nobody's time.

A thread looks at the clock several times a second. When it finds that much more time has passed than it slept, and that
the process has hardly computed meanwhile, the process was stopped. (While a laptop sleeps, Linux's monotonic clock does
not run, so there is nothing to take off.)
"""

from __future__ import annotations

import threading
import time

#: seconds between two looks
INTERVAL = 0.25
#: seconds without a look from which on it was a pause
LEAST = 2.0
#: of the time without a look, the share that the process may have computed if it was stopped
IDLE = 0.1


class PauseWatch:
    """Adds up pauses while it is entered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pauses", daemon=True)
        self._seen, self._computed = time.perf_counter(), time.process_time()
        self._paused = 0.0

    def __enter__(self) -> PauseWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def seconds(self) -> float:
        """All pauses so far."""
        with self._lock:
            now, computed = time.perf_counter(), time.process_time()
            gap, own = now - self._seen, computed - self._computed
            if gap > LEAST and own < IDLE * gap:
                self._paused += gap - own
            self._seen, self._computed = now, computed
            return self._paused

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            self.seconds()
