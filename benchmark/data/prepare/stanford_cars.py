"""Stanford Cars in both forms of its page, cropped to the bounding boxes.

- ``car_ims.tgz`` and ``cars_annos.mat``: all images in one folder, ``test`` says which are test images;
- ``cars_train.tgz``, ``cars_test.tgz``, the devkit (``cars_train_annos.mat``, ``cars_meta.mat``) and
  ``cars_test_annos_withlabels.mat``.

The two split the same images alike and number them differently. Boxes are MATLAB's: pixels from 1, both ends inside.
"""

from __future__ import annotations

from typing import Any

from benchmark.data.prepare.bounds import class_folder, path_part
from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.matlab import structs, texts
from benchmark.data.prepare.recipe import TEST, TRAIN, Item, Recipe, checked, unlisted

ALL = "cars_annos.mat"
TRAINING, TESTING, META = "cars_train_annos.mat", "cars_test_annos_withlabels.mat", "cars_meta.mat"
LISTS = (ALL, TRAINING, TESTING, META)
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
CROP = "the bounding box of the annotations"


def recipe(catalogue: Catalogue) -> Recipe | None:
    """The crops; None where there are no annotations. Raises RequestError where they and the images do not agree."""
    devkit = [name for name in (TRAINING, TESTING, META) if catalogue.named(name) is not None]
    if (annotations := catalogue.named(ALL)) is not None and _images(catalogue, "car_ims") is not None:
        return _whole(catalogue, annotations)
    if devkit:
        return _devkit(catalogue)
    return None if annotations is None else _whole(catalogue, annotations)


def _images(catalogue: Catalogue, folder: str) -> str | None:
    """Where ``folder`` begins in the source, ``""`` or ``a/``; None where it is nowhere."""
    for name in catalogue.sizes:
        before, found, _ = f"/{name}".partition(f"/{folder}/")
        if found:
            return f"{before.lstrip('/')}/" if before.lstrip("/") else ""
    return None


def _whole(catalogue: Catalogue, annotations: str) -> Recipe:
    names = texts(catalogue, annotations, "class_names")
    fields = ("relative_im_path", *BOX, "class", "test")
    base = _images(catalogue, "car_ims") or ""
    items = []
    for row in structs(catalogue, annotations, "annotations", fields):
        split = TEST if row["test"] else TRAIN
        items.append(_item(catalogue, annotations, f"{base}{row['relative_im_path']}", split, names, row))
    made = checked(catalogue, items, annotations)
    unlisted(catalogue, f"{base}car_ims", made, annotations)
    return Recipe("car_ims and cars_annos.mat", f"the field test of {ALL}, as published", made, CROP)


def _devkit(catalogue: Catalogue) -> Recipe:
    meta = catalogue.require(META, "it names the classes")
    names = texts(catalogue, meta, "class_names")
    items = []
    for split, folder, name in ((TRAIN, "cars_train", TRAINING), (TEST, "cars_test", TESTING)):
        annotations = catalogue.require(name, f"it has the labels of {folder}; the devkit's list without is no help")
        base = _images(catalogue, folder)
        if base is None:
            raise catalogue.fault(f"there is no folder or archive {folder}, and {annotations} lists its images.")
        if next(catalogue.below(f"{base}{folder}/{folder}"), None) is not None:
            base += f"{folder}/"  # unpacked into a folder of its own name, as mirrors hand it out
        rows = structs(catalogue, annotations, "annotations", (*BOX, "class", "fname"))
        part = [_item(catalogue, annotations, f"{base}{folder}/{row['fname']}", split, names, row) for row in rows]
        checked_part = _present(catalogue, part, annotations)
        unlisted(catalogue, f"{base}{folder}", checked_part, annotations)
        items += part
    made = checked(catalogue, items, f"{TRAINING} and {TESTING}")
    return Recipe("cars_train, cars_test and the devkit", "two folders, as published", made, CROP)


def _present(catalogue: Catalogue, items: list[Item], annotations: str) -> list[Item]:
    """The items. Raises RequestError naming the list for the first that is missing."""
    for item in items:
        if item.member not in catalogue.sizes:
            raise catalogue.fault(f"{item.member} is missing, and {annotations} names it.")
    return items


def _item(
    catalogue: Catalogue, annotations: str, member: str, split: str, names: list[str], row: dict[str, Any]
) -> Item:
    label, box = row["class"], [row[field] for field in BOX]
    if not isinstance(label, int) or not 1 <= label <= len(names):
        raise catalogue.fault(f"{annotations} has class {label!r} for {member}; there are {len(names)}.")
    if not all(isinstance(value, int) for value in box):
        raise catalogue.fault(f"{annotations} has the box {box} for {member}, which is not of whole pixels.")
    left, top, right, bottom = box
    target = f"{split}/{class_folder(label, names[label - 1])}/{path_part(member.rpartition('/')[2])}"
    return Item(member, target, (left - 1, top - 1, right, bottom))
