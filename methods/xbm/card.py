"""XBM (Zhang, Yang, Meng, Seo, Cao and Fan, ASP-DAC 2022), as far as its abstract tells."""

from __future__ import annotations

from methods.card import Card, Look, Measure, Promises, SizeRule
from methods.settings import MASKED_PROTOCOLS, MaskedSettings, MaskSettings

#: of every method here of which no more than the abstract was read
CAVEAT = "interpretation from the abstract: neither code nor full text was at hand"

#: the abstract claims 1.4 %, which blocks of 72 weights give on ResNet-50
MASK_MEMORY = Measure(
    "mask_memory",
    "Mask memory",
    "percent",
    "what the mask of one task takes, of one bit for every weight that it masks, as element-wise binary masks take",
)

#: XBM's point of the mask grid: a column of a crossbar is a block of consecutive weights of one output
MASK = MaskSettings(units="block", hidden_linear="block", surrogate="sigmoid", soft="none")

XBM = Card(
    name="xbm",
    title="XBM",
    summary="one mask bit per crossbar column, sigmoid surrogate, BN per task (ASP-DAC 2022)",
    strategy="methods.xbm.strategy:XBM",
    settings=MaskedSettings(),
    mask=MASK,
    family="masked",
    paper="Zhang, Yang, Meng, Seo, Cao and Fan, XBM, ASP-DAC 2022",
    published="2022-01",
    groups=("masks",),
    promises=Promises(frozen_backbone=True),
    size_rule=SizeRule(units="block", hidden_linear="block"),
    protocols=MASKED_PROTOCOLS,
    look=Look("#5a7d1c", "#a9cf5f", "|"),
    measures=(MASK_MEMORY,),
    caveat=CAVEAT,
)

CARDS = (XBM,)
