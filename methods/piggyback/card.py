"""Piggyback (Mallya, Davis and Lazebnik, ECCV 2018)."""

from __future__ import annotations

from methods.card import FROZEN, Card, Look, Promises, SizeRule
from methods.settings import MASKED_PROTOCOLS, MaskedSettings, MaskSettings

#: Piggyback's point of the mask grid: element units, straight-through, strictly above the threshold, no soft values
MASK = MaskSettings(units="element", surrogate="straight-through", soft="none", strict=True)

PIGGYBACK = Card(
    name="piggyback",
    title="Piggyback",
    summary="element-wise binary masks, straight-through, BN frozen (ECCV 2018)",
    strategy="methods.piggyback.strategy:Piggyback",
    settings=MaskedSettings(),
    bn_policy=FROZEN,
    mask=MASK,
    mask_grid=True,
    family="masked",
    paper="Mallya, Davis and Lazebnik, Piggyback, ECCV 2018",
    published="2018-09",
    groups=("paper", "ablation", "masks"),
    promises=Promises(frozen_backbone=True),
    size_rule=SizeRule(units="element"),
    protocols=MASKED_PROTOCOLS,
    look=Look("#c65102", "#ff9a5a", "^"),
)

CARDS = (PIGGYBACK,)
