"""The settings dataclasses of all methods in one place; each is defined in its method's card or in ``engine.knobs``."""

from __future__ import annotations

from methods.cpg.card import CPGSettings
from methods.engine.knobs import MaskedSettings, MaskSettings, Settings, TrainSettings, WeightSettings
from methods.packnet.card import PackNetSettings

__all__ = [
    "CPGSettings",
    "MaskSettings",
    "MaskedSettings",
    "PackNetSettings",
    "Settings",
    "TrainSettings",
    "WeightSettings",
]
