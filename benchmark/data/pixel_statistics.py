"""Mean and standard deviation of images, exact and in little memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK = 4096  #: images counted at a time


def mean_and_std(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Per channel over all pixels of ``images`` (n, channels, height, width), scaled to [0, 1].

    Computed from the 256 counts of each channel, so it is exact however many images there are. A channel that is
    constant has standard deviation 1, not 0, since it is divided by.
    """
    moments = Moments(images.shape[1])
    for start in range(0, len(images), CHUNK):
        chunk = np.asarray(images[start : start + CHUNK])
        for channel, count in enumerate(moments.counts):
            count += np.bincount(chunk[:, channel].ravel(), minlength=256)
    return moments.mean_and_std()


class Moments:
    """Mean and deviation of images that come one after another. ``counts``: int64 (channels, 256), of every value."""

    def __init__(self, channels: int) -> None:
        self.counts = np.zeros((channels, 256), dtype=np.int64)

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Count ``pixels`` (n, channels)."""
        for channel, count in enumerate(self.counts):
            count += np.bincount(pixels[:, channel], minlength=256)

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Per channel, scaled to [0, 1]; see :func:`mean_and_std`."""
        values = np.arange(256) / 255
        weights = self.counts / self.counts.sum(axis=1, keepdims=True)
        means = weights @ values
        deviations = np.sqrt((weights * (values - means[:, None]) ** 2).sum(axis=1))
        return means.tolist(), [float(deviation) or 1.0 for deviation in deviations]
