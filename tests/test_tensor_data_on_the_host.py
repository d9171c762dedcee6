"""Images that a device cannot hold stay on the host; every batch is delivered on the device."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmark.execute.tensors import fits
from methods.engine.augment import Augmenting
from methods.engine.tensor_data import TensorImages

DEVICE = torch.device("meta")  # a device that is not the CPU and that every machine has


@pytest.mark.parametrize("rows", [None, torch.tensor([3, 1, 2, 0, 5])])
def test_batches_are_delivered_where_the_labels_are(rows: torch.Tensor | None) -> None:
    images = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8)
    count = 6 if rows is None else len(rows)
    labels = torch.zeros(count, dtype=torch.int64, device=DEVICE)
    split = TensorImages(images, labels, (0.5,) * 3, (0.5,) * 3, Augmenting(8), rows)
    order = torch.Generator().manual_seed(0)
    found = [*split.evaluation_batches(3), *split.training_batches(3, order, order)]
    assert [tuple(inputs.shape) for inputs, _ in found] == [(3, 3, 8, 8), (count - 3, 3, 8, 8)] * 2
    assert [len(labels) for _, labels in found] == [3, count - 3] * 2
    assert all(inputs.device == labels.device == DEVICE for inputs, labels in found)


def test_images_live_on_a_gpu_only_when_half_of_it_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    split = SimpleNamespace(images=SimpleNamespace(nbytes=10))
    tasks = [SimpleNamespace(train=split, test=split)] * 2  # 40 bytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    gpu = torch.device("cuda")
    assert fits(tasks, gpu, workers=1)  # type: ignore[arg-type]
    assert not fits(tasks, gpu, workers=2)  # type: ignore[arg-type]
    assert fits(tasks, torch.device("cpu"), workers=9)  # type: ignore[arg-type]
