"""What a task, or all tasks together, must store: named parts, each with its bits and its purpose.

One description for everything: size components, checkpoints, task files, export and the restored network
(``methods.engine.restore``) derive from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

#: prefix of what replaces the backbone's tensor of that name
OVERRIDE = "override."
#: prefix of the backbone's own tensors among what tasks share
BACKBONE = "backbone."
#: prefixes, in a checkpoint, of what tasks share and of what they keep, where later ones change it
SHARED, KEPT = "shared.", "kept."
HEAD = "head."
HEAD_WEIGHT, HEAD_BIAS = HEAD + "weight", HEAD + "bias"
BITS, VALUES, SCALES = "mask.bits", "mask.values", "mask.scales"
#: one vector that stands for the networks of all tasks, and what a task takes of it: a bit per number, one factor
MERGED, MERGED_BITS, MERGED_SCALE = "merged", "merged.bits", "merged.scale"

#: tensors by name
Tensors = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Part:
    """One stored tensor.

    Attributes:
        tensor: as it is written; numbers of less than eight bits are packed (``methods.engine.packing``).
        component: what it is called in the itemised size; parts of one component and purpose are one item.
        bits: of each number; 0: the tensor's own.
        count: numbers, where packing hides it; None: the tensor's own.
        kind: of number, "float32" say; empty: the tensor's own.
    """

    tensor: Tensor
    component: str
    purpose: str
    bits: int = 0
    count: int | None = None
    kind: str = ""

    @property
    def numbers(self) -> int:
        """How many numbers are stored."""
        return self.tensor.numel() if self.count is None else self.count

    @property
    def width(self) -> int:
        """Bits of each number."""
        return self.bits or 8 * self.tensor.element_size()

    @property
    def dtype(self) -> str:
        """The kind of number in words."""
        return self.kind or str(self.tensor.dtype).removeprefix("torch.")

    def about(self) -> dict[str, Any]:
        """All but the tensor, as plain JSON."""
        return {
            "component": self.component,
            "purpose": self.purpose,
            "bits": self.width,
            "count": self.numbers,
            "kind": self.dtype,
        }


#: parts by name, in the order in which they are written
Parts = dict[str, Part]


def tensors_of(parts: Mapping[str, Part]) -> Tensors:
    """The tensors alone."""
    return {name: part.tensor for name, part in parts.items()}


def described(parts: Mapping[str, Part]) -> dict[str, dict[str, Any]]:
    """What a file says of its tensors, beside them (plain JSON)."""
    return {name: part.about() for name, part in parts.items()}


def read_parts(tensors: Mapping[str, Tensor], about: Mapping[str, Mapping[str, Any]]) -> Parts:
    """Tensors and their descriptions, as read from a file, in the descriptions' order (a file sorts its tensors).

    Raises:
        KeyError, TypeError: they do not belong together.
    """
    if missing := tensors.keys() ^ about.keys():
        raise KeyError(f"tensors and their descriptions differ in {', '.join(sorted(missing))}")
    return {name: Part(tensors[name], **facts) for name, facts in about.items()}


@dataclass(frozen=True)
class StoredItem:
    """``count`` numbers of ``bits`` each that must be stored so that ``task`` (None: all tasks) can be restored."""

    name: str
    task: int | None
    count: int
    bits: int
    dtype: str
    purpose: str


def items(parts: Mapping[str, Part], task: int | None) -> list[StoredItem]:
    """The itemised size of these parts: one item per component, number format and purpose."""
    counts: dict[tuple[str, int, str, str], int] = {}
    for part in parts.values():
        key = part.component, part.width, part.dtype, part.purpose
        counts[key] = counts.get(key, 0) + part.numbers
    return [StoredItem(name, task, count, bits, dtype, why) for (name, bits, dtype, why), count in counts.items()]


def head_parts(tensors: Mapping[str, Tensor]) -> Parts:
    """The entries of ``tensors`` that make a task's head, the weight first, wherever they come from."""
    purpose = "the task's classifier"
    names = sorted((name for name in tensors if name.startswith(HEAD)), key=lambda name: (name != HEAD_WEIGHT, name))
    return {name: Part(tensors[name], "head", purpose) for name in names}


def own_parts(tensors: Mapping[str, Tensor], purpose: str) -> Parts:
    """The entries of ``tensors`` that replace the backbone's in one task."""
    return {name: Part(item, "own tensors", purpose) for name, item in tensors.items() if name.startswith(OVERRIDE)}


def overrides(tensors: Mapping[str, Tensor]) -> Tensors:
    """What replaces the backbone's tensors, by its name there."""
    return without_prefix(tensors, OVERRIDE)


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """The entries under ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): item for name, item in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class MaskCount:
    """Units of one layer's mask for one task: ``ones + soft + zeros == units`` (figure 6 of the KSM paper)."""

    task: int
    layer: str
    units: int
    ones: int
    soft: int
    zeros: int
