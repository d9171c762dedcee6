"""What a card promises is checked at the end of every run, not believed: no earlier task answers otherwise by a bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from methods.card import Card
from methods.engine.tensor_data import TensorImages

#: test images of each task whose logits must not change
IMAGES = 64


class BrokenPromise(RuntimeError):
    """A method did not keep what its card promises; the message says what changed."""


class Promise:
    """Logits of every task's first test images, as this process first saw them: after learning the task, or after a
    resume (another machine may round otherwise).

    Args:
        tests, names: of every task by its 1-based index in the scenario.
    """

    def __init__(self, card: Card, strategy: Any, tests: Mapping[int, TensorImages], names: Mapping[int, str]) -> None:
        self._card, self._strategy, self._tests, self._names = card, strategy, tests, names
        self._noted: dict[int, Tensor] = {}

    def note(self, index: int) -> None:
        """Remember what the task answers now."""
        if self._card.promises.no_forgetting:
            self._noted[index] = self._logits(index)

    def hold(self) -> None:
        """Raises BrokenPromise where a task answers otherwise than it did."""
        for index, before in self._noted.items():
            after = self._logits(index)
            if not torch.equal(after, before):
                moved = float((after - before).abs().max())
                raise BrokenPromise(
                    f"{self._card.name} promises that it never forgets, but after the last task the logits of "
                    f"{self._names[index]} differ from those when it was learned, by {moved:.3g} at most; its "
                    "accuracies are no result"
                )

    def _logits(self, index: int) -> Tensor:
        test = self._tests[index]
        logits: Tensor = self._strategy.logits(index - 1, test.first(min(len(test), IMAGES)))
        return logits.cpu()
