"""Mask-based continual-learning methods as Avalanche strategies, usable alone in any Avalanche script.

>>> from methods import KSM, Piggyback          # doctest: +SKIP
>>> strategy = KSM(backbone=backbone, device="cuda", train_epochs=30)

Names are resolved when used: importing this package imports neither torch nor Avalanche.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "CPG": "methods.cpg",
    "FineTune": "methods.whole",
    "FineTuneSequential": "methods.whole",
    "HeadOnly": "methods.whole",
    "KSM": "methods.masked",
    "MaskSettings": "methods.settings",
    "MaskedBackbone": "methods.masked",
    "PackNet": "methods.packnet",
    "Piggyback": "methods.masked",
    "Scratch": "methods.whole",
    "load_task": "methods.task_file",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'methods' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
