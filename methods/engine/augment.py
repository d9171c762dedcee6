"""Training augmentation, batch by batch on the device, each draw from a generator of its own.

Everything works on uint8 batches (n, channels, height, width) but cutout, which follows normalisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor


@dataclass(frozen=True)
class Augmenting:
    """What is done to training images; ``size`` is the side of what the network sees, in pixels."""

    size: int
    crop_padding: int = 0
    flip: bool = False
    random_resized_crop: bool = False
    cutout: int = 0


def centre_crop(images: Tensor, size: int) -> Tensor:
    """The central ``size`` x ``size`` pixels (torchvision's rounding); the images themselves when they fit."""
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    top, left = round((height - size) / 2), round((width - size) / 2)
    return images[..., top : top + size, left : left + size]


def resized(images: Tensor, size: int, how: str) -> Tensor:
    """uint8 (n, c, height, width) -> (n, c, size, size), by the rule that a scenario's images were stored with.

    Args:
        how: "exact": squashed; "short-side": the shorter side to ``size``, then the central square.

    Bilinear with antialiasing, as torchvision does on tensors; Pillow's may differ by a grey level.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    short = min(height, width)
    wanted = (size, size) if how == "exact" else (size * height // short, size * width // short)
    if wanted != (height, width):
        scaled = functional.interpolate(images.float(), wanted, mode="bilinear", antialias=True, align_corners=False)
        images = scaled.round_().clamp_(0, 255).to(torch.uint8)
    return centre_crop(images, size)


def crop_and_flip(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crop of the images' own size after zero padding, and a flip with probability 1/2, in one gather."""
    count, _, height, width = images.shape
    device = images.device
    offsets = torch.randint(0, 2 * padding + 1, (2, count), generator=generator, device=device)
    rows = offsets[0, :, None] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(count, width)
    if flip:
        mirrored = torch.rand(count, generator=generator, device=device) < 0.5
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    columns = columns + offsets[1, :, None]
    padded = functional.pad(images, (padding,) * 4) if padding else images
    every = torch.arange(count, device=device)[:, None, None]
    return padded[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def resized_crop_boxes(
    count: int, generator: torch.Generator, device: torch.device, tries: int = 10
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes (top, left, height, width), each (count,), as fractions of a square image.

    Area uniform in [0.08, 1], aspect ratio log-uniform in [3/4, 4/3], as torchvision's RandomResizedCrop; the first
    of ``tries`` draws that fits is taken, the whole image when none does.
    """
    area = torch.empty(tries, count, device=device).uniform_(0.08, 1.0, generator=generator)
    bound = math.log(4 / 3)
    ratio = torch.empty(tries, count, device=device).uniform_(-bound, bound, generator=generator).exp()
    widths, heights = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (widths <= 1) & (heights <= 1)
    first = fits.to(torch.int8).argmax(0, keepdim=True)
    fallback = ~fits.any(0)
    width = torch.where(fallback, 1.0, widths.gather(0, first)[0])
    height = torch.where(fallback, 1.0, heights.gather(0, first)[0])
    position = torch.rand(2, count, generator=generator, device=device)
    return position[0] * (1 - height), position[1] * (1 - width), height, width


def random_resized_crop(images: Tensor, size: int, flip: bool, generator: torch.Generator) -> Tensor:
    """RandomResizedCrop to ``size`` (and a flip with probability 1/2) by one bilinear ``grid_sample``; uint8 out."""
    count, device = len(images), images.device
    top, left, height, width = resized_crop_boxes(count, generator, device)
    sign = torch.ones(count, device=device)
    if flip:
        sign = torch.where(torch.rand(count, generator=generator, device=device) < 0.5, -1.0, 1.0)
    # by hand: ``affine_grid`` is a matrix product, whose coordinates TensorFloat-32 would round to a tenth of a pixel
    centres = (2 * torch.arange(size, device=device) + 1) / size - 1
    columns = centres * (width * sign)[:, None] + (2 * left + width - 1)[:, None]
    rows = centres * height[:, None] + (2 * top + height - 1)[:, None]
    shape = (count, size, size)
    grid = torch.stack((columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), dim=-1)
    sampled = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return sampled.round_().to(torch.uint8)


def cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Zero one square of ``side`` pixels per image, centred anywhere (float images, in place)."""
    count, _, height, width = images.shape
    device = images.device
    centre = torch.rand(2, count, generator=generator, device=device)
    rows = torch.arange(height, device=device) - (centre[0] * height).floor()[:, None]
    columns = torch.arange(width, device=device) - (centre[1] * width).floor()[:, None]
    half = side // 2
    hole = ((rows >= -half) & (rows < half))[:, :, None] & ((columns >= -half) & (columns < half))[:, None, :]
    return images.masked_fill_(hole[:, None], 0.0)


def augmented(images: Tensor, how: Augmenting, generator: torch.Generator) -> Tensor:
    """The geometric part on a uint8 batch: crop, resize, flip; without any of them the centre crop."""
    if how.random_resized_crop:
        return random_resized_crop(images, how.size, how.flip, generator)
    if how.crop_padding or how.flip:
        return crop_and_flip(centre_crop(images, how.size), how.crop_padding, how.flip, generator)
    return centre_crop(images, how.size)
