"""``cifar100-20``: the twenty superclasses of CIFAR-100 as tasks, the protocol of CPG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.scenarios.contract import Augmentation, Progress, Scenario, ScenarioData
from benchmark.scenarios.sources import CIFAR100

#: The tasks in CPG's order, which is alphabetical, and their classes in ImageFolder's, alphabetical too.
SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}

IMAGES = ((2500, 500),) * len(SUPERCLASSES)

DATA_HELP = (
    "the data root must hold CIFAR-100 as torchvision's cifar-100-python/ (add --download to fetch it), as Hugging "
    "Face's parquet files (cifar100/train*.parquet and test*.parquet), or as image folders "
    "cifar100/{train,test}/SUPERCLASS/CLASS/*.png."
)


def read(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
    """Images uint8 (n, 3, 32, 32); all twenty tasks are decoded at once and kept in the cache."""
    from benchmark.data.cifar import notes_of, open_cifar
    from benchmark.data.tasks import sliced_tasks

    entry, found = open_cifar(data_root, progress, DATA_HELP)
    return sliced_tasks(
        entry, indices, Augmentation(crop_padding=4, flip=True), str(found.folder), notes=notes_of(found)
    )


def generate(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
    """Noise, as many images as there are."""
    from benchmark.data.generated import small_tasks

    augmentation = Augmentation(crop_padding=4, flip=True)
    return small_tasks(indices, SCENARIO.task_names, list(SUPERCLASSES.values()), IMAGES, (3, 32, 32), augmentation)


SCENARIO = Scenario(
    name="cifar100-20",
    protocol="cifar100-20",
    title="Twenty tasks of CIFAR-100",
    summary="CIFAR-100's 20 superclasses, 5 classes each, VGG16-BN from scratch (CPG's and KSM's first table)",
    task_names=tuple(SUPERCLASSES),
    classes=tuple(len(classes) for classes in SUPERCLASSES.values()),
    read=read,
    backbone="vgg16_bn",
    image_size=32,
    batch_size=32,
    eval_batch_size=100,
    data_help=DATA_HELP,
    wanted=(CIFAR100,),
    images=IMAGES,
    generate=generate,
    source="CPG (Hung et al., NeurIPS 2019), experiment 1; KSM (Yang et al., CVPR 2021), table 1",
)
