"""Mask-based continual-learning methods as Avalanche strategies, usable alone in any Avalanche script.

>>> from methods import KSM, Piggyback          # doctest: +SKIP
>>> strategy = KSM(backbone=backbone, device="cuda", train_epochs=30)

Names are resolved when used: importing this package imports neither torch nor Avalanche.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "CPG": "methods.cpg.strategy",
    "EMR": "methods.emr.strategy",
    "FineTune": "methods.finetune.strategy",
    "FineTuneSequential": "methods.finetune.strategy",
    "HeadOnly": "methods.head_only.strategy",
    "KSM": "methods.ksm.strategy",
    "LearnedNetworks": "methods.engine.merging",
    "MaskSettings": "methods.settings",
    "MaskedBackbone": "methods.engine.masked",
    "PackNet": "methods.packnet.strategy",
    "Piggyback": "methods.piggyback.strategy",
    "Scratch": "methods.scratch.strategy",
    "TallMasks": "methods.tall_masks.strategy",
    "load_task": "methods.engine.task_file",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'methods' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
