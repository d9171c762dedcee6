"""XBM is a masked backbone at its own point of the mask grid (``methods.xbm.card``)."""

from __future__ import annotations

from methods.engine.masked import MaskedBackbone
from methods.xbm.card import MASK_MEMORY
from methods.xbm.card import XBM as CARD


class XBM(MaskedBackbone):
    """Zhang et al. (ASP-DAC 2022): one bit for each block of ``mask.rows`` weights of an output, BN per task."""

    card = CARD

    def measures(self) -> dict[str, float]:
        """Bits of a mask over the weights that it masks."""
        return {MASK_MEMORY.name: 100 * self.layout.units / self.layout.elements}
