"""Avalanche's plugin events, fired only where somebody listens.

``trigger_plugins`` asks every plugin at each of eight events a step, and the evaluation plugin copies the experience
every time. Here the listeners of an event are found once per phase: plugins whose class overrides
the callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from avalanche.core import BasePlugin, BaseSGDPlugin, SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin

_SILENT_BASES: tuple[type, ...] = (BasePlugin, BaseSGDPlugin, SupervisedPlugin)

Callback = Callable[..., Any]


def _listens(plugin: Any, event: str) -> bool:
    if isinstance(plugin, EvaluationPlugin):
        return bool(plugin.metrics or plugin.loggers)
    callback = getattr(type(plugin), event, None)
    if callback is None:
        return hasattr(plugin, event)
    return all(callback is not getattr(base, event, None) for base in _SILENT_BASES)


class Events:
    """Callbacks by event for the plugins as they are now; ``events(name)`` fires one."""

    def __init__(self, strategy: Any, plugins: Iterable[Any]) -> None:
        self._strategy = strategy
        self._plugins = list(plugins)
        self._callbacks: dict[str, list[Callback]] = {}

    def callbacks(self, event: str) -> list[Callback]:
        """The bound callbacks that listen to ``event``, in plugin order."""
        if event not in self._callbacks:
            self._callbacks[event] = [getattr(plugin, event) for plugin in self._plugins if _listens(plugin, event)]
        return self._callbacks[event]

    def __call__(self, event: str) -> None:
        for callback in self.callbacks(event):
            callback(self._strategy)
