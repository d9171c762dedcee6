"""Piggyback is a masked backbone at its own point of the mask grid (``methods.piggyback.card``)."""

from __future__ import annotations

from methods.engine.masked import MaskedBackbone
from methods.piggyback.card import PIGGYBACK


class Piggyback(MaskedBackbone):
    """Mallya, Davis and Lazebnik (ECCV 2018): element-wise binary masks, straight-through, BN frozen."""

    card = PIGGYBACK
