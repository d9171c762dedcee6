"""XMA (the authors of XBM, DAC 2022), as far as its abstract tells: shift-based masks of several levels."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import Card, Look, Measure, Promises
from methods.engine.knobs import knob
from methods.settings import BLOCK_ROWS, MASKED_PROTOCOLS, MaskedSettings
from methods.xbm.card import CAVEAT, MASK_MEMORY


@dataclass(frozen=True)
class XMASettings(MaskedSettings):
    """Levels of columns; rates as for masks, at steps that suit levels a third apart."""

    rows: int = knob(
        BLOCK_ROWS, "consecutive weights of one output (in, kh, kw) that share a level", "weights", at_least=1
    )
    lowest: int = knob(-2, "exponent of the smallest power of two", at_least=-30, at_most=30)
    levels: int = knob(
        4, "powers of two that a column may take beside 0, each twice the one before", at_least=1, at_most=30
    )
    border: float | None = knob(
        None, "score from which a column is kept; none: the smallest power of two over the root of 2", above=0
    )
    initial: float = knob(1.0, "starting score", at_least=None)
    signed: bool = knob(False, "levels of both signs; scores below 0 then stand for negative ones")


#: as there, with scores that reach another level in the few steps of the digits
PROTOCOLS = {**MASKED_PROTOCOLS, "digits": {**MASKED_PROTOCOLS["digits"], "mask_lr": 1e-2}}

IDEAL_MEMORY = Measure(
    "mask_entropy",
    "Mask memory, ideally packed",
    "percent",
    "the same, with as many bits for a column as the logarithm of its levels to base 2",
)

XMA = Card(
    name="xma",
    title="XMA",
    summary="a power of two or zero per crossbar column, straight-through, BN per task (DAC 2022)",
    strategy="methods.xma.strategy:XMA",
    settings=XMASettings(mask_lr=1e-3),
    paper="Zhang, Yang, Meng, Seo, Cao and Fan, XMA, DAC 2022",
    published="2022-07",
    groups=("masks",),
    promises=Promises(frozen_backbone=True),
    restore="methods.xma.levels:levelled_weights",
    protocols=PROTOCOLS,
    look=Look("#b5179e", "#f48fe0", "H"),
    measures=(MASK_MEMORY, IDEAL_MEMORY),
    caveat=CAVEAT,
)

CARDS = (XMA,)
