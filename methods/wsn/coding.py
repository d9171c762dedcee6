"""How small the masks of several tasks become when they are coded together."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import torch
from torch import Tensor

#: tasks whose bits make one symbol
LONGEST_SYMBOL = 16
#: bits of a symbol's code length in the table
LENGTH_BITS = 8


def huffman_bits(counts: Sequence[int]) -> int:
    """Bits of a text in Huffman's code, from how often each symbol occurs; one bit each where there is one symbol."""
    heap = list(counts)
    if len(heap) == 1:
        return heap[0]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total


def coded_bits(masks: Sequence[Tensor]) -> int:
    """Bits of the tasks' masks (each bool (elements,)), coded together, with the table.

    A weight's bits in up to sixteen tasks are one symbol; the table holds every symbol that occurs and the length of
    its code.
    """
    total = 0
    for start in range(0, len(masks), LONGEST_SYMBOL):
        part = masks[start : start + LONGEST_SYMBOL]
        symbols = torch.zeros(len(part[0]), dtype=torch.int64, device=part[0].device)
        for bit, mask in enumerate(part):
            symbols |= mask.to(torch.int64) << bit
        counts = torch.unique(symbols, return_counts=True)[1].tolist()
        total += huffman_bits(counts) + len(counts) * (len(part) + LENGTH_BITS)
    return total
