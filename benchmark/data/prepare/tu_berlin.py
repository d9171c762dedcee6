"""TU-Berlin sketches: ``sketches_png.zip``, png/CLASS/NUMBER.png, 250 classes of 80. No split is published."""

from __future__ import annotations

import re
import zlib

import numpy as np

from benchmark.data.prepare.bounds import path_part
from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.recipe import TEST, TRAIN, Item, Recipe, checked, text_of

FILE_LIST = "filelist.txt"
LISTS = (FILE_LIST,)
SKETCH = re.compile(r"((?:.*/)?png)/([^/]+)/(\d+)\.png")
PER_CLASS = 80
RULE = (
    "drawn here, since none is published: of every class four fifths, rounded (64 of 80), are training images. Its "
    "files, in the order of their numbers, are permuted by numpy.random.RandomState(zlib.crc32(class name)); the first "
    "of the permutation are taken."
)


def recipe(catalogue: Catalogue) -> Recipe | None:
    """The sketches with a drawn split; None where there are none. Raises RequestError where filelist.txt disagrees."""
    by_class: dict[str, list[tuple[int, str]]] = {}
    bases = set()
    for name in catalogue.below(""):
        if found := SKETCH.fullmatch(name):
            by_class.setdefault(found[2], []).append((int(found[3]), name))
            bases.add(found[1])
    if not by_class:
        return None
    if len(bases) > 1:
        raise catalogue.fault(f"{' and '.join(sorted(bases)[:2])} both hold sketches; give the folder of one of them.")
    _agree(catalogue, bases.pop(), {name for files in by_class.values() for _, name in files})
    items = []
    for name, files in sorted(by_class.items()):
        ordered = [path for _, path in sorted(files)]
        training = training_places(name, len(ordered))
        for place, path in enumerate(ordered):
            split = TRAIN if place in training else TEST
            items.append(Item(path, f"{split}/{path_part(name)}/{path_part(path.rpartition('/')[2])}"))
    odd = {name: len(files) for name, files in sorted(by_class.items()) if len(files) != PER_CLASS}
    name = next(iter(odd), "")
    notes = (f"{len(odd)} classes have not {PER_CLASS} sketches, such as {name} with {odd[name]}.",) if odd else ()
    return Recipe("sketches_png", RULE, checked(catalogue, items, "png/"), notes=notes)


def training_places(name: str, count: int) -> set[int]:
    """Places, in the order of the files' numbers, of a class's training images; see ``RULE``."""
    order = np.random.RandomState(zlib.crc32(name.encode())).permutation(count)
    return set(order[: int(count * 0.8 + 0.5)].tolist())


def _agree(catalogue: Catalogue, base: str, there: set[str]) -> None:
    """Raises RequestError when the archive's own list has other files."""
    name = f"{base}/{FILE_LIST}"
    if name not in catalogue.lists:
        return
    listed = {f"{base}/{line.strip()}" for line in text_of(catalogue, name).splitlines() if line.strip()}
    if absent := sorted(listed - there):
        raise catalogue.fault(f"{absent[0]} is missing, and {name} names it.")
    if extra := sorted(there - listed):
        raise catalogue.fault(f"{extra[0]} is there, but {name} does not name it.")
