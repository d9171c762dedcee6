"""Crops of large images are torchvision's: the same boxes, and of the same box the same pixels within a grey level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as oracle

from benchmark.data.images import SHORT_SIDE, fit
from methods.engine import resized_crops
from methods.engine.augment import Augmenting
from methods.engine.resized_crops import by_products, central_boxes, one_by_one, random_boxes, triangle_weights
from methods.engine.stored_images import StoredImages

TALL, WIDE, SMALL, SQUARE = (700, 300), (300, 900), (60, 75), (256, 256)


class InMemory:
    """A store of images that are at hand."""

    channels = 3

    def __init__(self, images: list[NDArray[np.uint8]]) -> None:
        self.images = images
        self.shapes = np.array([image.shape[:2] for image in images], dtype=np.int64)

    def read(self, place: int) -> NDArray[np.uint8]:
        return self.images[place]


def picture(shape: tuple[int, int], seed: int = 0) -> Image.Image:
    """Noise: no picture changes more from pixel to pixel."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def stored(image: Image.Image, side: int = 256) -> Image.Image:
    return fit(image, side, SHORT_SIDE, whole=True)


def split(images: list[Image.Image], augmenting: Augmenting) -> StoredImages:
    """Not normalised: the network sees pixels over 255."""
    store = InMemory([np.asarray(image) for image in images])
    labels = torch.arange(len(images))
    return StoredImages(store, labels, (0.0,) * 3, (1.0,) * 3, augmenting, np.arange(len(images)))


def levels(inputs: torch.Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (inputs * 255).round().to(torch.int64).numpy()
    return found


def channels_first(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).transpose(2, 0, 1).astype(np.int64)


@pytest.mark.parametrize("resize", [one_by_one, by_products])
@pytest.mark.parametrize("shape", [TALL, WIDE, SMALL, SQUARE])
@pytest.mark.parametrize("size", [224, 50])
def test_a_box_gives_torchvisions_pixels(shape: tuple[int, int], size: int, resize: object) -> None:
    image = stored(picture(shape), max(size * 8 // 7, 57))
    boxes = random_boxes(np.array([[image.height, image.width]] * 12), torch.Generator().manual_seed(1))
    high, wide = boxes[:, 2:].max(0)
    pixels = np.full((12, high, wide, 3), 99, dtype=np.uint8)  # what lies beside a box must not come in
    for target, (top, left, height, width) in zip(pixels, boxes, strict=True):
        target[:height, :width] = np.asarray(image)[top : top + height, left : left + width]
    found = resize(torch.from_numpy(pixels), boxes[:, 2:], size)  # type: ignore[operator]
    for ours, (top, left, height, width) in zip(found, boxes.tolist(), strict=True):
        theirs = channels_first(oracle.resized_crop(image, top, left, height, width, [size, size]))
        assert np.abs(ours.numpy().astype(np.int64) - theirs).max() <= 1


def test_training_batches_are_torchvisions_crops_and_flips() -> None:
    """Order, boxes and flips are drawn anew from generators of the same seeds."""
    images = [stored(picture(shape, seed)) for seed, shape in enumerate((TALL, WIDE, SMALL, SQUARE, WIDE))]
    part = split(images, Augmenting(224, flip=True, random_resized_crop=True))
    (first, labels_1), (second, labels_2) = part.training_batches(3, seeded(1), seeded(2))
    order, augmentation = torch.randperm(5, generator=seeded(1)), seeded(2)
    boxes = random_boxes(part.store.shapes[order.numpy()], augmentation)
    flips = torch.rand(5, generator=augmentation) < 0.5
    assert torch.equal(torch.cat([labels_1, labels_2]), order) and flips.any() and not flips.all()
    seen = levels(torch.cat([first, second]))
    for ours, place, box, flip in zip(seen, order.tolist(), boxes.tolist(), flips.tolist(), strict=True):
        top, left, height, width = box
        theirs = oracle.resized_crop(images[place], top, left, height, width, [224, 224])
        theirs = oracle.hflip(theirs) if flip else theirs
        assert np.abs(ours - channels_first(theirs)).max() <= 1


@pytest.mark.parametrize("shape", [TALL, WIDE, SMALL, SQUARE, (301, 300), (300, 301), (333, 256)])
def test_evaluation_is_torchvisions_resize_and_centre_crop(shape: tuple[int, int]) -> None:
    """From the file as it is: exactly the same pixels."""
    original = picture(shape)
    part = split([stored(original)], Augmenting(224, flip=True, random_resized_crop=True))
    ((inputs, _),) = part.evaluation_batches(8)
    protocol = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    np.testing.assert_array_equal(levels(inputs)[0], channels_first(protocol(original)))
    np.testing.assert_array_equal(levels(part.single(0)[None])[0], levels(inputs)[0])


def test_without_random_crops_training_sees_the_flipped_centre() -> None:
    images = [picture((50, 80), seed) for seed in range(6)]
    part = split(images, Augmenting(50, flip=True))
    ((inputs, labels),) = part.training_batches(6, seeded(1), seeded(2))
    mirrored = 0
    for ours, place in zip(levels(inputs), labels.tolist(), strict=True):
        plain = channels_first(oracle.center_crop(images[place], [50, 50]))
        mirrored += not np.array_equal(ours, plain)
        assert np.array_equal(ours, plain) or np.array_equal(ours[:, :, ::-1], plain)
    assert 0 < mirrored < 6


def test_the_same_boxes_as_torchvision_in_distribution() -> None:
    """Means over 4,000 draws of each side and place; their standard errors are below 1 %."""
    height, width = 256, 400
    ours = random_boxes(np.array([[height, width]] * 4000), seeded(0)).astype(float)
    torch.manual_seed(0)
    blank = torch.empty(3, height, width)
    draw = transforms.RandomResizedCrop.get_params
    theirs = np.array([draw(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], dtype=float)
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), rtol=0.06)
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.06)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2]).max() == height and (ours[:, 1] + ours[:, 3]).max() == width  # up to the edges
    assert ours[:, 0].min() == 0 and ours[:, 1].min() == 0


