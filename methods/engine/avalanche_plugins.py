"""Avalanche's own plugins: which of them act on these strategies, and what is said of those that cannot."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

#: of ``avalanche.training.plugins``; others of that package need one model and one optimizer for all tasks
ACTING = ("Clock", "EarlyStoppingPlugin", "EvaluationPlugin", "LRSchedulerPlugin")

_PACKAGE = "avalanche.training.plugins"


class PluginLeftOut(UserWarning):
    """A plugin cannot act here and is left out; the message names it."""


def acting(plugins: Sequence[Any], strategy: str) -> list[Any]:
    """The plugins without those of Avalanche that cannot act; a warning names each of these."""
    kept = []
    for plugin in plugins:
        kind = type(plugin)
        if kind.__module__.startswith(_PACKAGE) and kind.__name__ not in ACTING:
            warnings.warn(
                f"{kind.__name__} is left out: {strategy} gives every task tensors and a head of its own, so there is "
                "no one model over tasks for it to act on",
                PluginLeftOut,
                stacklevel=2,
            )
        else:
            kept.append(plugin)
    return kept
