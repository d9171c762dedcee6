"""Images of any size one after another in one file, of which every image is read, and checked, by itself."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import RequestError


class PixelFile:
    """Images of one split, uint8, each (height, width, channels), one after another.

    Nothing is kept in memory, and nothing mapped: an image is copied from the system's cache of the file. It is
    compared with its checksum the first time that this process reads it.

    Args:
        path: the file.
        start: bytes before the first image.
        shapes: int64 (n, 2), heights and widths, pixels.
        checksums: uint32 (n,), CRC-32 of each image's bytes.
        channels: of all images.
        damaged: called before a damaged image is refused.
        places: bytes (n,) before each image; None: they lie one after another.
    """

    def __init__(
        self,
        path: Path,
        start: int,
        shapes: NDArray[np.int64],
        checksums: NDArray[np.uint32],
        channels: int,
        damaged: Callable[[], None] = lambda: None,
        places: NDArray[np.int64] | None = None,
    ) -> None:
        self.path, self.channels = path, channels
        self.shapes = np.array(shapes, dtype=np.int64).reshape(-1, 2)
        self._checksums, self._damaged = np.array(checksums), damaged
        self._sizes = self.shapes.prod(1) * channels
        self._offsets = start + np.cumsum(self._sizes) - self._sizes if places is None else places
        self._seen = np.zeros(len(self.shapes), dtype=bool)
        self._file: int | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return int(self._sizes.sum())

    @property
    def side(self) -> int:
        """The short side that they were brought to, pixels."""
        return int(self.shapes.min()) if len(self) else 0

    def at(self, places: NDArray[np.int64]) -> PixelFile:
        """The images at these places, any of them as often as it is named."""
        shapes, checksums = self.shapes[places], self._checksums[places]
        return PixelFile(self.path, 0, shapes, checksums, self.channels, self._damaged, self._offsets[places])

    def read(self, place: int) -> NDArray[np.uint8]:
        """One image, uint8 (height, width, channels). Raises RequestError when it is not as it was written."""
        height, width = self.shapes[place]
        image = np.empty((height, width, self.channels), dtype=np.uint8)
        read = self._fill(image, int(self._offsets[place]))
        if read < image.nbytes or (not self._seen[place] and zlib.crc32(image.data) != self._checksums[place]):
            self._damaged()
            raise RequestError(
                f"Image {place} of {self.path} is damaged, which lies in the cache of decoded images. The entry was "
                "given up: run the same command again, and its images are decoded anew."
            )
        self._seen[place] = True
        return image

    def checksum(self, place: int) -> tuple[int, int, int]:
        """Height, width and CRC-32 of an image's bytes, unread."""
        height, width = self.shapes[place].tolist()
        return height, width, int(self._checksums[place])

    def _fill(self, image: NDArray[np.uint8], offset: int) -> int:
        """Bytes read into ``image``. The file is opened when it is first needed."""
        with self._lock:
            if self._file is None:
                self._file = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            if not hasattr(os, "preadv"):
                os.lseek(self._file, offset, os.SEEK_SET)
                content = os.read(self._file, image.nbytes)
                image.reshape(-1)[: len(content)] = np.frombuffer(content, dtype=np.uint8)
                return len(content)
        return os.preadv(self._file, [image.reshape(-1).data], offset)  # the place is given, so threads share the file

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]
