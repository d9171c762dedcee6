"""The row of the data set that the backbone was pretrained on: ImageNet in ImageNet-to-Sketch.

No task learns it. Methods that leave the backbone alone keep its accuracy; those that free a part of its weights first
lose some. It is evaluated on validation images in one folder a class, where there are any, straight from the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.timm_models import inputs_of, is_timm
from benchmark.backbones.weights import load_classifier
from benchmark.data.class_folders import folder_of, listing
from benchmark.data.tasks import IMAGENET_MEAN, IMAGENET_STD
from benchmark.execute.tensors import balanced_subset
from benchmark.plan.execution import RunOptions
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.loader import load_scenario
from methods.card import AS_GIVEN
from methods.engine import batchnorm
from methods.engine.layers import weight_layers
from methods.registry import METHODS
from results.schema import FROM_SCRATCH, PretrainedRow

#: short side of an image over the side that the network sees: 256 over 224
LARGER = 256 / 224
READERS = 8  #: threads that decode

Images = Sequence[tuple[Path, int]]


def pretrained_row(
    spec: RunSpec, options: RunOptions, strategy: Any, say: Callable[[str], None]
) -> PretrainedRow | None:
    """The row of a run whose tasks are all learned; None where the scenario has no such row."""
    scenario = load_scenario(options.scenario_source)
    on = scenario.pretrained_on
    if on is None or not spec.backbone.pretrained or spec.synthetic:
        return None
    card = METHODS[spec.method]
    keeps = card.needs.backbone == AS_GIVEN and card.reference != FROM_SCRATCH
    tensors = strategy.pretrained_tensors() if keeps else None
    freed = 0.0 if tensors is None else share_freed(strategy.view.backbone, tensors)

    def not_run(why: str) -> PretrainedRow:
        return PretrainedRow(on.name, on.title, on.classes, freed=freed, note=f"not run: {why}")

    if tensors is None:
        return not_run("the method does not keep the pretrained network")
    folder = folder_of(scenario, options.data_root)
    if folder is None:
        return not_run(f"no validation images in {on.place} below the data root")
    head = load_classifier(options.weights, strategy.feature_dim) if options.weights is not None else None
    if head is None or len(head[0]) != on.classes:
        return not_run(f"the weights file has no head of {on.classes:,} classes")
    every = listing(folder)
    rows = balanced_subset(np.array([label for _, label in every], dtype=np.int64), spec.test_limit)
    images = [every[row] for row in rows]
    say(f"evaluating {on.title} on {len(images):,} images")
    try:
        right = _right(spec, strategy, tensors, head, images)
    except (OSError, ValueError) as error:
        return not_run(f"its images cannot all be read ({error})"[:400])
    note = (
        f"{100 * freed:.1f} % of its weights were freed for the tasks, without retraining on {on.title}"
        if freed
        else ""
    )
    return PretrainedRow(on.name, on.title, on.classes, len(images), right / len(images), freed, note)


@torch.no_grad()
def share_freed(backbone: Any, tensors: dict[str, Tensor]) -> float:
    """Share of the convolution and hidden linear weights that are zero in ``tensors`` and not in the backbone."""
    parameters = dict(backbone.named_parameters())
    names = [name for name, _ in weight_layers(backbone)]
    total = sum(parameters[name].numel() for name in names)
    lost = sum(int(((parameters[name] != 0) & (tensors[name] == 0)).sum()) for name in names if name in tensors)
    return lost / total if total else 0.0


@torch.no_grad()
def _right(
    spec: RunSpec, strategy: Any, tensors: dict[str, Tensor], head: tuple[Tensor, Tensor], images: Images
) -> int:
    """How many images the pretrained network answers rightly."""
    device, view = strategy.device, strategy.view
    name = spec.backbone.name
    seen = inputs_of(name).normalisation(3) if is_timm(name) else (IMAGENET_MEAN, IMAGENET_STD)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in seen)
    batchnorm.set_modes(view, training=False, bn_trains=False)
    strategy.forget_view()
    view.activate(tensors, head[0].to(device), head[1].to(device))
    right = torch.zeros((), dtype=torch.int64, device=device)
    for pixels, labels in _batches(images, spec.backbone.image_size, spec.protocol.eval_batch_size):
        logits = view((pixels.to(device).float() / 255 - mean) / std)
        right += (logits.argmax(1) == labels.to(device)).sum()
    return int(right)


def _batches(images: Images, size: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """uint8 (n, 3, size, size) and int64 (n,), as torchvision's weights are evaluated: short side at 256 of 224, then
    the centre. Raises OSError or ValueError: an image cannot be read."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(images), count):
            chosen = images[start : start + count]
            pixels = list(pool.map(lambda item: _pixels(item[0], size), chosen))
            yield torch.stack(pixels), torch.tensor([label for _, label in chosen])


def _pixels(path: Path, size: int) -> Tensor:
    from PIL import Image
    from torchvision.transforms import functional  # type: ignore[import-untyped]

    try:
        with Image.open(path) as image:
            larger = functional.resize(image.convert("RGB"), round(size * LARGER))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f"{path.parent.name}/{path.name}: {error}") from error
    found: Tensor = functional.pil_to_tensor(functional.center_crop(larger, [size, size]))
    return found
