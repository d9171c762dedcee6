"""Affine masks (Mancini, Ricci, Caputo and Rota Bulò, ECCV workshops 2018 and Machine Vision and Applications 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from methods.card import Card, Look, Measure, Promises
from methods.engine.knobs import knob
from methods.piggyback.card import MASK
from methods.settings import MASKED_PROTOCOLS, MaskedSettings
from methods.xbm.card import CAVEAT

#: which scalars of k0 W + k1 + k2 B + k3 W B a paper trains; the others stay as they start
FORMS = ("2018", "2021")


@dataclass(frozen=True)
class AffineSettings(MaskedSettings):
    """Masks, and the scalars of a layer."""

    form: str = knob(
        "2021", "scalars that train: all four (2021), or k1 and k2 beside the plain weights (2018)", choices=FORMS
    )
    scalar_lr: float | None = knob(None, "Adam's rate for the scalars; none: lr; 0 holds them fixed")


BITS_PER_WEIGHT = Measure(
    "bits_per_weight",
    "Added bits per weight",
    "bits",
    "mask and scalars of one task over the weights that they transform; the abstract says slightly more than 1",
)

AFFINE = Card(
    name="affine",
    title="Affine masks",
    summary="element-wise binary masks in an affine transformation of each layer, BN per task (ECCV workshops 2018)",
    strategy="methods.affine.strategy:AffineMasks",
    settings=AffineSettings(),
    mask=MASK,
    family="masked",
    paper="Mancini, Ricci, Caputo and Rota Bulò, ECCV workshops 2018 and MVA 2021",
    published="2018-09",
    order=1,
    groups=("masks",),
    promises=Promises(frozen_backbone=True),
    restore="methods.affine.transform:affine_weights",
    protocols=MASKED_PROTOCOLS,
    look=Look("#7a3fd1", "#c2a2f7", "3"),
    measures=(BITS_PER_WEIGHT,),
    caveat=CAVEAT,
)

CARDS = (AFFINE,)
