"""Progress in a notebook: one line of output that changes, instead of a line for every event."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

#: shows a text in place of the one before
Cell = Callable[[str], None]


def cell() -> Cell | None:
    """A line of output of the notebook's cell that is running; None outside a notebook."""
    if "IPython" not in sys.modules:
        return None
    notebook: Any = importlib.import_module("IPython")
    kinds = [kind.__name__ for kind in type(notebook.get_ipython()).__mro__]
    if "ZMQInteractiveShell" not in kinds:  # IPython in a terminal prints as others do
        return None
    shown = notebook.display.display({"text/plain": "…"}, raw=True, display_id=True)

    def show(text: str) -> None:
        shown.update({"text/plain": text}, raw=True)

    return show
