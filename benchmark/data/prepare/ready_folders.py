"""Folders that are ready: ``{train,test}/CLASS/*``, as the authors of Piggyback and CPG hand them out."""

from __future__ import annotations

import re

from benchmark.data.prepare.bounds import path_part
from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.recipe import TEST, TRAIN, Item, Recipe, checked
from benchmark.data.walk import is_image

IMAGE = re.compile(rf"((?:.*?/)?)({TRAIN}|{TEST})/([^/]+)/([^/]+)")


def recipe(catalogue: Catalogue, name: str) -> Recipe | None:
    """The images as they are; None where there are no such folders.

    Args:
        name: of the data set; where several folders are ready, the one that is called so.

    Raises:
        RequestError: several folders are ready and none is called so, or a class is in one split only.
    """
    found: dict[str, list[Item]] = {}
    splits: dict[str, set[str]] = {}
    for member in catalogue.below(""):
        match = IMAGE.fullmatch(member)
        if match and is_image(match[4]):
            base, split, folder, file = match.groups()
            target = f"{split}/{path_part(folder)}/{path_part(file)}"
            found.setdefault(base, []).append(Item(member, target))
            splits.setdefault(base, set()).add(split)
    ready = [base for base in found if splits[base] == {TRAIN, TEST}]
    if len(ready) > 1:
        called = [base for base in ready if base.rstrip("/").rpartition("/")[2] == name]
        if len(called) != 1:
            told = ", ".join(sorted(base.rstrip("/") or "." for base in ready)[:4])
            raise catalogue.fault(f"{told} are all ready folders, and not one of them is called {name}.")
        ready = called
    if not ready:
        return None
    where = ready[0].rstrip("/") or str(catalogue.source)
    return Recipe("ready folders", "the folders train and test, as given", checked(catalogue, found[ready[0]], where))
