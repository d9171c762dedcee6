"""What one answer costs in operations, whatever the device: counted, not timed."""

from __future__ import annotations

from typing import Any

import torch

from methods.engine.tensor_data import Images


@torch.no_grad()
def forward_flops(strategy: Any, label: int, images: Images) -> int:
    """Floating-point operations of one image's forward pass through the network of task ``label``.

    Those of convolutions and matrix products, as torch counts them; a multiplication and an addition are two. A weight
    that a mask sets to zero is multiplied like any other: dense kernels skip none.

    Args:
        strategy: a strategy that has learned the task.
        images: uint8 (n, channels, side, side), n at least 1; the first one is looked at.
    """
    from torch.utils.flop_counter import FlopCounterMode

    strategy.look_at(label)
    batch, _ = next(iter(images.first(1).evaluation_batches(1)))
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        strategy.view(batch)
    return int(counter.get_total_flops())
