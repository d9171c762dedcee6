"""What an archive may hold: names that stay below a folder, ordinary files, and not more than fits."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.errors import RequestError
from results.units import in_units

MOST_MEMBERS = 1_000_000  #: of one archive or folder
MOST_BYTES = 64 * 2**30  #: of all its members, unpacked; the largest published one (WikiArt) has about 26 GB
MOST_FILE_BYTES = 256 * 2**20  #: of one image, or of one of CIFAR's files
MOST_LIST_BYTES = 64 * 2**20  #: of one list (images.txt, setid.mat)
MOST_READ = 300 * 2**20  #: that a reader may ask for at once: bounds what a forged header makes it allocate

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked_name(name: str, archive: Path) -> str:
    """A member's name, ``./`` in front taken off.

    Raises:
        RequestError: it is absolute, leads out of the archive, or holds backslashes or control characters.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts:
        raise RequestError(f"{archive}: the member {name!r} leads out of the archive; nothing was unpacked.")
    if "\\" in name or _CONTROL.search(name):
        raise RequestError(f"{archive}: the member {name!r} has a name with characters that no path may have.")
    return "/".join(parts)


class Tally:
    """Counts members and their bytes against the bounds."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.members, self.bytes = archive, 0, 0

    def add(self, name: str, size: int) -> None:
        """One more member. Raises RequestError when there are too many, or when they are too large."""
        self.members += 1
        self.bytes += size
        if self.members > MOST_MEMBERS:
            raise RequestError(f"{self.archive} holds more than {MOST_MEMBERS:,} members; it is not unpacked.")
        if size < 0 or self.bytes > MOST_BYTES:
            raise RequestError(
                f"{self.archive} unpacks to more than {in_units(MOST_BYTES)} (at the member {name!r}); it is not "
                "unpacked."
            )


def path_part(text: str) -> str:
    """A name from a list as one part of a path: no separators, no control characters, no dot in front."""
    readable = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _CONTROL.sub("-", readable).replace("/", "-").replace("\\", "-").strip().lstrip(".") or "unnamed"


def class_folder(number: int, name: str = "") -> str:
    """``007.Name``: a folder that sorts as the classes are numbered in the source."""
    return f"{number:03d}.{path_part(name)}" if name else f"{number:03d}"
