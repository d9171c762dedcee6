"""CIFAR-100: ``cifar-100-python.tar.gz`` with its three pickles, or parquet files as Hugging Face exports them."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.recipe import Item, Recipe, checked
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress

FOLDER = "cifar-100-python"
PICKLES = ("train", "test", "meta")
PARQUET = re.compile(r"(?:.*/)?((train|test)[^/]*\.parquet)")
COUNTS = (50_000, 10_000)


def recipe(catalogue: Catalogue) -> Recipe | None:
    """The files to copy; None where there are none. Raises RequestError when one of them is missing."""
    found = sorted(name for name in catalogue.sizes if name.rpartition("/")[0].rpartition("/")[2] == FOLDER)
    if catalogue.source.name == FOLDER:
        found += [name for name in PICKLES if name in catalogue.sizes]
    if found:
        base = found[0].removesuffix(found[0].rpartition("/")[2])
        items = [Item(f"{base}{name}", f"{FOLDER}/{name}", image=False) for name in PICKLES]
        return Recipe(FOLDER, "the files train and test, as published", checked(catalogue, items, "CIFAR-100"))
    parts = {name: match for name in sorted(catalogue.sizes) if (match := PARQUET.fullmatch(name))}
    if not parts:
        return None
    if {match[2] for match in parts.values()} != {"train", "test"}:
        raise catalogue.fault("train*.parquet and test*.parquet must both be there.")
    items = [Item(name, match[1], image=False) for name, match in parts.items()]
    return Recipe("parquet", "the files train* and test*, as given", checked(catalogue, items, "CIFAR-100"))


def counted(folder: Path, progress: Progress) -> tuple[int, int]:
    """Training and test images in what was prepared. Raises RequestError when it is no CIFAR-100."""
    from benchmark.data.cifar import find, read_parquet, read_pickle

    found = find(folder, "what was prepared is not whole.")
    read = {"pickles": read_pickle, "parquet": read_parquet}.get(found.layout)
    if read is None:
        raise RequestError(f"{folder} does not hold CIFAR-100.")
    counts = [len(read(found, split, progress)[1]) for split in ("train", "test")]
    return counts[0], counts[1]
