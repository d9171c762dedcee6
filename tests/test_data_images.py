"""Images load as a person would expect, and are resized as torchvision does."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmark.data.images import EXACT, SHORT_SIDE, Preparation, decode, decode_into, fit
from benchmark.errors import RequestError

TWO = Preparation(size=2, resize=EXACT)
GREY = Preparation(size=2, resize=EXACT, channels=1)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(values: object, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(values, dtype=dtype))


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def by_channel(*channels: object) -> NDArray[np.uint8]:
    return np.array(channels, dtype=np.uint8)


def test_colour_is_channels_first() -> None:
    image = pixels([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]])
    np.testing.assert_array_equal(
        decode(encoded(image), "x", TWO), by_channel([[1, 4], [7, 10]], [[2, 5], [8, 11]], [[3, 6], [9, 12]])
    )


def test_grey_becomes_three_equal_channels_or_one() -> None:
    image = encoded(pixels([[0, 50], [100, 255]]))
    np.testing.assert_array_equal(decode(image, "x", TWO), by_channel(*[[[0, 50], [100, 255]]] * 3))
    np.testing.assert_array_equal(decode(image, "x", GREY), by_channel([[0, 50], [100, 255]]))


def test_colour_as_grey_is_its_luminance() -> None:
    """ITU-R 601: 0.299 red, 0.587 green, 0.114 blue."""
    image = pixels([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])
    np.testing.assert_array_equal(decode(encoded(image), "x", GREY), by_channel([[76, 150], [29, 255]]))


def test_black_and_white() -> None:
    image = pixels([[0, 255], [255, 0]]).convert("1")
    np.testing.assert_array_equal(decode(encoded(image), "x", GREY), by_channel([[0, 255], [255, 0]]))


def test_palette() -> None:
    palette = Image.new("P", (2, 2))
    palette.putpalette([10, 20, 30, 200, 100, 0])
    palette.putdata([0, 1, 1, 0])
    expected = by_channel([[10, 200], [200, 10]], [[20, 100], [100, 20]], [[30, 0], [0, 30]])
    np.testing.assert_array_equal(decode(encoded(palette), "x", TWO), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_is_on_white(mode: str) -> None:
    """A black drawing on a transparent ground, as sketches come: not all black. Half transparent black is mid grey."""
    black = (0,) * (len(mode) - 1)
    image = Image.new(mode, (2, 2), (*black, 0))
    image.putpixel((0, 0), (*black, 255))
    image.putpixel((1, 1), (*black, 128))
    np.testing.assert_array_equal(decode(encoded(image), "x", GREY), by_channel([[0, 255], [255, 127]]))


def test_transparent_palette_colour_is_on_white() -> None:
    image = Image.new("P", (2, 2))
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.putdata([0, 1, 1, 0])
    np.testing.assert_array_equal(decode(encoded(image, transparency=0), "x", GREY), by_channel([[255, 9], [9, 255]]))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_is_scaled_not_clipped(kind: str) -> None:
    """65535 / 257 = 255, 32768 / 257 = 127.5, 257 / 257 = 1."""
    image = pixels([[0, 257], [32768, 65535]], np.uint16)
    np.testing.assert_array_equal(decode(encoded(image, kind), "x", GREY), by_channel([[0, 1], [128, 255]]))
    assert decode(encoded(image, kind), "x", TWO).shape == (3, 2, 2)


def test_cmyk() -> None:
    """No ink is white, all black ink is black, all cyan is no red; JPEG keeps flat colours within a few levels."""
    for ink, colour in (((0, 0, 0, 0), (255, 255, 255)), ((0, 0, 0, 255), (0, 0, 0)), ((255, 0, 0, 0), (0, 255, 255))):
        found = decode(encoded(Image.new("CMYK", (2, 2), ink), "JPEG", quality=100), "x", TWO)
        np.testing.assert_allclose(found[:, 0, 0], colour, atol=3)


def test_exif_rotation() -> None:
    """Orientation 6: the camera was turned, the first row of the file is the right column of the picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = pixels([[10, 20], [30, 40]])
    np.testing.assert_array_equal(decode(encoded(image, exif=exif), "x", GREY), by_channel([[30, 10], [40, 20]]))


def test_floating_point_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^scan\.tif does not decode: its pixels are float32"):
        decode(encoded(pixels([[0.5, 1.0]], np.float32), "TIFF"), "scan.tif", TWO)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_broken_images_name_the_file(kind: str, tmp_path: Path) -> None:
    content = encoded(noise(64, 64), kind)
    for broken in (content[: len(content) // 2], b"", b"no image at all", content[:30]):
        path = tmp_path / "bird.img"
        path.write_bytes(broken)
        with pytest.raises(RequestError, match=r"bird\.img does not decode: "):
            decode(path, str(path), TWO)


@pytest.mark.parametrize("size", [7, 32, 50])
@pytest.mark.parametrize(("height", "width"), [(40, 40), (31, 57), (57, 31), (33, 32), (7, 8)])
def test_resizing_is_torchvisions(height: int, width: int, size: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = noise(height, width)
    short = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])(image)
    np.testing.assert_array_equal(np.asarray(fit(image, size, SHORT_SIDE)), np.asarray(short))
    exact = transforms.Resize((size, size))(image)
    np.testing.assert_array_equal(np.asarray(fit(image, size, EXACT)), np.asarray(exact))


@pytest.mark.parametrize("threaded_from", [0, 10**9])
def test_many_images_keep_their_order(threaded_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.data.images.THREADED_BYTES", threaded_from)
    monkeypatch.setattr("benchmark.data.images.CHUNK", 4)
    images = [encoded(Image.new("L", (2, 2), value)) for value in range(10)]
    target = np.zeros((10, 1, 2, 2), dtype=np.uint8)
    calls: list[tuple[str, int, int]] = []
    decode_into(target, zip(map(str, range(10)), images, strict=True), GREY, "digits", lambda *call: calls.append(call))
    assert target[:, 0, 0, 0].tolist() == list(range(10))
    assert calls == [("digits", done, 10) for done in (0, 4, 8, 10)]


def test_a_broken_image_among_many_is_named() -> None:
    pairs = [("a.png", encoded(Image.new("L", (2, 2)))), ("b.png", b"?")]
    with pytest.raises(RequestError, match=r"^b\.png does not decode: not an image that can be read\.$"):
        decode_into(np.zeros((2, 1, 2, 2), dtype=np.uint8), pairs, GREY, "x")
