"""Compile time apart: whatever ``torch.compile`` does within a run is booked to the phase "warm-up".

A network compiles when it is first run, and again for another batch size, another BN mode or another set of trained
tensors, in the middle of whatever phase that happens in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmark.measure.clock import Stopwatch


@contextmanager
def compiling_apart(clock: Stopwatch, compiles: bool) -> Iterator[None]:
    """Inside, ``clock`` books every compilation to "warm-up"; does nothing unless the run ``compiles``."""
    if not compiles:
        yield
        return
    from torch._dynamo.callback import callback_handler

    running = ExitStack()

    def begin(arguments: Any) -> None:
        running.enter_context(clock("warm-up"))

    def end(arguments: Any) -> None:
        running.close()

    callback_handler.register_start_callback(begin)
    callback_handler.register_end_callback(end)
    try:
        yield
    finally:
        callback_handler.remove_start_callback(begin)
        callback_handler.remove_end_callback(end)
