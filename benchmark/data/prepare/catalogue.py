"""All that a source holds, by name: a folder, archives in it, or one archive."""

from __future__ import annotations

import fnmatch
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from benchmark.data.prepare.bounds import MOST_LIST_BYTES
from benchmark.data.prepare.containers import Container, FolderContainer, Member, archive_at, stem_of
from benchmark.data.walk import is_hidden
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent
from results.units import in_units


@dataclass
class Catalogue:
    """The files of a source, archives in it opened. Where a file lies there unpacked too, that one counts."""

    source: Path
    containers: list[tuple[Container, str]] = field(default_factory=list)  #: with the folder that each is in
    sizes: dict[str, int] = field(default_factory=dict)  #: name -> bytes
    lists: dict[str, bytes] = field(default_factory=dict)  #: name -> content, of the lists asked for
    _owner: dict[str, int] = field(default_factory=dict)
    _composed: dict[str, str] = field(default_factory=dict)

    def fault(self, text: str) -> RequestError:
        """An error about the source."""
        return RequestError(f"{self.source}: {text}")

    @property
    def archives(self) -> list[Path]:
        """The archives that were opened."""
        return [container.path for container, _ in self.containers if not isinstance(container, FolderContainer)]

    def named(self, name: str) -> str | None:
        """The list of that file name; None where there is none. Raises RequestError for several that differ."""
        found = sorted(one for one in self.lists if one.rpartition("/")[2] == name)
        for other in found[1:]:
            if self.lists[other] != self.lists[found[0]]:
                raise self.fault(f"{found[0]} and {other} differ; give the folder that holds only one of them.")
        return min(found, key=len) if found else None

    def require(self, name: str, why: str) -> str:
        """As ``named``. Raises RequestError where there is none."""
        if (found := self.named(name)) is None:
            raise self.fault(f"{name} is missing ({why}); it lies neither there nor in an archive there.")
        return found

    def member(self, name: str) -> str | None:
        """A file by its name, however its letters are composed (NFC, NFD); None where there is none."""
        if name in self.sizes:
            return name
        if not self._composed:
            self._composed = {unicodedata.normalize("NFC", one): one for one in self.sizes}
        return self._composed.get(unicodedata.normalize("NFC", name))

    def below(self, folder: str) -> Iterator[str]:
        """The visible files in a folder and deeper."""
        start = f"{folder}/" if folder else ""
        for name in self.sizes:
            if name.startswith(start) and not any(is_hidden(part) for part in name.split("/")):
                yield name

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """These files, each once, in the order in which they lie in the source. Raises RequestError."""
        wanted = set(names)
        for at, (container, mount) in enumerate(self.containers):
            mine = {name for name in wanted if self._owner[name] == at}
            if not mine:
                continue
            for member in container.members():
                name = _below(mount, member.name)
                if name in mine:
                    mine.discard(name)
                    yield name, member.read()
                    if not mine:
                        break
            if mine:
                raise self.fault(f"{min(mine)} was there a moment ago and is gone.")

    def _add(self, container: Container, mount: str, lists: Collection[str], progress: Progress) -> list[str]:
        """Take a container's members in; returns their names."""
        at, names = len(self.containers), []
        self.containers.append((container, mount))
        for member in container.members(progress):
            name = _below(mount, member.name)
            names.append(name)
            if name in self.sizes:
                continue
            self.sizes[name], self._owner[name] = member.size, at
            if any(fnmatch.fnmatchcase(name.rpartition("/")[2], pattern) for pattern in lists):
                self.lists[name] = self._list(name, member)
        return names

    def _list(self, name: str, member: Member) -> bytes:
        if member.size > MOST_LIST_BYTES:
            raise self.fault(f"{name} has {in_units(member.size)}, too many for a list.")
        return member.read()


def _below(mount: str, name: str) -> str:
    return f"{mount}/{name}" if mount else name


def open_catalogue(
    source: Path, archives: Collection[str], lists: Collection[str], progress: Progress = silent
) -> Catalogue:
    """What a source holds. Every archive is read through once, before anything is written.

    Args:
        source: a folder, or one archive.
        archives: stems, in small letters, of the archives that are opened when they lie in a folder.
        lists: patterns of file names whose content is kept.

    Raises:
        RequestError: there is no such source, or an archive is damaged or holds what it may not.
    """
    catalogue = Catalogue(source)
    if source.is_dir():
        names = catalogue._add(FolderContainer(source), "", lists, silent)
        for name in sorted(names):
            archive = archive_at(source / name)
            if archive is not None and stem_of(archive.path.name) in archives:
                parent = PurePosixPath(name).parent.as_posix()
                catalogue._add(archive, "" if parent == "." else parent, lists, progress)
    elif (archive := archive_at(source)) is not None and source.is_file():
        catalogue._add(archive, "", lists, progress)
    elif source.exists():
        raise RequestError(f"{source} is no folder and no archive (.zip, .tar, .tgz, .tar.gz).")
    else:
        raise RequestError(f"There is no {source}; give the folder that holds the archives, or one archive.")
    return catalogue
