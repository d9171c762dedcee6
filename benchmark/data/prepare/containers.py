"""Folders, tar and zip archives, read member by member. Nothing here writes, and no member's name becomes a path."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from benchmark.data.prepare.bounds import MOST_READ, Tally, checked_name
from benchmark.data.walk import is_hidden
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent
from results.atomic import require_regular
from results.units import in_units

TAR, TAR_GZ, ZIP = (".tar",), (".tgz", ".tar.gz"), (".zip",)
ENDINGS = (*TAR, *TAR_GZ, *ZIP)
MIB = 2**20


@dataclass(frozen=True)
class Member:
    """An ordinary file. ``read``: all its bytes; to be called before the next member is asked for."""

    name: str  #: with ``/``, below the archive or folder
    size: int  #: bytes
    read: Callable[[], bytes]


class Container(Protocol):
    """What members are read from."""

    @property
    def path(self) -> Path:
        """The archive or folder."""
        ...

    def members(self, progress: Progress = silent) -> Iterator[Member]:
        """Every ordinary file, in the container's own order. Raises RequestError: what may not be, or damage."""
        ...


def archive_at(path: Path) -> Container | None:
    """The archive in a file, by the ending of its name; None where it is none."""
    name = path.name.lower()
    if name.endswith(ZIP):
        return ZipContainer(path)
    return TarContainer(path) if name.endswith((*TAR, *TAR_GZ)) else None


def stem_of(name: str) -> str:
    """``CUB_200_2011.tar.gz`` -> ``cub_200_2011``."""
    lower = name.lower()
    return next((lower.removesuffix(ending) for ending in sorted(ENDINGS, key=len) if lower.endswith(ending)), lower)


_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@contextmanager
def _telling(path: Path, name: str = "") -> Iterator[None]:
    """Turns a reader's error into a sentence."""
    try:
        yield
    except RequestError:
        raise
    except (*_DAMAGE, ValueError) as error:
        at = f" at the member {name!r}" if name else ""
        detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise RequestError(f"{path} is damaged or cut short{at} ({detail}); get it again.") from error


class _Bounded:
    """A file that never reads more at once than ``MOST_READ``: tar headers say how much to read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_READ:
            raise tarfile.ReadError(f"a header of {in_units(size)}")
        return self._file.read(size)


@dataclass(frozen=True)
class TarContainer:
    """A tar archive, gzipped or not, read from its beginning to its end."""

    path: Path

    def members(self, progress: Progress = silent) -> Iterator[Member]:
        tally, seen = Tally(self.path), set[str]()
        what, total = f"reading {self.path.name} (MiB)", max(1, _size_of(self.path) // MIB)
        with _telling(self.path), self.path.open("rb") as raw:
            zipped = self.path.name.lower().endswith(TAR_GZ)
            file = gzip.GzipFile(fileobj=raw) if zipped else raw
            with tarfile.TarFile(fileobj=_Bounded(file), mode="r") as archive:  # type: ignore[arg-type]
                progress(what, 0, total)
                for entry in archive:
                    name = checked_name(entry.name, self.path)
                    if entry.isdir():
                        continue
                    if not entry.isreg() or entry.issparse():
                        raise _refused(self.path, name, _kind(entry))
                    tally.add(name, entry.size)
                    _require_new(name, seen, self.path)
                    if tally.members % 200 == 0:
                        progress(what, min(raw.tell() // MIB, total - 1), total)
                    yield Member(name, entry.size, lambda entry=entry: self._read(archive, entry))  # type: ignore[misc]
                progress(what, total, total)

    def _read(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
        with _telling(self.path, entry.name):
            file = archive.extractfile(entry)
            content = file.read() if file is not None else b""
            if len(content) != entry.size:
                raise tarfile.ReadError(f"{in_units(len(content))} of {in_units(entry.size)}")
            return content


def _refused(archive: Path, name: str, kind: str) -> RequestError:
    return RequestError(f"{archive}: the member {name!r} is {kind}; only ordinary files are unpacked, and nothing was.")


def _kind(entry: tarfile.TarInfo) -> str:
    if entry.issym() or entry.islnk():
        return "a link"
    return "a sparse file" if entry.issparse() else "a device or a pipe"


@dataclass(frozen=True)
class ZipContainer:
    """A zip archive."""

    path: Path

    def members(self, progress: Progress = silent) -> Iterator[Member]:
        tally, seen = Tally(self.path), set[str]()
        with _telling(self.path), self._opened() as archive:
            for entry in archive.infolist():
                name = checked_name(entry.filename, self.path)
                if entry.is_dir():
                    continue
                mode = entry.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    kind = "a link" if stat.S_ISLNK(mode) else "a device or a pipe"
                    raise _refused(self.path, name, kind)
                tally.add(name, entry.file_size)
                _require_new(name, seen, self.path)
                yield Member(name, entry.file_size, lambda entry=entry: self._read(archive, entry))  # type: ignore[misc]

    def _opened(self) -> zipfile.ZipFile:
        """Names that do not say so are UTF-8 where they can be, else the old code page."""
        try:
            return zipfile.ZipFile(self.path, metadata_encoding="utf-8")
        except UnicodeDecodeError:
            return zipfile.ZipFile(self.path)

    def _read(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        with _telling(self.path, entry.filename), archive.open(entry) as file:
            content = file.read(entry.file_size)
            if file.read(1) or len(content) != entry.file_size:  # reading to the end checks the sum, too
                raise zipfile.BadZipFile(f"{in_units(len(content))} of {in_units(entry.file_size)}")
            return content


@dataclass(frozen=True)
class FolderContainer:
    """A folder with all below it. Links that its owner put there are followed, each folder once."""

    path: Path

    def members(self, progress: Progress = silent) -> Iterator[Member]:
        tally, seen = Tally(self.path), {os.path.realpath(self.path)}
        for parent, folders, files in os.walk(self.path, followlinks=True):
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            for name in list(folders):
                real = os.path.realpath(os.path.join(parent, name))
                if real in seen:
                    folders.remove(name)
                seen.add(real)
            for name in sorted(files):
                path = Path(parent, name)
                if is_hidden(name) or not path.is_file():
                    continue
                size = _size_of(path)
                tally.add(str(path), size if archive_at(path) is None else 0)
                yield Member(path.relative_to(self.path).as_posix(), size, lambda path=path: _content(path))  # type: ignore[misc]


def _content(path: Path) -> bytes:
    try:
        require_regular(path)
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror or error}.") from error


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror or error}.") from error


def _require_new(name: str, seen: set[str], archive: Path) -> None:
    if name in seen:
        raise RequestError(f"{archive} holds the member {name!r} twice.")
    seen.add(name)
