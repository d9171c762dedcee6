"""What one answer costs in operations, whatever the device: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from methods.engine.tensor_data import Images


@contextmanager
def counting_flops() -> Iterator[Any]:
    """torch's counter of floating-point operations, to be asked ``get_total_flops()`` afterwards.

    Attention goes step by step inside: torch counts the matrix products of its fused kernels on some devices only.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def forward_flops(strategy: Any, label: int, images: Images) -> int:
    """Floating-point operations of one image's forward pass through the network of task ``label``.

    Those of convolutions and matrix products, as torch counts them; a multiplication and an addition are two. A weight
    that a mask sets to zero is multiplied like any other: dense kernels skip none.

    Args:
        strategy: a strategy that has learned the task.
        images: uint8 (n, channels, side, side), n at least 1; the first one is looked at.
    """
    strategy.look_at(label)
    batch, _ = next(iter(images.first(1).evaluation_batches(1)))
    with torch.compiler.set_stance("force_eager"), counting_flops() as counter:
        strategy.view(batch)
    return int(counter.get_total_flops())