def test_an_image_that_no_box_fits_is_cut_in_its_middle() -> None:
    """Ten rows, a thousand columns: the least area, 800 pixels, is 24 rows high at a ratio of 4 to 3."""
    boxes = random_boxes(np.array([[10, 1000], [1000, 10]]), seeded(0))
    assert boxes.tolist() == [[0, 493, 10, 13], [493, 0, 13, 10]]


def test_central_boxes_round_as_torchvision_does() -> None:
    assert central_boxes(np.array([[257, 256], [259, 300]]), 224).tolist() == [[16, 16, 224, 224], [18, 38, 224, 224]]


def test_triangle_weights_by_hand() -> None:
    """Four pixels to two: a triangle of half-width 2 at 1 and 3, so 1 - |x - 1| / 2 at 0.5, 1.5, 2.5 3, 3, 1 of 7."""
    expected = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    np.testing.assert_allclose(triangle_weights(torch.tensor([4]), 6, 2)[0, :, :4], expected, rtol=1e-6)
    assert triangle_weights(torch.tensor([4]), 6, 2)[0, :, 4:].abs().sum() == 0


def test_a_copy_at_256_differs_little_from_the_file(tmp_path: Path) -> None:
    """A smooth picture of 1,024 pixels: cropped from its file, or from the copy, the mean difference is small."""
    y, x = np.mgrid[0:1024, 0:1400] / 40
    waves = np.stack([np.sin(x) + np.cos(y), np.sin(x + y), np.cos(x - 2 * y)], -1)
    original = Image.fromarray((127.5 + 60 * waves).astype(np.uint8))
    copy = stored(original)
    for top, left, height, width in ((0, 0, 1024, 1024), (100, 300, 400, 500), (512, 0, 300, 250)):
        theirs = channels_first(oracle.resized_crop(original, top, left, height, width, [224, 224]))
        box = [round(side / 4) for side in (top, left, height, width)]
        ours = channels_first(oracle.resized_crop(copy, *box, [224, 224]))
        assert np.abs(ours - theirs).mean() < 4


def test_products_use_no_tensor_float() -> None:
    """Switched off while the products are made, and as it was after."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    try:
        matmul.allow_tf32 = True
        with resized_crops._exact_products():
            assert not matmul.allow_tf32
        assert matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_areas_are_between_the_bounds() -> None:
    boxes = random_boxes(np.array([[200, 300]] * 500), seeded(3)).astype(float)
    share, ratio = boxes[:, 2] * boxes[:, 3] / 60000, boxes[:, 3] / boxes[:, 2]
    assert share.min() > 0.075 and share.max() <= 1
    assert ratio.min() > 0.73 and ratio.max() < 1.37
