"""Files that a pattern names: ``?``, ``*``, ``[...]`` within a name, ``**`` across folders."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import RequestError

MOST_ENTRIES, MOST_LEVELS = 100_000, 50  #: files and folders that are looked at for one pattern, and how deep
_MAGIC = re.compile(r"[*?[]")


def matching(base: Path, named: Sequence[str]) -> list[Path]:
    """The files that paths or patterns, relative to ``base``, name; those of one pattern sorted.

    A file that is really called so (``a[1].parquet``) goes before the pattern. Raises RequestError when nothing fits,
    and for a pattern that would look through half a disk.
    """
    files: list[Path] = []
    for item in named:
        pattern = os.path.expanduser(item)
        if not _MAGIC.search(pattern) or (base / pattern).is_file():
            files.append(base / pattern)
            continue
        found = sorted(path for path in Search(base, pattern).found() if path.is_file())
        if not found:
            raise RequestError(f"There is no file {base / pattern}: nothing fits the pattern.")
        files += found
    return files


@dataclass
class Search:
    """The files and folders that fit ``pattern``, as ``glob`` finds them: names that begin with a dot only where the
    pattern's do, links followed, but not around in a circle."""

    base: Path
    pattern: str
    looked_at: int = field(default=0, init=False)

    def found(self) -> set[Path]:
        """All of them. Raises RequestError after ``MOST_ENTRIES``."""
        pattern = Path(self.pattern)
        start, parts = (Path(pattern.anchor), pattern.parts[1:]) if pattern.anchor else (self.base, pattern.parts)
        return set(self._below(start, parts, ()))

    def _below(self, folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        """``above``: device and number of the folders that ``**`` came through."""
        if not parts:
            yield folder
            return
        part, rest = parts[0], parts[1:]
        if part == "**":
            yield from self._anywhere(folder, rest, above)
        elif _MAGIC.search(part):
            fits = re.compile(fnmatch.translate(part)).match
            for entry in self._entries(folder):
                if fits(entry.name) and (not entry.name.startswith(".") or part.startswith(".")):
                    yield from self._below(folder / entry.name, rest, ())
        elif os.path.lexists(folder / part):
            yield from self._below(folder / part, rest, ())

    def _anywhere(self, folder: Path, rest: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        """What ``**/rest`` means in ``folder``: rest in it, and in every folder below."""
        try:
            status = folder.stat()
        except OSError:
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        if len(above) > MOST_LEVELS:
            raise self._too_much(f"folders more than {MOST_LEVELS} levels deep")
        if rest:
            yield from self._below(folder, rest, ())
        for entry in self._entries(folder):
            if entry.name.startswith("."):
                continue
            if not rest:
                yield folder / entry.name
            if os.path.isdir(folder / entry.name):
                yield from self._anywhere(folder / entry.name, rest, (*above, here))

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self.looked_at += 1
                    if self.looked_at > MOST_ENTRIES:
                        raise self._too_much(f"more than {MOST_ENTRIES:,} files and folders")
                    yield entry
        except OSError:
            return

    def _too_much(self, what: str) -> RequestError:
        return RequestError(f"The pattern {self.base / self.pattern} looks through {what}; name a narrower one.")
