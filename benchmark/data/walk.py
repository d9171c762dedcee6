"""Which files below a folder are images: what counts as one, what is hidden, and where links may lead."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import RequestError

#: Endings of the files that are read; whether one decodes shows its content, not its name.
EXTENSIONS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".tga",
    ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
#: What file servers and desktops put beside images (lower case); all that begins with a dot is hidden too.
SYSTEM = (
    "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found", "thumbs.db", "desktop.ini",
)  # fmt: skip


@dataclass
class Walk:
    """A walk through the folders of one data set.

    Links to folders are followed. Within a class every real folder counts once, however many links lead to it; a link
    to a folder above it, or into another class or split, would give images two labels and is refused.
    """

    #: real folder -> the class folder that it was read for, and the way that led to it
    _read: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)  #: files met that are no images by their ending

    def images_below(self, folder: Path, depth: int = 0) -> list[Path]:
        """Every image file below ``folder``, sorted by path.

        ``depth``: levels from ``folder`` down to the class folders. Raises RequestError for a folder that cannot be
        read and for a link that may not be followed.
        """
        found: list[str] = []
        for parent, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
            place = Path(parent)
            if not self._enter(place, folder.joinpath(*place.relative_to(folder).parts[:depth])):
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            for name in names:
                if is_image(name):
                    found.append(os.path.join(parent, name))
                elif not is_hidden(name):
                    self.left_out.append(place / name)
        return [Path(path) for path in sorted(found)]

    def _enter(self, folder: Path, owner: Path) -> bool:
        """Whether the folder is new to its class. Raises RequestError when it is, or holds, another class."""
        real = os.path.realpath(folder)
        if real in self._read:
            other, way = self._read[real]
            if other == owner:
                return False
            raise RequestError(
                f"{way} and {folder} are one and the same folder, so that its images would count for {other} and for "
                f"{owner}; remove the link."
            )
        if folder.is_symlink() and Path(os.path.realpath(folder.parent)).is_relative_to(real):
            raise RequestError(f"{folder} is a link to {real}, a folder above it; remove the link.")
        self._read[real] = owner, folder
        return True

    def left_out_below(self, folder: Path) -> list[Path]:
        """The files left out in ``folder`` and deeper."""
        return [file for file in self.left_out if file.is_relative_to(folder)]


def is_hidden(name: str) -> bool:
    """A name that a person does not see among the images."""
    return name.startswith(".") or name.lower() in SYSTEM


def is_image(name: str) -> bool:
    """Is it a visible file whose ending is one of ``EXTENSIONS``?"""
    return name.lower().endswith(EXTENSIONS) and not is_hidden(name)


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in ``folder``, hidden ones left out. Raises RequestError when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name)]
    except OSError as error:
        raise _cannot_read(error) from error


def loose_images(folder: Path) -> list[Path]:
    """The images that lie in ``folder`` itself."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if is_image(entry.name) and not entry.is_dir())
    except OSError as error:
        raise _cannot_read(error) from error


def by_ending(files: Sequence[Path]) -> str:
    """``30 .heic (such as …/m0.heic), 1 without an ending (such as …/notes)``, the most frequent first."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(files):
        groups.setdefault(file.suffix.lower(), []).append(file)
    ordered: Mapping[str, list[Path]] = dict(sorted(groups.items(), key=lambda group: -len(group[1])))
    return ", ".join(
        f"{len(group):,} {ending or 'without an ending'} (such as {group[0]})" for ending, group in ordered.items()
    )


def _unreadable(error: OSError) -> None:
    raise _cannot_read(error) from error


def _cannot_read(error: OSError) -> RequestError:
    return RequestError(f"The folder {error.filename} cannot be read ({error.strerror or error}).")
