"""KSM and its ablation rows: a masked backbone at their points of the mask grid (``methods.ksm.card``).

The equations are in ``methods.engine.masks``; algorithm 1 is ``methods.engine.masked``.
"""

from __future__ import annotations

from methods.engine.masked import MaskedBackbone
from methods.ksm import card


class KSM(MaskedBackbone):
    """Yang, He, Zhang and Fan (CVPR 2021): kernel-wise soft masks with the sigmoid surrogate, BN per task."""

    card = card.KSM


class PiggybackKernelwise(MaskedBackbone):
    """Table 4, "Piggyback - Ker-wise": Piggyback with one mask bit per kernel."""

    card = card.PIGGYBACK_KERNELWISE


class PiggybackSoft(MaskedBackbone):
    """Table 4, "Piggyback - Soft": Piggyback with soft values."""

    card = card.PIGGYBACK_SOFT


class KSMSoftmax(MaskedBackbone):
    """Table 4, "Ours - Softmax": element units, sigmoid surrogate, no soft values."""

    card = card.KSM_SOFTMAX


class KSMElementwise(MaskedBackbone):
    """Table 4, "Ours - Ele-wise": KSM with one score per weight."""

    card = card.KSM_ELEMENTWISE
