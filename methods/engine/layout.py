"""Where each masked weight lies: all of them in one flat tensor, ordered so that masks come out in a few passes.

A *unit* is the run of weights that share one mask number: an element, a kernel, a group of kernels, all kernels of an
output channel, or a block of consecutive weights of one output. In PyTorch's order (out, in, kh, kw) every such unit is
contiguous and, within a layer, of equal size; layers of equal unit size lie side by side, so that one broadcast
multiplication serves all of them. Only blocks may not divide the weights of an output, its *row*: the last unit of each
row is then shorter, and the layer takes two multiplications.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor, nn

from methods.engine.layers import computed_weights, unmasked_weights, weight_layers
from methods.settings import BLOCK_ROWS, HIDDEN_LINEAR, UNITS

#: input channels per unit of the release's group-wise masks
GROUP_CHANNELS = 8


@dataclass(frozen=True)
class LayerSlot:
    """One weight tensor's place: elements ``[start, stop)``, mask units ``[unit_start, unit_stop)``."""

    name: str  #: parameter name in the backbone, e.g. "features.0.weight"
    shape: torch.Size
    unit_size: int
    start: int
    unit_start: int

    @property
    def elements(self) -> int:
        """Weights of the layer."""
        return self.shape.numel()

    @property
    def row(self) -> int:
        """Weights of one output, which no unit crosses, where units do not divide them; 0 where they do."""
        return _row(self.shape, self.unit_size)

    @property
    def units(self) -> int:
        """Mask units of the layer."""
        if self.row:
            return self.elements // self.row * -(-self.row // self.unit_size)
        return self.elements // self.unit_size

    @property
    def stop(self) -> int:
        """End of the layer's elements."""
        return self.start + self.elements

    @property
    def unit_stop(self) -> int:
        """End of the layer's units."""
        return self.unit_start + self.units

    @property
    def element_slice(self) -> slice:
        """The layer in a flat tensor of all weights."""
        return slice(self.start, self.stop)

    @property
    def unit_slice(self) -> slice:
        """The layer in a flat tensor of all mask units."""
        return slice(self.unit_start, self.unit_stop)


