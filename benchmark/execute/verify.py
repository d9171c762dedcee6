"""An exported task against the record: the same test images, through the file's own preprocessing and network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.data.pixel_file import PixelFile
from benchmark.errors import RequestError
from benchmark.execute.stored_run import StoredRun
from benchmark.execute.tensors import balanced_subset
from benchmark.scenarios.contract import Task, silent
from benchmark.scenarios.loader import load_scenario
from methods.engine.task_file import TaskNetwork, load_task
from results.schema import TaskRow

BATCH = 100
#: another processor may round a logit otherwise; more than this share of the images is no rounding
TOLERANCE = 0.005


@dataclass(frozen=True)
class Verified:
    """How many of ``images`` test images the exported network answers rightly, and how many the record says."""

    right: int
    recorded: int
    images: int

    @property
    def agrees(self) -> bool:
        """Equal, but for what rounding on another processor may do."""
        return abs(self.right - self.recorded) <= TOLERANCE * self.images


def images_of(run: StoredRun, row: TaskRow, data_root: Path | None) -> Task:
    """The task's images, as the run read them. Raises RequestError: they are not at hand, or are others."""
    options = run.record.provenance.get("options") or {}
    root = data_root or (Path(options["data_root"]) if options.get("data_root") else None)
    scenario = load_scenario(options.get("scenario_source") or run.spec.scenario, run.spec.backbone.name)
    (task,) = scenario.read(root, [row.index], silent).tasks
    limit = run.spec.test_limit
    count = len(task.test) if limit is None else min(limit, len(task.test))
    if count != row.test_images:
        raise RequestError(f"{row.name} has {count} test images here, the run had {row.test_images}.")
    return task


@torch.no_grad()
def verify(run: StoredRun, row: TaskRow, file: Path, task: Task) -> Verified:
    """Evaluate an exported file on the task's test images."""
    run.network.load_state_dict(run.backbone, strict=False)
    network = load_task(run.network, file)
    rows = balanced_subset(task.test.labels, run.spec.test_limit)
    right = 0
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        labels = torch.from_numpy(task.test.labels[chosen])
        right += int((network(_seen(network, task.test.images, chosen)).argmax(1) == labels).sum())
    return Verified(right, round(row.accuracy_at_end * row.test_images), len(rows))


def _seen(network: TaskNetwork, images: NDArray[np.uint8] | PixelFile, chosen: NDArray[np.int64]) -> torch.Tensor:
    """What the network sees of the images at these places; those in a file have sizes of their own."""
    if not isinstance(images, PixelFile):
        return network.normalise(torch.tensor(images[chosen]))
    found = [torch.from_numpy(images.read(place).transpose(2, 0, 1)[None]) for place in chosen.tolist()]
    return torch.cat([network.normalise(image) for image in found])
