"""What is to be made of a source: every image, where it comes from, where it goes, how it is cropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmark.data.prepare.bounds import MOST_FILE_BYTES
from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.walk import is_image
from benchmark.errors import RequestError
from results.units import in_units

TRAIN, TEST = "train", "test"

Box = tuple[int, int, int, int]  #: left, top, right, bottom in pixels from 0; right and bottom are the first outside


@dataclass(frozen=True)
class Item:
    """One file to be made."""

    member: str  #: of the catalogue
    target: str  #: ``train/001.Name/file.jpg``
    box: Box | None = None  #: None: copied byte by byte
    image: bool = True  #: False: no image, copied unseen


@dataclass(frozen=True)
class Recipe:
    """All files to be made, and what is told of them."""

    layout: str  #: in which the source was found, in words
    split: str  #: which images are training images, in words
    items: tuple[Item, ...]
    crop: str = ""  #: in words; empty: images are copied as they are
    notes: tuple[str, ...] = ()  #: what is unusual, in sentences
    extra: dict[str, int] = field(default_factory=dict)  #: numbers that the manifest keeps

    def digest(self, catalogue: Catalogue) -> str:
        """sha256 (hex) of what is made from which bytes: sizes of members and contents of lists included."""
        items = [(item.member, item.target, item.box, catalogue.sizes[item.member]) for item in self.items]
        lists = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(catalogue.lists.items())}
        return hashlib.sha256(json.dumps([self.layout, self.split, self.crop, items, lists]).encode()).hexdigest()


def checked(catalogue: Catalogue, items: Sequence[Item], lists: str) -> tuple[Item, ...]:
    """The items, when the source holds what its lists name.

    Args:
        lists: what names them, for messages.

    Raises:
        RequestError: a file is missing, empty or too large, two would have one name, or a class has no image in one
            of the splits.
    """
    missing = [item.member for item in items if item.member not in catalogue.sizes]
    if missing:
        more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        raise catalogue.fault(f"{missing[0]}{more} is missing, and {lists} names it.")
    targets: dict[str, str] = {}
    classes: dict[str, set[str]] = {TRAIN: set(), TEST: set()}
    for item in items:
        size = catalogue.sizes[item.member]
        if item.image and not is_image(item.target.rpartition("/")[2]):
            raise catalogue.fault(f"{item.member} is no image by its name, and {lists} names it.")
        if not 0 < size <= MOST_FILE_BYTES:
            raise catalogue.fault(
                f"{item.member} has {in_units(size)}; a file here has 1 byte to {in_units(MOST_FILE_BYTES)}."
            )
        if item.target in targets:
            raise catalogue.fault(f"{item.member} and {targets[item.target]} would both be {item.target}.")
        targets[item.target] = item.member
        split, name, _ = item.target.split("/", 2) if item.image else (TRAIN, "", "")
        classes[split].add(name)
    for split, other in ((TRAIN, TEST), (TEST, TRAIN)):
        if absent := sorted(classes[other] - classes[split] - {""}):
            raise catalogue.fault(f"class {absent[0]} has no {split} image, by {lists}.")
    if not targets:
        raise catalogue.fault(f"{lists} names no image.")
    return tuple(items)


def unlisted(catalogue: Catalogue, folder: str, items: Iterable[Item], lists: str) -> None:
    """Raises RequestError for an image in ``folder`` that the lists do not name."""
    known = {item.member for item in items}
    extra = [name for name in catalogue.below(folder) if is_image(name.rpartition("/")[2]) and name not in known]
    if extra:
        more = f" (and {len(extra) - 1:,} more)" if len(extra) > 1 else ""
        raise catalogue.fault(f"{min(extra)}{more} is there, but {lists} does not name it.")


def rows(catalogue: Catalogue, name: str, fields: int) -> Iterator[tuple[int, list[str]]]:
    """The lines of a list as (number, words), the last word with the spaces in it; empty lines left out.

    Raises RequestError for a line with fewer words, or a file that is no text.
    """
    for number, line in enumerate(text_of(catalogue, name).splitlines(), start=1):
        if not line.strip():
            continue
        words = line.strip().split(None, fields - 1)
        if len(words) != fields:
            raise catalogue.fault(f"{name}, line {number}: {line.strip()[:80]!r} is not {fields} words.")
        yield number, words


def text_of(catalogue: Catalogue, name: str) -> str:
    """A list as text. Raises RequestError when it is none."""
    try:
        return catalogue.lists[name].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise catalogue.fault(f"{name} is no text in UTF-8.") from error


def by_id(catalogue: Catalogue, name: str, fields: int) -> dict[str, list[str]]:
    """A list whose first word is an id: the other words by it. Raises RequestError for an id that stands twice."""
    found: dict[str, list[str]] = {}
    for number, (key, *words) in rows(catalogue, name, fields):
        if key in found:
            raise catalogue.fault(f"{name}, line {number}: {key} stands there twice.")
        found[key] = words
    return found


def same_ids(catalogue: Catalogue, first: str, ids: Iterable[str], name: str, others: Iterable[str]) -> None:
    """Raises RequestError unless two lists have the same ids."""
    one, other = set(ids), set(others)
    counts = f"{first} has {len(one):,} entries, {name} {len(other):,}"
    for here, there, absent in ((first, name, one - other), (name, first, other - one)):
        if absent:
            key = min(absent, key=lambda text: (len(text), text))
            raise catalogue.fault(f"{here} has an entry for {key} and {there} has none; {counts}.")


def number_of(catalogue: Catalogue, name: str, word: str, kind: type = int) -> float:
    """A number in a list. Raises RequestError when it is none, or not finite."""
    try:
        value = float(kind(word))
        if value - value == 0:
            return value
    except ValueError:
        pass
    raise RequestError(f"{catalogue.source}: {name} has {word[:40]!r} where a number belongs.")