@dataclass(frozen=True)
class Run:
    """Neighbouring layers whose units have one size: ``units`` x ``unit_size`` as a matrix.

    Where ``row`` is not 0, units do not divide the rows of that many weights, and the last unit of each is shorter.
    """

    start: int
    stop: int
    unit_start: int
    unit_stop: int
    unit_size: int
    row: int = 0

    def pieces(self, elements: Tensor, per_unit: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Views of the run in flat (elements,) and (units,) tensors that broadcast, see ``paired``."""
        return paired(elements[self.start : self.stop], per_unit[self.unit_start : self.unit_stop], self)


@dataclass(frozen=True, eq=False)
class FlatLayout:
    """The masked layers of a backbone in storage order, and the runs of equal unit size."""

    slots: tuple[LayerSlot, ...]
    runs: tuple[Run, ...]

    @property
    def elements(self) -> int:
        """Weights in all layers."""
        return self.slots[-1].stop if self.slots else 0

    @property
    def units(self) -> int:
        """Mask units in all layers."""
        return self.slots[-1].unit_stop if self.slots else 0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Parameter names in storage order."""
        return tuple(slot.name for slot in self.slots)

    @cached_property
    def element_counts(self) -> list[int]:
        """Weights per layer, in storage order."""
        return [slot.elements for slot in self.slots]

    @cached_property
    def unit_counts(self) -> list[int]:
        """Mask units per layer, in storage order."""
        return [slot.units for slot in self.slots]

    @cached_property
    def shapes(self) -> list[torch.Size]:
        """Weight shapes, in storage order."""
        return [slot.shape for slot in self.slots]

    @cached_property
    def ragged(self) -> bool:
        """Some unit is shorter than the others of its layer."""
        return any(run.row for run in self.runs)

    @cached_property
    def elementwise(self) -> bool:
        """Every unit is one element."""
        return self.units == self.elements

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The layers' weights as one flat tensor (elements,), a copy."""
        return torch.cat([tensors[slot.name].detach().reshape(-1) for slot in self.slots])

    def parts(self, flat: Tensor) -> list[Tensor]:
        """Layer views of a flat tensor (elements,), in storage order. Differentiable."""
        return [
            part.view(shape)
            for part, shape in zip(flat.split_with_sizes(self.element_counts), self.shapes, strict=True)
        ]

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Layer views of a flat tensor (elements,), by parameter name. Differentiable."""
        return dict(zip(self.names, self.parts(flat), strict=True))

    def expand(self, per_unit: Tensor) -> Tensor:
        """Repeat each unit's number for its elements: (units,) -> (elements,)."""
        expanded = torch.empty(self.elements, dtype=per_unit.dtype, device=per_unit.device)
        for run in self.runs:
            for elements, numbers in run.pieces(expanded, per_unit):
                elements.copy_(numbers.expand_as(elements))
        return expanded

    def scale(self, flat: Tensor, per_unit: Tensor, out: Tensor | None = None) -> Tensor:
        """Multiply each element of ``flat`` (elements,) by its unit's number (units,), into ``out`` or a new tensor."""
        product = torch.empty_like(flat) if out is None else out
        for run in self.runs:
            both = zip(run.pieces(flat, per_unit), run.pieces(product, per_unit), strict=True)
            for (elements, numbers), (room, _) in both:
                torch.mul(elements, numbers, out=room)
        return product

    def unit_products(self, gradients: Sequence[Tensor], weights: Tensor, sums: Tensor) -> Tensor:
        """Sum over each unit of gradient times weight: layers' gradients and flat (elements,) -> ``sums`` (units,)."""
        products = torch.empty_like(weights)
        for slot, gradient, weight, product, total in zip(
            self.slots,
            gradients,
            weights.split_with_sizes(self.element_counts),
            products.split_with_sizes(self.element_counts),
            sums.split_with_sizes(self.unit_counts),
            strict=True,
        ):
            torch.mul(gradient.reshape(-1), weight, out=total if slot.unit_size == 1 else product)
        for run in self.runs:
            if run.unit_size > 1:
                for elements, totals in run.pieces(products, sums):
                    torch.sum(elements, dim=-1, out=totals.squeeze(-1))
        return sums

    def in_blocks(self, rows: int) -> FlatLayout:
        """The same layers with units of ``rows`` consecutive weights of one output ("block" in ``layout_of``)."""
        sized = [(min(rows, math.prod(slot.shape[1:])), slot.name, slot.shape) for slot in self.slots]
        return arrange((name, shape, size) for size, name, shape in sorted(sized, key=lambda item: item[0]))


def paired(elements: Tensor, per_unit: Tensor, of: Run | LayerSlot) -> Iterator[tuple[Tensor, Tensor]]:
    """A run's or a layer's elements (…, n) beside their units' numbers (…, 1), as views; shorter units apart."""
    if not of.row:
        yield elements.view(-1, of.unit_size), per_unit.unsqueeze(1)
        return
    whole = of.row // of.unit_size
    matrix, numbers = elements.view(-1, of.row), per_unit.view(-1, whole + 1)
    if whole:
        yield matrix[:, : whole * of.unit_size].view(-1, whole, of.unit_size), numbers[:, :whole, None]
    yield matrix[:, whole * of.unit_size :], numbers[:, whole:]


def _row(shape: Sequence[int], unit_size: int) -> int:
    """``LayerSlot.row``. A flat tensor, of one dimension, has no rows."""
    row = math.prod(shape[1:])
    return row if len(shape) > 1 and row % unit_size else 0


def _unit_size(module: nn.Module, units: str, hidden_linear: str, rows: int) -> int | None:
    """Elements per mask unit of one layer; None: the layer is not masked."""
    assert isinstance(module, nn.Conv2d | nn.Linear)
    if isinstance(module, nn.Linear):
        sizes = {"element": 1, "block": min(rows, module.in_features), "unit": module.in_features, "frozen": None}
        return sizes[hidden_linear]
    _, inputs, height, width = module.weight.shape
    if units == "block":
        return min(rows, inputs * height * width)
    if units == "element":
        return 1
    if units == "kernel":
        return height * width
    if units == "channel":
        return inputs * height * width
    channels = max(size for size in range(1, GROUP_CHANNELS + 1) if inputs % size == 0)
    return channels * height * width


def layout_of(
    backbone: nn.Module,
    units: str = "element",
    hidden_linear: str = "element",
    leave_out: Collection[str] = (),
    rows: int = BLOCK_ROWS,
) -> FlatLayout:
    """The layout of a backbone's convolution and linear weights.

    Args:
        backbone: any network; its head is not part of it.
        units: what shares a mask number in a convolution: "element", "kernel", "group" (blocks of the largest
            number of input channels up to eight that divides them), "channel" (per output channel) or "block" (of the
            weights of each output, in PyTorch's order, so many at a time as ``rows`` says, the rest at the end).
        hidden_linear: for linear layers inside the backbone: "element", "block", "unit" (per output) or "frozen" (no
            mask).
        leave_out: names of weights that are not to be masked.
        rows: weights of a block.

    Raises:
        ValueError: an unknown name, a layer whose weight is no parameter, or a backbone without a layer to mask.
    """
    if units not in UNITS:
        raise ValueError(f"mask units {units!r} are unknown; choose one of {', '.join(UNITS)}")
    if hidden_linear not in HIDDEN_LINEAR:
        raise ValueError(f"hidden_linear {hidden_linear!r} is unknown; choose one of {', '.join(HIDDEN_LINEAR)}")
    if computed := computed_weights(backbone):
        raise ValueError(
            f"the weight of {', '.join(computed)} is worked out from other tensors in every pass (a parametrization, "
            "weight or spectral normalisation, or pruning) and cannot be masked; remove it first, for example with "
            "torch.nn.utils.parametrize.remove_parametrizations or torch.nn.utils.prune.remove"
        )
    sized = [
        (size, name, module.weight.shape)
        for name, module in weight_layers(backbone)
        if name not in leave_out
        and (size := _unit_size(module, units, hidden_linear, rows)) is not None
        and isinstance(module.weight, Tensor)
    ]
    if not sized:
        spared = " (mask.hidden_linear=frozen spares its linear ones)" if weight_layers(backbone) else ""
        others = unmasked_weights(backbone, (name for name, _ in weight_layers(backbone)))
        kinds = f"; {', '.join(others[:3])} are of layers that get no mask" if others and not spared else ""
        raise ValueError(f"the backbone has no convolution or linear layer to mask{spared}{kinds}")
    return arrange((name, shape, size) for size, name, shape in sorted(sized, key=lambda item: item[0]))


def arrange(layers: Iterable[tuple[str, Sequence[int], int]]) -> FlatLayout:
    """Lay (name, shape, unit size) triples side by side, in the order given.

    Raises:
        ValueError: units of a layer are larger than what one output has, or do not divide a flat tensor.
    """
    slots: list[LayerSlot] = []
    start = unit_start = 0
    for name, shape, size in layers:
        if math.prod(shape) % size and size > _row(shape, size):
            raise ValueError(f"{name}: units of {size} elements do not divide a tensor of shape {tuple(shape)}")
        slots.append(LayerSlot(name, torch.Size(shape), size, start, unit_start))
        start, unit_start = slots[-1].stop, slots[-1].unit_stop
    runs = []
    for (size, row), members in groupby(slots, key=lambda slot: (slot.unit_size, slot.row)):
        first, *_, last = (*(items := list(members)), items[-1])
        runs.append(Run(first.start, last.stop, first.unit_start, last.unit_stop, size, row))
    return FlatLayout(tuple(slots), tuple(runs))
