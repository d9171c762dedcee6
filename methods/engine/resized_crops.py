"""Random-resized and central crops of images of any size, as torchvision takes them from images of Pillow.

Boxes are drawn for many images at once; what lies in them is resized, and flipped, batch by batch on the device: by
torch's own kernel on the CPU, on a GPU by two products with the weights of a triangle filter, which is what Pillow's
bilinear resizing with antialiasing comes to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

Boxes = NDArray[np.int64]  #: (n, 4): top, left, height, width, in whole pixels

SCALE = (0.08, 1.0)  #: share of the image's area
RATIO = (3 / 4, 4 / 3)  #: width over height
TRIES = 10


def random_boxes(shapes: NDArray[np.int64], generator: torch.Generator) -> Boxes:
    """One box per image of these ``shapes`` (n, 2), height and width, by the rule of torchvision's RandomResizedCrop.

    Area uniform in ``SCALE``, aspect ratio log-uniform in ``RATIO``, sides rounded to whole pixels; the first of ten
    draws that fits is taken, anywhere in the image. Where none does: the largest central box of a ratio in ``RATIO``.
    """
    count = len(shapes)
    drawn = torch.rand((2 * TRIES + 2, count), generator=generator, device=generator.device)
    uniform = drawn.cpu().numpy().astype(np.float64)
    heights, widths = shapes[:, 0], shapes[:, 1]
    area = heights * widths * (SCALE[0] + (SCALE[1] - SCALE[0]) * uniform[:TRIES])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = np.exp(low + (high - low) * uniform[TRIES : 2 * TRIES])
    wide, tall = np.rint(np.sqrt(area * ratio)).astype(np.int64), np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (wide > 0) & (wide <= widths) & (tall > 0) & (tall <= heights)
    first, every = fits.argmax(0), np.arange(count)
    boxes = _largest_central(shapes)
    found = fits.any(0)
    height, width = tall[first, every][found], wide[first, every][found]
    top = np.minimum(uniform[-2][found] * (heights[found] - height + 1), heights[found] - height).astype(np.int64)
    left = np.minimum(uniform[-1][found] * (widths[found] - width + 1), widths[found] - width).astype(np.int64)
    boxes[found] = np.stack((top, left, height, width), 1)
    return boxes


def _largest_central(shapes: NDArray[np.int64]) -> Boxes:
    heights, widths = shapes[:, 0], shapes[:, 1]
    width = np.where(widths > heights * RATIO[1], np.rint(heights * RATIO[1]), widths).astype(np.int64)
    height = np.where(widths < heights * RATIO[0], np.rint(widths / RATIO[0]), heights).astype(np.int64)
    return np.stack(((heights - height) // 2, (widths - width) // 2, height, width), 1)


def central_boxes(shapes: NDArray[np.int64], size: int) -> Boxes:
    """The central ``size`` x ``size`` pixels of images of these ``shapes`` (n, 2), no smaller, with torchvision's
    rounding."""
    corners = np.rint((shapes - size) / 2).astype(np.int64)
    return np.concatenate((corners, np.full_like(corners, size)), 1)


def resized_boxes(pixels: Tensor, sides: Boxes, size: int, mirrored: Tensor | None = None) -> Tensor:
    """What lies in the boxes, resized as Pillow does, within one grey level.

    Args:
        pixels: uint8 (n, most height, most width, channels): each box at the top left of its place, the rest unused.
        sides: int64 (n, 2), heights and widths of the boxes.
        mirrored: bool (n,), on the device, which are to be flipped; None: none.

    Returns:
        uint8 (n, channels, size, size).
    """
    resize = one_by_one if pixels.device.type == "cpu" else by_products
    resized = resize(pixels, sides, size)
    return resized if mirrored is None else torch.where(mirrored[:, None, None, None], resized.flip(3), resized)


def one_by_one(pixels: Tensor, sides: Boxes, size: int) -> Tensor:
    """As ``resized_boxes``, by torch's kernel for bytes, which the CPU alone has."""
    resized = torch.empty((len(pixels), pixels.shape[3], size, size), dtype=torch.uint8)
    for target, image, (height, width) in zip(resized, pixels, sides.tolist(), strict=True):
        box = image[:height, :width].permute(2, 0, 1)[None]
        target.copy_(functional.interpolate(box, (size, size), mode="bilinear", antialias=True, align_corners=False)[0])
    return resized


def by_products(pixels: Tensor, sides: Boxes, size: int) -> Tensor:
    """As ``resized_boxes``: the whole batch by two products, since a GPU would wait for 32 small kernels."""
    count, high, wide, channels = pixels.shape
    lengths = torch.from_numpy(sides).to(pixels.device, non_blocking=True)
    rows, columns = triangle_weights(lengths[:, 0], high, size), triangle_weights(lengths[:, 1], wide, size)
    with _exact_products():
        squeezed = torch.bmm(rows, pixels.float().reshape(count, high, wide * channels))
        squeezed = squeezed.reshape(count, size, wide, channels).permute(0, 3, 1, 2).reshape(count, -1, wide)
        resized = torch.bmm(squeezed, columns.transpose(1, 2))
    return resized.round_().clamp_(0, 255).to(torch.uint8).reshape(count, channels, size, size)


def triangle_weights(lengths: Tensor, most: int, size: int) -> Tensor:
    """float32 (n, size, most): what each of ``most`` pixels adds to each of ``size`` ones; rows sum to 1. The first
    ``lengths`` (n,) pixels are there."""
    scale = (lengths.float() / size)[:, None, None]
    centres = (torch.arange(size, device=lengths.device) + 0.5)[None, :, None] * scale
    places = torch.arange(most, device=lengths.device)[None, None, :]
    weights = (1 - (places + 0.5 - centres).abs() / scale.clamp(min=1.0)).clamp_(min=0)
    weights *= places < lengths[:, None, None]
    return weights / weights.sum(2, keepdim=True)


@contextmanager
def _exact_products() -> Iterator[None]:
    """No TensorFloat-32, which would round the weights to ten bits."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32 = before
