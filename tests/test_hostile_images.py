"""Files that only pretend to be images, and images that would cost more than they are worth."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import EpsImagePlugin, Image, features

from benchmark.data.cifar import open_cifar
from benchmark.data.folders import folder_source
from benchmark.data.images import EXACT, MOST_PIXELS, Preparation, Refused, as_seen, decode, fit
from benchmark.data.listing import TaskSource
from benchmark.data.parquet import parquet_source
from benchmark.data.tasks import read_task
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, Task, silent

REPOSITORY = Path(__file__).resolve().parent.parent
GREY = Preparation(8, EXACT, 1)
#: a program in PostScript that never ends
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n{} loop\n"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(count: int) -> bytes:
    """So many zeros, compressed."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    parts = [packer.compress(block[: min(1 << 20, count - start)]) for start in range(0, count, 1 << 20)]
    return b"".join(parts) + packer.flush()


def black(width: int, height: int, *extra: bytes) -> bytes:
    """A black grey-level PNG, written without its pixels in memory; ``extra`` chunks come before them."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zeros(min(height * (width + 1), 1 << 22))
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of two images in train and in test."""
    for split in ("train", "test"):
        for level, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(2):
                (folder / f"{number}.png").write_bytes(encoded(Image.new("L", (8, 8), 50 * level + number)))
    return tmp_path / "pets"


def load(source: TaskSource, skip_broken: bool = False) -> Task:
    return read_task(1, "pets", source, GREY, None, Augmentation(), silent, skip_broken)[0]


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A program ``gs`` that only leaves a mark. Returns: was it started since it was last asked?"""
    mark, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)

    def started() -> bool:
        found = mark.exists()
        mark.unlink(missing_ok=True)
        return found

    return started


def test_the_stand_in_for_ghostscript_is_found(ghostscript: Callable[[], bool]) -> None:
    """Without a list of formats Pillow does start it; this is what the two tests below rest on."""
    with pytest.raises(OSError), Image.open(io.BytesIO(EPS)) as image:
        image.load()
    assert ghostscript() and not ghostscript()


def test_postscript_in_a_class_folder_starts_nothing(pets: Path, ghostscript: Callable[[], bool]) -> None:
    (pets / "train/cat/9.png").write_bytes(EPS)
    with pytest.raises(
        RequestError, match=r"/train/cat/9\.png does not decode: not an image that can be read\. Repair"
    ):
        load(folder_source(pets))
    assert len(load(folder_source(pets), skip_broken=True).train) == 4
    assert not ghostscript()


def test_postscript_in_a_parquet_cell_starts_nothing(tmp_path: Path, ghostscript: Callable[[], bool]) -> None:
    cells = [encoded(Image.new("L", (8, 8), 1)), EPS, encoded(Image.new("L", (8, 8), 2))]
    for name, images in (("train", cells), ("test", cells[::2])):
        labels = [0, 0, 1] if name == "train" else [0, 1]
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / f"{name}.parquet")
    source = parquet_source([tmp_path / "train.parquet"], [tmp_path / "test.parquet"])
    with pytest.raises(RequestError, match=r"train\.parquet, row 1 does not decode: not an image that can be read\."):
        load(source)
    assert not ghostscript()


@pytest.mark.parametrize(
    ("kind", "ending", "options"),
    [
        ("JPEG", ".jpg", {}),
        ("MPO", ".jpg", {}),
        ("PNG", ".png", {}),
        ("WEBP", ".webp", {}),
        pytest.param("AVIF", ".avif", {}, marks=pytest.mark.skipif(not features.check("avif"), reason="no AVIF here")),
        ("BMP", ".bmp", {}),
        ("GIF", ".gif", {}),
        ("TIFF", ".tif", {}),
        ("TIFF", ".tiff", {"compression": "tiff_lzw"}),
        ("TGA", ".tga", {}),
        ("TGA", ".tga", {"compression": "tga_rle"}),
        ("JPEG2000", ".jp2", {}),
        ("JPEG2000", ".j2k", {"no_jp2": True}),
        ("PPM", ".ppm", {}),
    ],
)
def test_every_format_of_the_documents_is_read(kind: str, ending: str, options: dict[str, Any], tmp_path: Path) -> None:
    content = encoded(Image.new("RGB", (16, 16), (200, 100, 50)), kind, **options)
    path = tmp_path / f"image{ending}"
    path.write_bytes(content)
    for given in (path, content):
        found = decode(given, "x", Preparation(8))
        np.testing.assert_allclose(found[:, 4, 4], (200, 100, 50), atol=6)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_the_grey_kinds_of_pnm_are_read(mode: str) -> None:
    assert decode(encoded(Image.new(mode, (8, 8), 255), "PPM"), "x", GREY).min() == 255


@pytest.mark.parametrize("kind", ["ICO", "PCX", "SGI", "DDS", "ICNS", "IM", "SPIDER"])
def test_other_formats_are_not_tried(kind: str, tmp_path: Path) -> None:
    """Pillow reads them all; here they count as broken, under whatever name."""
    content = encoded(Image.new("F" if kind == "SPIDER" else "RGB", (16, 16)), kind)
    assert Image.open(io.BytesIO(content)).format == kind
    path = tmp_path / "image.png"
    path.write_bytes(content)
    for given in (path, content):
        with pytest.raises(RequestError, match=r"^image\.png does not decode: not an image that can be read\.$"):
            decode(given, "image.png", GREY)


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "told"),
    [
        (1, 1_000_000, "has 1 x 1,000,000 pixels; its longer side may be at most 100 times the shorter"),
        (1_000_000, 1, "has 1,000,000 x 1 pixels; its longer side may be at most 100 times the shorter"),
        (8, 801, "has 8 x 801 pixels; its longer side may be at most 100 times the shorter"),
        (13_300, 13_300, "has 13,300 x 13,300 pixels; an image may have at most 175,000,000"),
        (60_000, 60_000, "has 3,600,000,000 pixels; an image may have at most 175,000,000"),
    ],
)
def test_images_beyond_the_bounds(width: int, height: int, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode(black(width, height), "scan.png", GREY)
    assert str(caught.value) == f"scan.png {told}."


def test_images_at_the_bounds_are_read() -> None:
    assert decode(black(8, 800), "x", GREY).shape == decode(black(800, 8), "x", GREY).shape == (1, 8, 8)
    assert 12_032 * 9_024 < 14_204 * 10_652 < MOST_PIXELS  # a telephone's camera and a studio's


def test_what_the_shorter_sides_size_would_make_of_it_is_bounded() -> None:
    """1,000 x 100,000 pixels brought to a shorter side of 4,096 would be 4,096 x 409,600, some 1.7 billion."""
    with pytest.raises(
        Refused, match=r"^has 10 x 1,000 pixels; with a shorter side of 4,096 they would be 4,096 x 409,"
    ):
        fit(Image.new("L", (10, 1000)), 4096, "short-side")


PEAK = """
import resource, sys
from pathlib import Path
from benchmark.data.images import Preparation, decode
from benchmark.errors import RequestError
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
decode(Path(sys.argv[1]), "x", Preparation(224))
before = peak()
try:
    told = decode(Path(sys.argv[2]), "x", Preparation(224)).shape
