"""CUB-200-2011 as the Caltech Vision Lab publishes it: ``CUB_200_2011.tgz``, cropped to its bounding boxes.

``images.txt`` (id, path below images/), ``bounding_boxes.txt`` (id, x, y, width, height in pixels, from 0),
``train_test_split.txt`` (id, 1 for training), ``image_class_labels.txt`` (id, class), ``classes.txt`` (class, name).
"""

from __future__ import annotations

import math

from benchmark.data.prepare.bounds import path_part
from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.recipe import TEST, TRAIN, Box, Item, Recipe, by_id, checked, number_of, same_ids, unlisted

IMAGES, BOXES, SPLIT = "images.txt", "bounding_boxes.txt", "train_test_split.txt"
LABELS, CLASSES = "image_class_labels.txt", "classes.txt"
LISTS = (IMAGES, BOXES, SPLIT, LABELS, CLASSES)


def recipe(catalogue: Catalogue) -> Recipe | None:
    """The crops; None where there is no ``images.txt``. Raises RequestError where lists and images do not agree."""
    found = catalogue.named(IMAGES)
    if found is None:
        return None
    base = found.removesuffix(IMAGES)
    for name in LISTS:
        if base + name not in catalogue.lists:
            raise catalogue.fault(f"{base}{name} is missing, and {found} needs it.")
    images, boxes = by_id(catalogue, found, 2), by_id(catalogue, base + BOXES, 5)
    split, labels = by_id(catalogue, base + SPLIT, 2), by_id(catalogue, base + LABELS, 2)
    names = by_id(catalogue, base + CLASSES, 2)
    for name, ids in ((BOXES, boxes), (SPLIT, split), (LABELS, labels)):
        same_ids(catalogue, found, images, base + name, ids)
    items = []
    for key, (path,) in images.items():
        folder, _, file = path.rpartition("/")
        (label,), (training,) = labels[key], split[key]
        if names.get(label) != [folder]:
            told = names[label][0] if label in names else "no class"
            raise catalogue.fault(f"image {key} is {path} in {IMAGES}, but its class {label} is {told} in {CLASSES}.")
        if training not in ("0", "1"):
            raise catalogue.fault(f"{base}{SPLIT} has {training[:40]!r} for image {key}, not 0 or 1.")
        target = f"{TRAIN if training == '1' else TEST}/{path_part(folder)}/{path_part(file)}"
        items.append(Item(f"{base}images/{path}", target, _box(catalogue, base + BOXES, boxes[key])))
    made = checked(catalogue, items, found)
    unlisted(catalogue, f"{base}images", made, found)
    return Recipe(
        "CUB_200_2011", f"{SPLIT}, as published", made, f"the bounding box of {BOXES}, outwards to whole pixels"
    )


def _box(catalogue: Catalogue, name: str, words: list[str]) -> Box:
    """``60.0 27.0 325.0 304.0`` (x, y, width, height) as corners."""
    x, y, width, height = (number_of(catalogue, name, word, float) for word in words)
    return math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)
