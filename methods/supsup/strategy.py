"""SupSup (Wortsman et al., NeurIPS 2020): which weights of a random network a task uses.

The backbone is random, +s or -s in every layer (``methods.engine.backbones.signed_constant``), and never trains. A task
learns one score per weight; the weights with the largest scores by magnitude make its network
(``methods.engine.masks``, keep rule "top-magnitude"), with BN statistics and a head of its own.
"""

from __future__ import annotations

from torch import Tensor, nn

from methods.engine.frozen import Update
from methods.engine.masked import SCORES, MaskedBackbone
from methods.supsup.card import SUPSUP, SupSupSettings


class SupSup(MaskedBackbone):
    """Supermasks on a random backbone; BN per task without affine parameters unless ``settings.bn_affine``."""

    card = SUPSUP
    settings: SupSupSettings

    def own_norms(self) -> dict[str, Tensor]:
        """See ``Method.own_norms``; affine parameters stay 1 and 0 unless they train."""
        norms = super().own_norms()
        if self.settings.bn_affine:
            return norms
        return {name: tensor for name, tensor in norms.items() if not isinstance(tensor, nn.Parameter)}

    def update_of(self, name: str) -> Update:
        """Adam or SGD; scores may decay."""
        settings = self.settings
        return Update(settings.optimizer, settings.momentum, settings.score_decay if name == SCORES else 0.0)
