"""The data sets that can be prepared, and the layouts that each is published in."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.recipe import Recipe
from benchmark.errors import RequestError, did_you_mean
from benchmark.scenarios.sources import CIFAR100, FINE_GRAINED, DataSource

PACKAGE = "benchmark.data.prepare"


@dataclass(frozen=True)
class DataSet:
    """One of them. ``layout``: the module of its published form, with ``LISTS`` and ``recipe``."""

    about: DataSource
    layout: str
    archives: tuple[str, ...]  #: stems, in small letters, of the archives that are opened in a folder
    ready: bool = True  #: the ready folders are read too

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of the files that say what is in it."""
        return tuple(getattr(importlib.import_module(f"{PACKAGE}.{self.layout}"), "LISTS", ()))

    def target(self, root: Path) -> Path:
        """Where it lies below a data root."""
        return self.about.folder(root)

    def recipe(self, catalogue: Catalogue) -> Recipe:
        """What is to be made of a source. Raises RequestError when it does not hold the data set."""
        found = importlib.import_module(f"{PACKAGE}.{self.layout}").recipe(catalogue)
        if found is None and self.ready:
            from benchmark.data.prepare.ready_folders import recipe

            found = recipe(catalogue, self.about.name)
        if found is None:
            told = ", or folders {train,test}/CLASS that are ready" if self.ready else ""
            raise catalogue.fault(f"there is nothing of {self.about.name} in it. It takes {self.about.get}{told}.")
        assert isinstance(found, Recipe)
        return found


_LAYOUTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cubs_cropped": ("birds", ("cub_200_2011", "cubs_cropped")),
    "stanford_cars_cropped": (
        "stanford_cars",
        ("car_ims", "cars_train", "cars_test", "car_devkit", "devkit", "stanford_cars_cropped"),
    ),
    "flowers": ("oxford_flowers", ("102flowers", "flowers")),
    "wikiart": ("wikiart_lists", ("wikiart", "wikiart_csv")),
    "sketches": ("tu_berlin", ("sketches_png", "sketches")),
    "cifar100": ("cifar_files", ("cifar-100-python",)),
}

DATA_SETS = {
    about.name: DataSet(about, *_LAYOUTS[about.name], ready=about is not CIFAR100)
    for about in (*FINE_GRAINED, CIFAR100)
}


def data_set(name: str) -> DataSet:
    """The data set of that name. Raises RequestError when there is none."""
    if name not in DATA_SETS:
        raise RequestError(
            f"There is no data set {name!r}.{did_you_mean(name, DATA_SETS)} Known are {', '.join(DATA_SETS)}."
        )
    return DATA_SETS[name]
