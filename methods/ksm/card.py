"""KSM (Yang, He, Zhang and Fan, CVPR 2021), and the ablation rows of its table 4: points of one mask grid."""

from __future__ import annotations

import dataclasses

from methods.card import FROZEN, Card, Look, Promises, SizeRule
from methods.piggyback.card import MASK as PIGGYBACK_MASK
from methods.settings import MASKED_PROTOCOLS, MaskedSettings, MaskSettings

#: KSM's point of the mask grid: kernel units, sigmoid surrogate, the release's soft values
MASK = MaskSettings(units="kernel", surrogate="sigmoid", soft="release")

KSM = Card(
    name="ksm",
    title="KSM",
    summary="kernel-wise soft masks, sigmoid surrogate, BN per task (CVPR 2021)",
    strategy="methods.ksm.strategy:KSM",
    settings=MaskedSettings(),
    mask=MASK,
    mask_grid=True,
    family="masked",
    paper="Yang, He, Zhang and Fan, KSM, CVPR 2021",
    published="2021-06",
    groups=("paper", "ablation", "masks"),
    promises=Promises(frozen_backbone=True),
    size_rule=SizeRule(units="kernel", soft=True),
    protocols=MASKED_PROTOCOLS,
    look=Look("#0a63a6", "#6cb3f0", "o"),
)

PIGGYBACK_KERNELWISE = dataclasses.replace(
    KSM,
    name="piggyback-kernelwise",
    title="Piggyback, kernel-wise",
    summary="ablation: Piggyback with one mask bit per kernel",
    strategy="methods.ksm.strategy:PiggybackKernelwise",
    bn_policy=FROZEN,
    mask=dataclasses.replace(PIGGYBACK_MASK, units="kernel"),
    order=1,
    groups=("ablation",),
    size_rule=SizeRule(units="kernel"),
    look=Look("#a06a1f", "#e0b06c", "<"),
)

PIGGYBACK_SOFT = dataclasses.replace(
    PIGGYBACK_KERNELWISE,
    name="piggyback-soft",
    title="Piggyback, soft",
    summary="ablation: Piggyback with soft values",
    strategy="methods.ksm.strategy:PiggybackSoft",
    mask=dataclasses.replace(PIGGYBACK_MASK, soft="release"),
    order=2,
    size_rule=SizeRule(units="element", soft=True),
    look=Look("#d1495b", "#f59aa6", ">"),
)

KSM_SOFTMAX = dataclasses.replace(
    KSM,
    name="ksm-softmax",
    title="KSM, softmax only",
    summary="ablation: sigmoid surrogate, element-wise, no soft values",
    strategy="methods.ksm.strategy:KSMSoftmax",
    mask=dataclasses.replace(MASK, units="element", soft="none"),
    order=3,
    groups=("ablation",),
    size_rule=SizeRule(units="element"),
    look=Look("#23808f", "#68c7d6", "h"),
)

KSM_ELEMENTWISE = dataclasses.replace(
    KSM_SOFTMAX,
    name="ksm-elementwise",
    title="KSM, element-wise",
    summary="ablation: KSM with one score per weight",
    strategy="methods.ksm.strategy:KSMElementwise",
    mask=dataclasses.replace(MASK, units="element"),
    order=4,
    size_rule=SizeRule(units="element", soft=True),
    look=Look("#4f5bb8", "#a3abf2", "d"),
)

CARDS = (KSM, PIGGYBACK_KERNELWISE, PIGGYBACK_SOFT, KSM_SOFTMAX, KSM_ELEMENTWISE)
