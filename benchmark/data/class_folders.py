"""Images in one folder a class, read without a cache: a data set that is only evaluated. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from benchmark.scenarios.contract import PretrainedOn, Scenario

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")


def folder_of(scenario: Scenario, root: Path | None) -> Path | None:
    """Where the validation images lie that the scenario's weights are evaluated on: below the data root, or beside it
    where the root is the scenario's own folder. None: nowhere."""
    if root is None or scenario.pretrained_on is None:
        return None
    base = root.parent if root.name == scenario.name else root
    folder = base / scenario.pretrained_on.place
    return folder if folder.is_dir() else None


def class_folders(folder: Path) -> list[Path]:
    """One a class, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def listing(folder: Path) -> list[tuple[Path, int]]:
    """Every image with its class, counted from 0 in the order of the folders' names."""
    return [
        (path, label)
        for label, classes in enumerate(class_folders(folder))
        for path in sorted(classes.iterdir())
        if _is_image(path)
    ]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def fault(folder: Path, on: PretrainedOn) -> str | None:
    """What is wrong with the folder of validation images, one sentence; None: nothing. Opens no image."""
    try:
        count = len(class_folders(folder))
        empty = next((path for path in class_folders(folder) if not any(map(_is_image, path.iterdir()))), None)
    except OSError as error:
        return f"{error.filename or folder} cannot be read ({error.strerror})."
    if count != on.classes:
        return (
            f"{folder} has {count:,} class folders, {on.title} has {on.classes:,}: lay its validation images out as "
            f"{on.place}/CLASS/*, one folder a class, or take the folder away."
        )
    if empty is None:
        return None
    return f"{empty} holds no image ({', '.join(IMAGE_SUFFIXES)}); lay the images out as {on.place}/CLASS/*."


def told(on: PretrainedOn, folder: Path | None) -> str:
    """One line for ``check``: whether the images are there."""
    if folder is None:
        return (
            f"no {on.title} validation images in {on.place} below the data root; they are not needed, and the "
            f"{on.title} row will say 'not run'."
        )
    count = len(listing(folder))
    beside = "" if count == on.images else f", {on.images:,} as published"
    return f"the {on.title} row will be evaluated on {count:,} images in {folder}{beside}."
