"""What a card promises is checked at the end of every run, not believed: no earlier task answers otherwise by a bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmark.measure.provenance import cpu_name
from methods.card import Card
from methods.engine.tensor_data import Images

#: test images of each task whose logits must not change
IMAGES = 64


class BrokenPromise(RuntimeError):
    """A method did not keep what its card promises; the message says what changed."""


class Promise:
    """Logits of every task's first test images when it was learned.

    A run that goes on from a checkpoint compares with their digests in there, where processor, torch and threads are
    the same; elsewhere numbers may round otherwise, and what the tasks answer first is what counts from then on.

    Args:
        tests, names: of every task by its 1-based index in the scenario.
    """

    def __init__(self, card: Card, strategy: Any, tests: Mapping[int, Images], names: Mapping[int, str]) -> None:
        self._card, self._strategy, self._tests, self._names = card, strategy, tests, names
        self._noted: dict[int, Tensor] = {}

    def note(self, index: int) -> None:
        """Remember what the task answers now."""
        if self._card.promised(self._strategy.settings).no_forgetting:
            self._noted[index] = self._logits(index)

    def noted(self) -> dict[str, str]:
        """What a checkpoint holds: digests of the logits by task index, and of the place where they were computed."""
        digests = {str(index): _digest(logits) for index, logits in self._noted.items()}
        return {**digests, "place": self._place()}

    def go_on(self, indices: Iterable[int], noted: Mapping[str, str]) -> None:
        """After a resume: note the tasks learned before. Raises BrokenPromise: one answers otherwise than it did."""
        for index in indices:
            self.note(index)
            before = noted.get(str(index)) if noted.get("place") == self._place() else None
            if before and index in self._noted and _digest(self._noted[index]) != before:
                sentence = self._sentence(index, "after the run was interrupted")
                raise BrokenPromise(f"{sentence}; start it with --no-resume")

    def hold(self) -> None:
        """Raises BrokenPromise where a task answers otherwise than it did."""
        for index, before in self._noted.items():
            after = self._logits(index)
            if not torch.equal(after, before):
                moved = float((after - before).abs().max())
                raise BrokenPromise(self._sentence(index, f"after the last task (by {moved:.3g} at most)"))

    def _sentence(self, index: int, moment: str) -> str:
        return (
            f"{self._card.name} promises that it never forgets, but {moment} the logits of {self._names[index]} differ "
            "from those when it was learned; its accuracies are no result"
        )

    def _place(self) -> str:
        arithmetic = f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
        return f"{cpu_name()}, {arithmetic}, {torch.get_num_threads()} threads, {self._strategy.device}"

    def _logits(self, index: int) -> Tensor:
        test = self._tests[index]
        logits: Tensor = self._strategy.logits(index - 1, test.first(min(len(test), IMAGES)))
        return logits.cpu()


def _digest(logits: Tensor) -> str:
    return hashlib.sha256(logits.contiguous().numpy().tobytes()).hexdigest()