except RequestError as error:
    told = error
print(peak() - before, told)
"""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda: black(1, 1_000_000), "its longer side may be"),
        (lambda: black(8, 8, chunk(b"zTXt", b"x\0\0" + zeros(1 << 29))), "Decompressed data too large"),
        (lambda: black(8, 8, chunk(b"iCCP", b"x\0\0" + zeros(1 << 29))), "Decompressed data too large"),
        (lambda: black(8, 8, *[chunk(b"zTXt", b"x\0\0" + zeros(1_000_000))] * 200), "Too much memory used in text"),
        (lambda: black(8, 8, chunk(b"IDAT", zeros(1 << 29))), "(3, 224, 224)"),  # what is too much is not unpacked
    ],
    ids=["thin", "text", "profile", "many texts", "pixels"],
)
def test_bombs_take_little_memory(content: Callable[[], bytes], told: str, tmp_path: Path) -> None:
    """Half a GiB once unpacked, or 4.6 GiB once resized; no more than 64 MiB of it is ever there."""
    (tmp_path / "plain.png").write_bytes(black(8, 8))
    (tmp_path / "bomb.png").write_bytes(content())
    assert (tmp_path / "bomb.png").stat().st_size < 1 << 20
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "plain.png", "bomb.png"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    mebibytes, _, answer = done.stdout.strip().partition(" ")
    assert told.lower() in answer.lower() and int(mebibytes) < 64, done.stdout


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_many_frames_the_first_is_read(kind: str) -> None:
    """The others are not even counted."""
    frames = [Image.new("RGB", (8, 8), (number % 256, number // 256, 0)) for number in range(300, 0, -1)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    found = decode(content, "x", Preparation(8))
    np.testing.assert_allclose(found[:, 4, 4], (300 - 256, 1, 0), atol=6)


def test_a_tiff_whose_pages_lead_back_to_the_first() -> None:
    content = bytearray(encoded(Image.new("L", (8, 8), 7), "TIFF"))
    (start,) = struct.unpack("<I", content[4:8])
    (entries,) = struct.unpack("<H", content[start : start + 2])
    after = start + 2 + 12 * entries
    content[after : after + 4] = struct.pack("<I", start)
    assert decode(bytes(content), "x", GREY).max() == 7


def test_transparent_images_are_composed_alike_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    colours = Image.fromarray(generator.integers(0, 256, (10, 7, 4), dtype=np.uint8))
    palette = Image.fromarray(generator.integers(0, 4, (10, 7), dtype=np.uint8)).convert("P")
    palette.info["transparency"] = 2
    for image in (colours, palette, colours.convert("LA")):
        white = Image.new("RGBA", image.size, "white")
        expected = np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
        for rows in (1, 3, 10, 1024):
            monkeypatch.setattr("benchmark.data.images.ROWS_AT_A_TIME", rows)
            np.testing.assert_array_equal(np.asarray(as_seen(image, 3)), expected)


# --- what is no ordinary file -----------------------------------------------------------------------------------------


def endless(folder: Path) -> list[Path]:
    """A pipe that nobody writes to, a link to it, and a link to a device that never ends."""
    pipe, link, zero = (folder / f"{name}.png" for name in ("pipe", "link", "zero"))
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    zero.symlink_to("/dev/zero")
    return [pipe, link, zero]


@pytest.mark.timeout(10)
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    for path in endless(tmp_path):
        started = time.monotonic()
        with pytest.raises(RequestError) as caught:
            decode(path, str(path), GREY)
        assert str(caught.value) == f"{path} cannot be read: it is no ordinary file."
        assert time.monotonic() - started < 1


@pytest.mark.timeout(10)
def test_pipes_and_devices_in_a_class_folder(pets: Path) -> None:
    endless(pets / "train/cat")
    with pytest.raises(
        RequestError, match=r"^3 of 11 images are broken: \S*/link\.png cannot be read: it is no ordinary"
    ):
        load(folder_source(pets))


@pytest.mark.timeout(10)
def test_whatever_is_wrong_with_them_they_count_as_broken(pets: Path) -> None:
    folder = pets / "train/cat"
    endless(folder)
    (folder / "program.png").write_bytes(EPS)
    (folder / "thin.png").write_bytes(black(1, 1000))
    (folder / "large.png").write_bytes(black(60_000, 60_000))
    task = load(folder_source(pets), skip_broken=True)
    assert len(task.train) == 4 and len(task.test) == 4
    (note,) = task.notes
    assert note.startswith("broken images were left out, 6 in all: ")
    for name in ("pipe", "link", "zero", "program", "thin", "large"):
        assert f"{folder}/{name}.png " in note


def test_a_pipe_in_the_place_of_an_image_is_another_content(pets: Path) -> None:
    (pets / "train/cat/2.png").write_bytes(encoded(Image.new("L", (8, 8), 9)))
    assert len(load(folder_source(pets), skip_broken=True).train) == 5
    (pets / "train/cat/2.png").unlink()
    os.mkfifo(pets / "train/cat/2.png")
    assert len(load(folder_source(pets), skip_broken=True).train) == 4


@pytest.mark.timeout(10)
@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "."])
def test_parquet_files_are_ordinary_files(target: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "train.parquet").symlink_to(target)
    with pytest.raises(RequestError, match=r"/train\.parquet cannot be read \(it is no ordinary file\); put a parquet"):
        parquet_source([tmp_path / "train.parquet"], [tmp_path / "train.parquet"])


@pytest.mark.timeout(10)
def test_a_pipe_among_cifars_files(tmp_path: Path) -> None:
    for split in ("train", "test"):
        os.mkfifo(tmp_path / f"{split}-0.parquet")
    with pytest.raises(RequestError, match=r"/train-0\.parquet cannot be read \(it is no ordinary file\)"):
        open_cifar(tmp_path, silent, "")
