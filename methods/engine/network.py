"""The network that a strategy trains: a backbone that nobody modifies, looked at through one task's tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from methods.engine.model_state import Learned, is_own, load_model_tensors, model_tensors

#: where a tensor hangs: a module's own table of parameters or buffers, and the key in it
Place = tuple[MutableMapping[str, Any], str]

#: variants of one compiled backbone: training or not, BN frozen or not, what is replaced, full or last batch
RECOMPILE_LIMIT = 64

PRECISIONS = ("fp32", "tf32", "bf16")


class TaskView(nn.Module):
    """``backbone`` with some of its tensors replaced, and a linear head.

    The replacements hang in the backbone only while it computes, BN statistics included, as with
    ``torch.func.functional_call``, but without looking every name up in every step. Between two calls the backbone has
    its own tensors, so its names and its bytes stay as they are.

    Args:
        backbone: images (n, c, h, w) -> features (n, d); its parameters are frozen in place.
        precision: "bf16": the backbone runs under autocast; head and logits are float32 in any case. "tf32" is a
            setting of the process, see ``benchmark.execute.assembly``.
        compiled: compile the backbone in place (``nn.Module.compile``); names and bytes stay.
    """

    def __init__(self, backbone: nn.Module, precision: str = "fp32", compiled: bool = False) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}")
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.autocasts = precision == "bf16"
        if compiled:
            _compile_in_place(self.backbone)
        self._replaced: Mapping[str, Tensor] = {}
        self._head: tuple[Tensor, Tensor] | None = None
        self._places: dict[str, list[Place]] = {}
        #: the strategy whose learned tasks are in ``state_dict``; None: the backbone alone
        self.learned_by: Learned | None = None

    def activate(self, replaced: Mapping[str, Tensor], weight: Tensor, bias: Tensor) -> None:
        """Use these tensors from now on: ``replaced`` by name in the backbone, ``weight`` (classes, features)."""
        self._replaced = replaced
        self._head = (weight, bias)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.learned_by is not None:
            for name, tensor in model_tensors(self.learned_by).items():
                destination[prefix + name] = tensor

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        own = {name[len(prefix) :]: item for name, item in state_dict.items() if is_own(name[len(prefix) :])}
        if self.learned_by is not None:
            others = {name: item for name, item in state_dict.items() if name[len(prefix) :] not in own}
            super()._load_from_state_dict(others, prefix, *rest)
            load_model_tensors(self.learned_by, own)
        else:
            super()._load_from_state_dict(state_dict, prefix, *rest)

    def __deepcopy__(self, memo: dict[int, Any]) -> TaskView:
        """The network as it looks now, with tensors of its own; copied by itself it no longer follows the strategy."""
        copied = TaskView(copy.deepcopy(self.backbone, memo))
        copied.autocasts = self.autocasts
        copied._replaced = {name: tensor.detach().clone() for name, tensor in self._replaced.items()}
        if self._head is not None:
            weight, bias = self._head
            copied._head = weight.detach().clone(), bias.detach().clone()
        copied.training = self.training
        copied.learned_by = memo.get(id(self.learned_by))  # where the whole strategy is copied, its copy
        memo[id(self)] = copied
        return copied

    @contextmanager
    def _with_replacements(self) -> Iterator[None]:
        """Inside, the backbone has the replacements where its own tensors hang."""
        originals: list[tuple[MutableMapping[str, Any], str, Tensor, Tensor]] = []
        changed: list[str] = []
        try:
            for name, tensor in self._replaced.items():
                for members, key in self._places.get(name) or self._find(name):
                    originals.append((members, key, members[key], tensor))
                    members[key] = tensor
            yield
        finally:
            for members, key, own, replacement in originals:
                left = members[key]
                if left is not replacement and left is not None:  # a layer put a new tensor where its buffer was
                    if left.shape != replacement.shape:
                        changed.append(f"{key} from {tuple(replacement.shape)} to {tuple(left.shape)}")
                    else:
                        replacement.data.copy_(left.detach())
                members[key] = own
        if changed:
            raise ValueError(f"a layer changes the shape of its state ({changed[0]}), which no task can keep")

    def _find(self, name: str) -> list[Place]:
        """Every place of the tensor of that name; several where layers share it."""
        if not self._places:
            self._places = _places(self.backbone)
        if name not in self._places:
            raise KeyError(f"the backbone has no parameter or buffer {name!r}")
        return self._places[name]

    def features(self, images: Tensor) -> Tensor:
        """What the head sees, float (n, features)."""
        with self._with_replacements():
            features: Tensor = self.backbone(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 (n, classes)."""
        if self._head is None:
            raise RuntimeError("no task is selected yet: train a task first")
        if not self.autocasts:
            return functional.linear(self.features(images), *self._head)
        with torch.autocast(images.device.type, torch.bfloat16):
            features = self.features(images)
        return functional.linear(features.float(), *self._head)


def _compile_in_place(backbone: nn.Module) -> None:
    """Compile, and never fall back to eager in silence: a variant for every mode, gradient and batch size is meant."""
    import torch._dynamo.config as dynamo

    dynamo.recompile_limit = max(dynamo.recompile_limit, RECOMPILE_LIMIT)
    dynamo.fail_on_recompile_limit_hit = True
    backbone.compile()


def _places(backbone: nn.Module) -> dict[str, list[Place]]:
    """Where each parameter and buffer hangs, by its name; a shared one has all its places under its first name."""
    places: dict[str, list[Place]] = {}
    first_name: dict[int, str] = {}
    for prefix, module in backbone.named_modules():
        for members in (module._parameters, module._buffers):
            for key, tensor in members.items():
                if tensor is not None:
                    name = f"{prefix}.{key}" if prefix else key
                    owner = first_name.setdefault(id(tensor), name)
                    places.setdefault(owner, []).append((members, key))
    return places
