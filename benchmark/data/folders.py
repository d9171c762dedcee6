"""Images in folders: ``<root>/{train,test}/CLASS/*.jpg``, classes sorted by name as torchvision's ImageFolder does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmark.data.tasks import SPLITS, Listing, TaskSource, check_listings
from benchmark.errors import RequestError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")


def folder_source(root: Path) -> TaskSource:
    """A task from a folder with ``train`` and ``test`` inside. Raises RequestError naming what is missing or wrong."""
    listings: dict[str, Listing] = {}
    files: list[Path] = []
    for split in SPLITS:
        folder = root / split
        if not folder.is_dir():
            raise RequestError(f"There is no folder {folder}; expected is {root}/{{train,test}}/CLASS/*.jpg.")
        paths = {name: images_below(folder / name) for name in sorted(subfolders(folder))}
        listings[split] = list_classes(folder, paths)
        files += [path for name in paths for path in paths[name]]
    check_listings(listings["train"], listings["test"])
    return TaskSource(root.absolute(), tuple(files), listings.__getitem__, ("folders",))


def list_classes(folder: Path, paths: dict[str, list[Path]]) -> Listing:
    """A split from its image paths by class, in the order given. Raises RequestError when a class or all is empty."""
    if not paths:
        raise RequestError(f"{folder} holds no class folders; expected is {folder}/CLASS/*.jpg.")
    for name, images in paths.items():
        if not images:
            raise RequestError(f"Class folder {folder / name} holds no images ({', '.join(EXTENSIONS)}).")
    labels = np.repeat(np.arange(len(paths), dtype=np.int64), [len(images) for images in paths.values()])
    flat = [path for images in paths.values() for path in images]
    return Listing(str(folder), tuple(paths), labels, lambda: ((str(path), path) for path in flat))


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in ``folder``, hidden ones left out."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def images_below(folder: Path) -> list[Path]:
    """Every image file below ``folder`` sorted by path, hidden ones left out."""
    found = [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
    ]
    return [Path(path) for path in sorted(found)]
