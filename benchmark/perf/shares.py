"""Where a step's time goes: an instrumented pass, apart from the timed ones, the device synchronised at every edge."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor

from benchmark.perf.contenders import Session
from methods.engine.functions import MaskFunction
from methods.engine.state import Plan
from methods.engine.tensor_data import Images, TaskImages

PARTS = ("data", "forward", "backward", "masks", "optimizer", "loop")


class Parts:
    """Seconds by part; a part inside a part interrupts the outer one."""

    def __init__(self, synchronise: Callable[[], None]) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._synchronise = synchronise
        self._open = ["loop"]
        self._edge = 0.0

    def start(self) -> None:
        """Begin with the part "loop": whatever belongs to no other."""
        self._synchronise()
        self._edge = time.perf_counter()

    def turn(self) -> None:
        """Book the time since the last edge to the part under way."""
        self._synchronise()
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._edge
        self._edge = now

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Inside, time belongs to ``part``."""
        self.turn()
        self._open.append(part)
        try:
            yield
        finally:
            self.turn()
            self._open.pop()

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """``work``, its time booked to ``part``."""

        def inside(*arguments: Any, **named: Any) -> Any:
            with self(part):
                return work(*arguments, **named)

        return inside


class _TimedImages:
    """Training images whose batches are timed as part "data"; all else is the images' own."""

    def __init__(self, images: Images, parts: Parts) -> None:
        self.images, self.parts = images, parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self.images, name)

    def __len__(self) -> int:
        return len(self.images)

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        with self.parts("data"):
            batches = self.images.training_batches(batch_size, order, augmentation)
        while True:
            with self.parts("data"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def _timed_plan(plan: Plan, parts: Parts) -> Plan:
    after = plan.after_backward
    return plan if after is None else dataclasses.replace(plan, after_backward=parts.timed("masks", after))


def shares(session: Session, synchronise: Callable[[], None]) -> dict[str, float]:
    """Fraction of a pass's time by part.

    "masks": computing effective weights and the way back to the scores, or masking gradients; "loop": the rest of the
    step. With a compiled backbone "forward" and "backward" are what they are when called.
    """
    parts = Parts(synchronise)
    strategy, optimizers = session.strategy, session.plan.optimizers
    assert session.task.images is not None
    images = TaskImages(cast(Images, _TimedImages(session.task.images.train, parts)))
    task = dataclasses.replace(session.task, images=images)
    plan = _timed_plan(session.plan, parts)
    patches = [
        mock.patch.object(owner, name, parts.timed(part, getattr(owner, name)))
        for part, owner, name in (
            ("masks", strategy, "training_tensors"),
            ("forward", strategy, "forward"),
            ("forward", strategy, "criterion"),
            ("backward", strategy, "backward"),
            ("optimizer", optimizers, "zero_grad"),
            ("optimizer", optimizers, "step"),
        )
    ]
    patches += [
        mock.patch.object(function, "backward", staticmethod(parts.timed("masks", function.backward)))
        for function in MaskFunction.__subclasses__()
    ]
    for patch in patches:
        patch.start()
    try:
        parts.start()
        strategy.trainer.one_pass(task, plan, 0, session.events)
        parts.turn()
    finally:
        for patch in patches:
            patch.stop()
    total = sum(parts.seconds.values())
    return {part: seconds / total for part, seconds in parts.seconds.items()}
