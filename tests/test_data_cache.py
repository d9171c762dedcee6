"""The cache of decoded images: keyed by content, whole or rebuilt, instant the second time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data import digest
from benchmark.data.cache import Create, cache_folder, key_of, open_or_build
from benchmark.data.digest import content_digest
from benchmark.data.pixel_statistics import mean_and_std
from benchmark.errors import RequestError
from results.temporary import temporary_folder

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MASKBENCH_CACHE", str(folder))
    return folder


class Builder:
    """Counts how often it had to build."""

    def __init__(self) -> None:
        self.built = 0

    def __call__(self, create: Create) -> dict[str, Any]:
        self.built += 1
        create("images", VALUES.shape, np.uint8)[:] = VALUES
        return {"names": ["a", "b"]}


def entry_file(cache: Path, name: str) -> Path:
    (found,) = cache.glob(f"decoded/*/{name}")
    return found


def test_built_once_then_mapped_read_only() -> None:
    builder = Builder()
    for _ in range(2):
        entry = open_or_build("test", key_of("k"), builder)
    assert builder.built == 1
    assert isinstance(entry.arrays["images"], np.memmap) and not entry.arrays["images"].flags.writeable
    np.testing.assert_array_equal(entry.arrays["images"], VALUES)
    assert entry.meta == {"names": ["a", "b"]}


def test_another_key_is_another_entry() -> None:
    builder = Builder()
    open_or_build("test", key_of("k"), builder)
    open_or_build("test", key_of("other"), builder)
    assert builder.built == 2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    os.utime(path, ns=(0, time.time_ns() + 10**9))


def overwrite(path: Path) -> None:
    path.write_text("{ not json")


def lose_a_key(path: Path) -> None:
    path.write_text(json.dumps({"arrays": []}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.npy", truncate),
        ("images.npy", flip_a_byte),
        ("images.npy", overwrite),
        ("images.npy", Path.unlink),
        ("entry.json", truncate),
        ("entry.json", overwrite),
        ("entry.json", lose_a_key),
        ("entry.json", Path.unlink),
    ],
)
def test_a_damaged_entry_is_rebuilt(cache: Path, name: str, damage: Any) -> None:
    builder = Builder()
    open_or_build("test", key_of("k"), builder)
    damage(entry_file(cache, name))
    entry = open_or_build("test", key_of("k"), builder)
    assert builder.built == 2
    np.testing.assert_array_equal(entry.arrays["images"], VALUES)
    open_or_build("test", key_of("k"), builder)
    assert builder.built == 2


def test_a_copied_entry_still_serves(cache: Path) -> None:
    """Times change when a cache is copied to another machine; the checksum decides."""
    builder = Builder()
    open_or_build("test", key_of("k"), builder)
    os.utime(entry_file(cache, "images.npy"), ns=(0, 0))
    open_or_build("test", key_of("k"), builder)
    assert builder.built == 1


def test_a_builder_that_fails_leaves_nothing(cache: Path) -> None:
    def failing(create: Create) -> dict[str, Any]:
        create("images", (2,), np.uint8)
        raise RequestError("broken image")

    with pytest.raises(RequestError, match="broken image"):
        open_or_build("test", key_of("k"), failing)
    assert not list(cache.glob("decoded/.*")) and not list(cache.glob("decoded/*/*"))


def test_leftovers_of_killed_processes_go(cache: Path) -> None:
    left = cache / "decoded/.a.abcd_123.part"
    left.mkdir(parents=True)
    (left / "images.npy").write_bytes(b"half")
    with temporary_folder(cache / "decoded/b") as at_work:
        open_or_build("test", key_of("k"), Builder())
        assert not left.exists()
        assert at_work.exists(), "a process is building it"


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(RequestError, match="MASKBENCH_CACHE"):
        open_or_build("test", key_of("k"), Builder())


def test_a_full_disk_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))  # type: ignore[attr-defined]
    with pytest.raises(RequestError, match=r"are free; set MASKBENCH_CACHE"):
        open_or_build("test", key_of("k"), Builder())


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MASKBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/maskbench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/maskbench")


def test_processes_at_once_do_not_break_each_other() -> None:
    """Six processes build and read one entry together; every one sees all of it."""
    program = (
        "import numpy as np\n"
        "from benchmark.data.cache import open_or_build\n"
        "def build(create):\n"
        "    create('images', (300, 1000), np.uint8)[:] = 7\n"
        "    return {}\n"
        "for _ in range(20):\n"
        "    assert open_or_build('test', 'k' * 64, build).arrays['images'].sum() == 7 * 300 * 1000\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) for _ in range(6)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def test_digest_is_of_names_and_bytes_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "source"
    (root / "cat").mkdir(parents=True)
    files = [root / "cat/1.png", root / "cat/2.png"]
    for file in files:
        file.write_bytes(file.name.encode())
    first = content_digest(root, files)

    reads: list[Path] = []
    original = digest.file_digest
    monkeypatch.setattr(digest, "file_digest", lambda path: reads.append(path) or original(path))
    assert content_digest(root, files) == first and reads == []

    shutil.copytree(root, tmp_path / "elsewhere")
    assert content_digest(tmp_path / "elsewhere", [tmp_path / "elsewhere" / f"cat/{n}.png" for n in (1, 2)]) == first

    files[1].write_bytes(b"2.PNG")  # the same length
    assert content_digest(root, files) != first

    files[1].write_bytes(b"2.png")
    renamed = files[1].rename(root / "cat/3.png")
    assert content_digest(root, [files[0], renamed]) != first


def test_mean_and_std_by_hand() -> None:
    """Channel 0 holds 0 and 255 in equal parts: mean 1/2, deviation 1/2. Channel 1 is constant: deviation 1."""
    images = np.zeros((2, 2, 1, 2), dtype=np.uint8)
    images[0, 0] = 255
    images[:, 1] = 51
    mean, std = mean_and_std(images)
    assert mean == pytest.approx([0.5, 0.2]) and std == pytest.approx([0.5, 1.0])


def test_mean_and_std_agree_with_numpy_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.data.pixel_statistics.CHUNK", 3)
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 5), dtype=np.uint8)
    mean, std = mean_and_std(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)), rtol=1e-12)
