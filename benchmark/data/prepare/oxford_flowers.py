"""Oxford Flowers-102: ``102flowers.tgz`` (jpg/image_00001.jpg ...), ``imagelabels.mat``, ``setid.mat``.

The training and the validation images together are the training images, as in ImageNet-to-Sketch. The classes have
numbers only, 1 to 102.
"""

from __future__ import annotations

import re

from benchmark.data.prepare.bounds import class_folder
from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.matlab import whole_numbers
from benchmark.data.prepare.recipe import TEST, TRAIN, Item, Recipe, checked, unlisted

LABELS, SETS = "imagelabels.mat", "setid.mat"
LISTS = (LABELS, SETS)
IMAGE = re.compile(r"(.*/)?jpg/image_\d{5}\.jpg")


def recipe(catalogue: Catalogue) -> Recipe | None:
    """The images; None where there are neither lists nor images. Raises RequestError where they do not agree."""
    first = next((name for name in catalogue.sizes if IMAGE.fullmatch(name)), None)
    if first is None and not any(catalogue.named(name) for name in LISTS):
        return None
    labels_file = catalogue.require(LABELS, "it has the classes")
    sets_file = catalogue.require(SETS, "it has the split")
    if first is None:
        raise catalogue.fault("there is no image jpg/image_00001.jpg; 102flowers.tgz has them.")
    folder = first.rpartition("/")[0]
    labels = whole_numbers(catalogue, labels_file, "labels")
    items, seen = [], dict[int, str]()
    for split, variable in ((TRAIN, "trnid"), (TRAIN, "valid"), (TEST, "tstid")):
        for number in whole_numbers(catalogue, sets_file, variable).tolist():
            if number in seen:
                raise catalogue.fault(f"{sets_file} has image {number} in {seen[number]} and in {variable}.")
            if not 1 <= number <= len(labels):
                raise catalogue.fault(
                    f"{sets_file} has image {number} in {variable}, and {labels_file} has {len(labels):,} labels."
                )
            seen[number] = variable
            if (label := int(labels[number - 1])) < 1:
                raise catalogue.fault(f"{labels_file} has the label {label} for image {number}; they begin with 1.")
            file = f"image_{number:05d}.jpg"
            items.append(Item(f"{folder}/{file}", f"{split}/{class_folder(label)}/{file}"))
    if len(seen) != len(labels):
        raise catalogue.fault(f"{sets_file} has {len(seen):,} images and {labels_file} {len(labels):,} labels.")
    made = checked(catalogue, items, sets_file)
    unlisted(catalogue, folder, made, sets_file)
    return Recipe("102flowers", f"{SETS}: trnid and valid are training images, tstid test images", made)
