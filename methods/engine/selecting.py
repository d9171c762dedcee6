"""Selecting by rank on a CPU, by numpy: its selection takes a fraction of the time of torch's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kth_smallest(numbers: NDArray[np.float32], rank: int) -> float:
    """The ``rank``-th smallest of (n,) numbers, counted from 1."""
    return float(np.partition(numbers, rank - 1)[rank - 1])
