"""Decoded images on disk: decoded once, read back as memory maps by every later process, which checks every byte.

An entry is a folder of ``.npy`` files and one ``entry.json``, written last, that names their shapes and checksums.
It is keyed by its source's content, so any process that builds it writes the same bytes: two at once are merely slower.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmark.errors import RequestError
from results.atomic import require_regular, write_json
from results.reader import content_of
from results.temporary import sweep_below, temporary_folder
from results.units import in_units

VARIABLE = "MASKBENCH_CACHE"  #: environment variable that moves the cache
VERSION = 1  #: of the decoding; part of every key, raised when decoding changes what comes out


#: in an array's description: its reader checks every piece of it when it first reads it (``benchmark.data.pixel_file``)
BY_IMAGE = "checked by image"


class Create(Protocol):
    """``create(name, shape, dtype)``: a new array of the entry, to be filled."""

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]: ...


#: Fills the arrays of an entry and returns what else is to be kept beside them (JSON).
Build = Callable[[Create], dict[str, Any]]


@dataclass(frozen=True)
class Entry:
    """``arrays``: read-only memory maps by name; ``meta``: what the builder returned; ``digests``: sha256 per array."""

    arrays: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]
    digests: Mapping[str, str]


def cache_folder() -> Path:
    """``$MASKBENCH_CACHE``, else ``$XDG_CACHE_HOME/maskbench``, else ``~/.cache/maskbench``; not created here.

    Of a user without a home folder, as in some containers: a folder beside temporary files.
    """
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser().absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "maskbench"
    try:
        return Path.home() / ".cache" / "maskbench"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"maskbench-cache-{os.getuid() if hasattr(os, 'getuid') else 0}"


def key_of(*parts: object) -> str:
    """A key (sha256, hex) of everything that decides what an entry holds."""
    return hashlib.sha256(json.dumps([VERSION, *parts]).encode()).hexdigest()


def entry_folder(kind: str, key: str) -> Path:
    """Where an entry lies; ``kind`` only makes the folder's name readable."""
    return cache_folder() / "decoded" / f"{kind}-{key[:24]}"


def open_or_build(kind: str, key: str, build: Build) -> Entry:
    """The entry ``key``, built when it is absent, truncated or corrupt. ``kind`` only makes the folder's name readable.

    Raises RequestError when it must be built and the cache folder cannot be written or is full.
    """
    folder = entry_folder(kind, key)
    found = open_entry(folder)
    if found is None:
        _write(folder, build)
        found = open_entry(folder)
        if found is None:
            raise RequestError(f"The cache entry {folder} changed while it was written; delete it and try again.")
    return found


#: entries whose every byte this process has read and found right: their folder, and size and time of each file
_vouched: set[tuple[str, ...]] = set()


def open_entry(folder: Path) -> Entry | None:
    """The entry when every byte of it is as written, else None. A process reads them once."""
    try:
        entry = json.loads(content_of(folder / "entry.json"))
        if entry["seal"] != _seal_of(entry["arrays"], entry["meta"]):
            return None
        paths = {name: folder / f"{name}.npy" for name in entry["arrays"]}
        seen = (str(folder), *(_status(path) for path in paths.values()), entry["seal"])
        arrays: dict[str, NDArray[Any]] = {}
        for name, about in entry["arrays"].items():
            require_regular(paths[name])
            checked = seen in _vouched or about.get(BY_IMAGE, False)
            if not checked and checksum(paths[name]) != about["crc32"]:
                return None
            array = np.load(paths[name], mmap_mode="r", allow_pickle=False)
            if list(array.shape) != about["shape"] or str(array.dtype) != about["dtype"]:
                return None
            arrays[name] = array
        _vouched.add(seen)
        return Entry(arrays, entry["meta"], {name: about["sha256"] for name, about in entry["arrays"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError):
        return None


def _status(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _seal_of(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """sha256 (hex) of an entry's description: names, shapes and digests of its arrays, mean, std, class names."""
    return hashlib.sha256(json.dumps([VERSION, arrays, meta], sort_keys=True).encode()).hexdigest()


def checksum(path: Path) -> int:
    """CRC-32 of a file's bytes: notices any damage short of malice, several times as fast as a digest."""
    value = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            value = zlib.crc32(piece, value)
    return value


def _write(folder: Path, build: Build) -> None:
    """Build beside ``folder``, then move the files in, ``entry.json`` last."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep_below(folder.parent)
            temporary = stack.enter_context(temporary_folder(folder))
        except OSError as error:
            raise unwritable(error) from error
        _fill(folder, temporary, build)


def _fill(folder: Path, temporary: Path, build: Build) -> None:
    try:
        arrays: dict[str, Any] = {}

        def create(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
            # writing a memory map to a full disk would kill the process
            require_room(math.prod(shape) * np.dtype(dtype).itemsize, temporary)
            path = temporary / f"{name}.npy"
            arrays[name] = np.lib.format.open_memmap(path, mode="w+", shape=shape, dtype=dtype)
            _reserve(path)
            return arrays[name]  # type: ignore[no-any-return]

        meta = build(create)
        about = {name: _seal(temporary / f"{name}.npy", array) for name, array in arrays.items()}
        arrays.clear()
        for name in about:
            (temporary / f"{name}.npy").replace(folder / f"{name}.npy")
        describe(folder, about, meta)
    except OSError as error:
        raise unwritable(error) from error


def describe(folder: Path, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write what makes a folder an entry. Raises OSError."""
    meta = json.loads(json.dumps(meta))  # as it will be read
    seal = _seal_of(arrays, meta)
    write_json(folder / "entry.json", {"version": VERSION, "arrays": arrays, "meta": meta, "seal": seal})


def require_room(needed: int, folder: Path) -> int:
    """Bytes free on the disk of ``folder``. Raises RequestError when ``needed`` are more."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise RequestError(
            f"The decoded images need {in_units(needed)} in {cache_folder()}, where {in_units(free)} are free; "
            f"set {VARIABLE} to a folder on a larger disk."
        )
    return free


def _reserve(path: Path) -> None:
    """Have the disk set the whole file aside: a memory map that runs out of disk would kill the process. Raises
    OSError: there is no room."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _seal(path: Path, array: Any) -> dict[str, Any]:
    array.flush()
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": file_digest(path),
        "crc32": checksum(path),
    }


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unwritable(error: OSError) -> RequestError:
    """The sentence for a cache that refuses to be written."""
    return RequestError(
        f"The cache folder {cache_folder()} cannot be written ({error.strerror or error}); "
        f"set {VARIABLE} to a folder that can."
    )
