"""A user's own scenario from a YAML file; its keys are described in docs/add-a-scenario.md."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Augmentation, Progress, Scenario, ScenarioData
from benchmark.scenarios.protocol import checked_settings
from benchmark.scenarios.user_network import backbone_of, normalisation_of, require_size
from benchmark.scenarios.yaml_values import (
    as_number,
    choice,
    flag,
    known_keys,
    one_line,
    path_of,
    plain_name,
    section,
    text,
    title,
    whole,
)
from benchmark.yaml_file import load_mapping
from methods.engine.knobs import shown

if TYPE_CHECKING:
    from benchmark.data.images import Preparation
    from benchmark.data.listing import TaskSource
    from benchmark.data.tasks import Normalisation

KEYS = (
    "name",
    "summary",
    "tasks",
    "backbone",
    "backbone_options",
    "width",
    "weights",
    "image_size",
    "resize",
    "channels",
    "normalisation",
    "augmentation",
    "batch_size",
    "eval_batch_size",
    "settings",
    "skip_broken",
)
TASK_KEYS = ("name", "folder", "split", "train", "test", "image_column", "label_column", "augmentation")
BACKBONE_OPTIONS = ("width",)
AUGMENTATION_KEYS = ("crop_padding", "flip", "random_resized_crop", "cutout")
LARGEST_SIDE = 4096  #: pixels of ``image_size``; what the augmentations pad and blank is no larger
WIDEST = 100  #: factor on a layer's width
STORED_SHARE = 8 / 7  #: side of the stored image over what the network sees, under random_resized_crop: 256 for 224


@dataclass(frozen=True)
class UserTask:
    """One task as the file names it: a ``folder``, or parquet files for ``train`` and ``test``.

    ``split``: the share of the folder that is test; ``train``, ``test``: paths or patterns relative to ``base``.
    """

    name: str
    augmentation: Augmentation
    folder: Path | None
    split: float | None
    base: Path
    train: tuple[str, ...]
    test: tuple[str, ...]
    image_column: str | None
    label_column: str | None


def load_user_scenario(path: Path) -> Scenario:
    """The scenario that ``path`` defines; no image is read. Raises RequestError naming the key that is wrong."""
    from benchmark.data.images import RESIZE_MODES, SHORT_SIDE, Preparation

    content, where = load_mapping(path, "The scenario", ", such as 'tasks:'"), str(path)
    known_keys(content, KEYS, where)
    name = plain_name(text(content, "name", where, path.stem), where)
    backbone, own = backbone_of(content, where)
    image_size = whole(content, "image_size", where, own.image_size if own else None, most=LARGEST_SIDE)
    channels = whole(content, "channels", where, 3)
    if channels not in (1, 3):
        raise RequestError(f"{where}: channels must be 3 (colour) or 1 (grey), not {channels}.")
    augmentation = _augmentation(section(content, "augmentation", where), Augmentation(), f"{where}, augmentation")
    tasks = _tasks(content, path, augmentation)
    resize = choice(content, "resize", where, RESIZE_MODES, SHORT_SIDE)
    usual = own.normalisation(channels) if own else None
    normalisation = normalisation_of(content, channels, where, usual)
    weights = path_of(content, "weights", where, path.parent) if "weights" in content else None
    if weights is not None and not weights.is_file():
        raise RequestError(f"{where}: there is no weights file {weights}.")
    require_size(backbone, image_size, channels, where)
    preparations = tuple(_preparation(task, Preparation(image_size, resize, channels)) for task in tasks)
    return Scenario(
        name=name,
        summary=one_line(text(content, "summary", where, f"{len(tasks)} tasks of {path.name}"), where),
        task_names=tuple(task.name for task in tasks),
        classes=(0,) * len(tasks),
        read=functools.partial(_read, tasks, preparations, normalisation, flag(content, "skip_broken", where)),
        backbone=backbone,
        image_size=image_size,
        channels=channels,
        whole=tuple(index for index, how in enumerate(preparations, start=1) if how.whole),
        backbone_options=_backbone_options(content, where),
        pretrained=weights is not None,
        weights=weights,
        batch_size=whole(content, "batch_size", where, 32),
        eval_batch_size=whole(content, "eval_batch_size", where, 100),
        settings=checked_settings(section(content, "settings", where), f"{where}, settings"),
        data_help=f"the folders and files that {path} names, relative to it.",
        source=where,
    )


def _read(
    tasks: Sequence[UserTask],
    preparations: Sequence[Preparation],
    normalisation: Normalisation,
    skip_broken: bool,
    data_root: Path | None,
    indices: Sequence[int],
    progress: Progress,
) -> ScenarioData:
    """The scenario's reader; ``data_root`` has no say, since the file's paths are relative to the file."""
    from benchmark.data.tasks import TaskPlan, read_tasks

    plans = [
        TaskPlan(
            index,
            tasks[index - 1].name,
            _source(tasks[index - 1]),
            preparations[index - 1],
            normalisation,
            tasks[index - 1].augmentation,
            skip_broken,
        )
        for index in indices
    ]
    return read_tasks(plans, progress)


def _source(task: UserTask) -> TaskSource:
    if task.folder is not None:
        from benchmark.data.folders import folder_source

        return folder_source(task.folder, task.split)
    from benchmark.data.parquet import Columns, parquet_source
    from benchmark.data.patterns import matching

    train, test = matching(task.base, task.train), matching(task.base, task.test)
    return parquet_source(train, test, Columns(task.image_column, task.label_column))


def _preparation(task: UserTask, plain: Preparation) -> Preparation:
    """Images that are cropped at random are stored somewhat larger than the network sees them, and the whole of them
    unless they are squashed to a square."""
    import dataclasses

    from benchmark.data.images import SHORT_SIDE

    if not task.augmentation.random_resized_crop:
        return plain
    return dataclasses.replace(plain, size=round(plain.size * STORED_SHARE), whole=plain.resize == SHORT_SIDE)


def _tasks(content: Mapping[str, Any], path: Path, augmentation: Augmentation) -> tuple[UserTask, ...]:
    listed = content.get("tasks")
    if not isinstance(listed, list) or not listed:
        raise RequestError(f"{path}: tasks must be a list of at least one task.")
    tasks: list[UserTask] = []
    for number, entry in enumerate(listed, start=1):
        where = f"{path}, task {number}"
        if not isinstance(entry, dict):
            raise RequestError(f"{where}: a task has keys such as name and folder, not {shown(entry)}.")
        known_keys(entry, TASK_KEYS, where)
        tasks.append(_task(entry, path.parent, augmentation, where))
        if tasks[-1].name in [task.name for task in tasks[:-1]]:
            raise RequestError(f"{where}: there is already a task named {tasks[-1].name!r}.")
    return tuple(tasks)


def _task(entry: Mapping[str, Any], base: Path, augmentation: Augmentation, where: str) -> UserTask:
    has_folder, has_files = "folder" in entry, "train" in entry or "test" in entry
    if has_folder == has_files:
        raise RequestError(f"{where}: name either a folder, or train and test parquet files.")
    if has_files and "split" in entry:
        raise RequestError(f"{where}: split belongs to a folder; parquet files name train and test themselves.")
    for column in ("image_column", "label_column"):
        if has_folder and column in entry:
            raise RequestError(f"{where}: {column} belongs to parquet files, not to a folder.")
    return UserTask(
        name=title(text(entry, "name", where), where),
        augmentation=_augmentation(section(entry, "augmentation", where), augmentation, f"{where}, augmentation"),
        folder=path_of(entry, "folder", where, base) if has_folder else None,
        split=_share(entry, where) if "split" in entry else None,
        base=base,
        train=_paths(entry, "train", where) if has_files else (),
        test=_paths(entry, "test", where) if has_files else (),
        image_column=text(entry, "image_column", where) if "image_column" in entry else None,
        label_column=text(entry, "label_column", where) if "label_column" in entry else None,
    )


def _share(entry: Mapping[str, Any], where: str) -> float:
    """``split``: the share of every class that is test, above 0 and below 1."""
    share = as_number(entry["split"])
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise RequestError(
            f"{where}: split must be the share of test images, such as 0.2, not {shown(entry['split'])}."
        )
    return float(share)


def _paths(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """One path, a pattern such as ``train-*.parquet``, or a list of these; patterns are resolved when read."""
    value = entry.get(key)
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list) or not named or not all(_is_path(item) for item in named):
        raise RequestError(f"{where}: {key} must be a parquet file or a list of them, not {shown(value)}.")
    return tuple(named)


def _is_path(item: Any) -> bool:
    return isinstance(item, str) and bool(item) and "\0" not in item


def _backbone_options(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``backbone_options`` as given; ``width`` beside it is the usual one of them."""
    options = dict(section(content, "backbone_options", where))
    if "width" in content:
        options["width"] = content["width"]
    known_keys(options, BACKBONE_OPTIONS, f"{where}, backbone_options")
    width = as_number(options.get("width", 1.0))
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < float("inf"):
        raise RequestError(f"{where}: width must be a number above 0, not {shown(width)}.")
    if width > WIDEST:
        raise RequestError(f"{where}: width must be at most {WIDEST}, not {width:g}.")
    return options | {"width": width} if "width" in options else options


def _augmentation(given: Mapping[str, Any], base: Augmentation, where: str) -> Augmentation:
    known_keys(given, AUGMENTATION_KEYS, where)
    return Augmentation(
        crop_padding=whole(given, "crop_padding", where, base.crop_padding, 0, LARGEST_SIDE),
        flip=flag(given, "flip", where, base.flip),
        random_resized_crop=flag(given, "random_resized_crop", where, base.random_resized_crop),
        cutout=whole(given, "cutout", where, base.cutout, 0, LARGEST_SIDE),
    )
