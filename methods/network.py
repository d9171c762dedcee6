"""The network that a strategy trains: a backbone that nobody modifies, looked at through one task's tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.func import functional_call


class TaskView(nn.Module):
    """``backbone`` with some of its tensors replaced, and a linear head.

    The replacements go in through ``torch.func.functional_call``, BN statistics included, so the backbone keeps
    its names and its bytes by construction.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self._replaced: dict[str, Tensor] = {}
        self._head: tuple[Tensor, Tensor] | None = None

    def look_through(self, replaced: Mapping[str, Tensor], weight: Tensor, bias: Tensor) -> None:
        """Use these tensors from now on: ``replaced`` by name in the backbone, ``weight`` (classes, features)."""
        self._replaced = dict(replaced)
        self._head = (weight, bias)

    def features(self, images: Tensor) -> Tensor:
        """What the head sees, float32 (n, features)."""
        if not self._replaced:
            return torch.as_tensor(self.backbone(images))
        return torch.as_tensor(functional_call(self.backbone, self._replaced, (images,)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        if self._head is None:
            raise RuntimeError("no task is selected yet: train a task first")
        return functional.linear(self.features(images), *self._head)
