"""``cifar100-superclass``: the same twenty tasks of CIFAR-100 as WSN's authors run them, on LeNet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmark.scenarios.cifar100_20 import DATA_HELP, IMAGES, SUPERCLASSES
from benchmark.scenarios.cifar100_20 import SCENARIO as CIFAR100_20
from benchmark.scenarios.contract import Augmentation, Progress, ScenarioData

#: of all tasks, of pixels in 0 to 1 (the authors' code gives them in 0 to 255)
MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)


def read(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
    """Images uint8 (n, 3, 32, 32), not augmented; all twenty tasks are decoded at once and kept in the cache."""
    from benchmark.data.cifar import notes_of, open_cifar
    from benchmark.data.tasks import sliced_tasks

    entry, found = open_cifar(data_root, progress, DATA_HELP)
    return sliced_tasks(entry, indices, Augmentation(), str(found.folder), (MEAN, STD), notes=notes_of(found))


def generate(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
    """Noise, as many images as there are."""
    from benchmark.data.generated import small_tasks

    names, classes = tuple(SUPERCLASSES), list(SUPERCLASSES.values())
    return small_tasks(indices, names, classes, IMAGES, (3, 32, 32), Augmentation(), (MEAN, STD))


SCENARIO = dataclasses.replace(
    CIFAR100_20,
    name="cifar100-superclass",
    protocol="cifar100-superclass",
    title="Twenty tasks of CIFAR-100 on LeNet",
    summary="the same 20 superclasses on LeNet without BN, images not augmented (WSN's superclass table)",
    read=read,
    generate=generate,
    backbone="lenet",
    batch_size=64,
    source="WSN (Kang et al., ICML 2022), CIFAR-100 superclass",
)
