"""The folder beside the target in which it is made: locked, journalled, and renamed when it is whole."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmark.data.cache import file_digest
from benchmark.data.manifest import FILES, Listed, read_files, write_files
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress
from results.atomic import write_json
from results.units import in_units

PLAN = "plan.json"
PART = ".part"
BLOCK = 4096  #: bytes that a file takes at least, about


class Staging:
    """``.NAME.part`` beside the target. ``done``: files that are there, by target, each with its bytes checked."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.parent / f".{target.name}{PART}"
        self.done: dict[str, Listed] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Made where absent, and ours alone. Raises RequestError when another process is at it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.folder.is_dir() or os.fstat(handle).st_ino != self.folder.stat().st_ino:
                raise BlockingIOError
            yield
        except BlockingIOError as error:
            raise RequestError(f"Another process prepares {self.target}; wait for it.") from error
        finally:
            os.close(handle)

    def resume(self, plan: str, progress: Progress) -> None:
        """Take over what an interrupted process made by the same plan; anything else is removed.

        Args:
            plan: digest of what is to be made.
        """
        journal = self.folder / FILES
        try:
            same = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))["plan"] == plan
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            for entry in self.folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            write_json(self.folder / PLAN, {"plan": plan})
        if not journal.is_file():
            return
        listed = read_files(journal)
        what = f"checking what is done of {self.target.name}"
        for number, (name, about) in enumerate(listed.items()):
            if number % 500 == 0:
                progress(what, number, len(listed))
            path = self.folder / name
            if path.is_file() and path.stat().st_size == about.size and file_digest(path) == about.sha256:
                self.done[name] = about
        progress(what, len(listed), len(listed))
        write_files(self.folder, self.done)

    def write(self, name: str, content: bytes) -> tuple[str, Listed]:
        """Write one file, whole or not at all; it counts once it is in the journal."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:16]}{PART}")
        temporary.write_bytes(content)
        temporary.replace(path)
        return name, Listed(len(content), hashlib.sha256(content).hexdigest())

    def journal(self, made: Mapping[str, Listed]) -> None:
        """Note files that were written."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows((name, it.size, it.sha256) for name, it in made.items())
        with (self.folder / FILES).open("a", encoding="utf-8", newline="") as file:
            file.write(buffer.getvalue())
        self.done.update(made)

    def require_room(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Bytes still to be written, about, and bytes free. Raises RequestError when they do not fit.

        Args:
            sizes: by target, of what it is made from: a crop is smaller.
        """
        left = sum(max(size, BLOCK) for name, size in sizes.items() if name not in self.done)
        free = shutil.disk_usage(self.folder).free
        if left > free:
            if not self.done:
                self.discard()
            raise RequestError(
                f"{self.target} needs about {in_units(left)}, and {in_units(free)} are free there; make "
                "room, or name a folder on a larger disk with --to."
            )
        return left, free

    def discard(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def publish(self) -> None:
        """Give the folder its name."""
        (self.folder / PLAN).unlink(missing_ok=True)
        self.folder.rename(self.target)
