"""``imagenet2sketch``: five fine-grained tasks on a ResNet-50 that knows ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.scenarios.contract import Augmentation, PretrainedOn, Progress, Scenario, ScenarioData, Vouched
from benchmark.scenarios.sources import FINE_GRAINED, absent

if TYPE_CHECKING:
    from benchmark.data.images import Preparation
    from benchmark.data.listing import TaskSource
    from benchmark.data.tasks import TaskPlan

FOLDER = "imagenet2sketch"  #: below the data root
IMAGE_SIZE = 224
STORED_SIZE = 256  #: short side of the tasks that are cropped at random

#: In CPG's order, without ImageNet itself, which is where every task starts from.
TASK_NAMES = ("cubs_cropped", "stanford_cars_cropped", "flowers", "wikiart", "sketches")
WHOLE = (3, 4, 5)  #: the tasks that are not cropped to a box beforehand, and so are cropped at random
CLASSES = tuple(source.classes for source in FINE_GRAINED)
IMAGES = tuple(source.images for source in FINE_GRAINED)

DATA_HELP = (
    f"the data root must hold {FOLDER}/{{{','.join(TASK_NAMES)}}}/{{train,test}}/CLASS/*.jpg: CUBS-200-2011 and "
    "Stanford Cars cropped to their bounding boxes, Oxford Flowers (training and validation images merged), WikiArt "
    "and TU-Berlin Sketches; 'python -m benchmark data prepare' makes them from the published archives."
)
#: the same network (torchvision's IMAGENET1K_V1) under its two names
WEIGHTS_FILES = ("resnet50-19c8e357.pth", "resnet50-0676ba61.pth")
WEIGHTS_HELP = (
    "torchvision's ResNet-50 trained on ImageNet, resnet50-19c8e357.pth (or resnet50-0676ba61.pth), from "
    "https://download.pytorch.org/models/; name the file with --weights, or put it into the data root, its folder "
    "weights, or where torch.hub keeps downloads."
)
#: task 1 of the published table, which nobody trains
PRETRAINED_ON = PretrainedOn("imagenet", "ImageNet", 1000, "imagenet/val", 50_000)


def read(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
    """Images in a file, uint8: 224 x 224 of the two cropped tasks, of the others all of it at a short side of 256; only
    the tasks asked for."""
    from benchmark.data.prepared import prepared_source
    from benchmark.data.tasks import read_tasks

    if data_root is None:
        raise absent(f"imagenet2sketch needs a data root: {DATA_HELP}", FINE_GRAINED, None)
    root = _folder(data_root)
    missing = [name for name in TASK_NAMES if not (root / name).is_dir()]
    if any(TASK_NAMES[index - 1] in missing for index in indices):
        raise absent(f"{root} does not hold {', '.join(missing)}: {DATA_HELP}", FINE_GRAINED, data_root, missing)
    sources = {index: prepared_source(root / TASK_NAMES[index - 1], progress) for index in indices}
    return read_tasks([_plan(index, sources[index]) for index in indices], progress)


def generate(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
    """Noise, as many images as there are, of varying widths where the tasks' images have them."""
    from benchmark.data.generated import large_tasks, source_of_large

    plans = [_plan(index, source_of_large(index, _preparation(index))) for index in indices]
    chosen = [index - 1 for index in indices]
    return large_tasks(plans, [CLASSES[at] for at in chosen], [IMAGES[at] for at in chosen], progress)


def _plan(index: int, source: TaskSource) -> TaskPlan:
    from benchmark.data.tasks import IMAGENET_MEAN, IMAGENET_STD, TaskPlan

    augmentation = Augmentation(flip=True, random_resized_crop=index in WHOLE)
    normalisation = (IMAGENET_MEAN, IMAGENET_STD)
    return TaskPlan(index, TASK_NAMES[index - 1], source, _preparation(index), normalisation, augmentation)


def _preparation(index: int) -> Preparation:
    from benchmark.data.images import EXACT, SHORT_SIDE, Preparation

    if index in WHOLE:
        return Preparation(STORED_SIZE, SHORT_SIDE, whole=True, in_a_file=True)
    return Preparation(IMAGE_SIZE, EXACT, in_a_file=True)


def vouch(data_root: Path | None, index: int, progress: Progress) -> Vouched | None:
    """What ``data prepare`` left of a task. Raises RequestError when its files have changed."""
    from benchmark.data.prepared import vouched

    return None if data_root is None else vouched(_folder(data_root) / TASK_NAMES[index - 1], progress)


def _folder(data_root: Path) -> Path:
    return data_root if data_root.name == FOLDER else data_root / FOLDER


SCENARIO = Scenario(
    name="imagenet2sketch",
    protocol="imagenet2sketch",
    title="ImageNet-to-Sketch",
    summary="birds, cars, flowers, paintings, sketches on an ImageNet ResNet-50 (Piggyback's and CPG's; KSM's table 2)",
    task_names=TASK_NAMES,
    classes=CLASSES,
    read=read,
    backbone="resnet50",
    image_size=IMAGE_SIZE,
    pretrained=True,
    weights_help=WEIGHTS_HELP,
    weights_files=WEIGHTS_FILES,
    pretrained_on=PRETRAINED_ON,
    batch_size=32,
    eval_batch_size=100,
    data_help=DATA_HELP,
    images=IMAGES,
    whole=WHOLE,
    wanted=FINE_GRAINED,
    vouch=vouch,
    generate=generate,
    source="Piggyback (Mallya et al., ECCV 2018); CPG (Hung et al., NeurIPS 2019), experiment 2; KSM, table 2",
)
