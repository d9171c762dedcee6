"""Which unit each channel of a network is, found by following channels through its graph.

A *unit* is one output channel of a convolution or linear layer, and what becomes of it on its way through BN,
activation and pooling to the layers that read it. Where two maps are added, their channels are one unit from there on,
so that a stage of residual blocks writes and reads one vector of units. Concatenation puts units side by side; before a
fully connected layer that reads a flattened map every channel's unit stands for all its positions.

A gate on a unit multiplies its channel. Everything between the layer that writes a unit and the layers that read it
must let a number a >= 0 pass, f(a x) = a f(x), so that the gate may as well multiply the scale and shift of the BN that
follows the writing layer or, without BN, its weight and bias. ReLU, maximum, average and sum do. Smooth and bounded
activations with f(0) = 0 do for the gates 0 and 1; between these the gate acts on what goes into them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods.engine.layers import computed_weights
from methods.hat.passing import PASSING, PASSING_CALLS, Tracer

ADDITIONS = ("add", "add_", "iadd")
CONCATENATIONS = ("cat", "concat", "concatenate")
#: averages and maxima, which must be over both directions of a map
REDUCTIONS = ("mean", "amax")
RESHAPES = ("view", "reshape")
#: what a graph asks of a tensor besides, to reshape by
SIZES = ("size", "getattr", "getitem")

#: the two directions of a map
SPACE = ({2, 3}, {-1, -2})


class UnknownUnits(ValueError):
    """The network cannot be followed unit by unit; the message says where and why."""


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a network, numbered from 0 in the order in which layers write them.

    Attributes:
        count: of all units.
        writes: unit of each output channel, int64 (out,), by the name of the convolution or linear layer.
        reads: unit of each input of that layer, int64 (in,), with groups (out, in / groups); None: it reads images.
        scaled: unit of each channel, int64 (channels,), by the name of the layer whose weight and bias a gate
            multiplies: the BN after a layer, else the layer itself.
    """

    count: int
    writes: dict[str, Tensor]
    reads: dict[str, Tensor | None]
    scaled: dict[str, Tensor]

    def to(self, device: torch.device) -> Units:
        """The same with its tensors on ``device``."""
        reads = {name: None if item is None else item.to(device) for name, item in self.reads.items()}
        writes, scaled = ({name: item.to(device) for name, item in part.items()} for part in (self.writes, self.scaled))
        return Units(self.count, writes, reads, scaled)


@dataclass(frozen=True)
class _Channels:
    """The units of a tensor's channels; ``flat``: the tensor has no other dimension but images and these."""

    units: list[int]
    flat: bool = False


#: images, and what is made of them without a weight, which no gate touches; a size or another number of the graph
_IMAGES, _NUMBER = object(), object()


def units_of(backbone: nn.Module) -> Units:
    """The units of ``backbone``, images (n, c, h, w) -> features (n, d). It is not changed.

    Raises:
        UnknownUnits: one sentence on what in it cannot be followed.
    """
    if computed := computed_weights(backbone):
        raise UnknownUnits(f"the weight of {computed[0]} is worked out from other tensors in every pass; remove that")
    _require_own_weights(backbone)
    try:
        graph = Tracer().trace(backbone)
    except Exception as error:  # whatever a forward pass does with a stand-in for its images
        reason = str(error).partition("\n")[0]
        raise UnknownUnits(
            f"units cannot be followed through {type(backbone).__name__}: torch.fx cannot trace it ({reason}); its "
            "forward pass must not depend on its images' values"
        ) from error
    return _Walk(backbone, graph).result()


def _require_own_weights(backbone: nn.Module) -> None:
    first: dict[int, str] = {}
    for name, parameter in backbone.named_parameters(remove_duplicate=False):
        if (other := first.setdefault(id(parameter), name)) != name:
            raise UnknownUnits(f"{other} and {name} are one tensor, whose units would be those of two layers")


class _Walk:
    """One pass through the graph; units that an addition joins are kept as a forest, ``_joined``."""

    def __init__(self, backbone: nn.Module, graph: fx.Graph) -> None:
        self._backbone, self._graph = backbone, graph
        self._joined: list[int] = []
        self._writes: dict[str, list[int]] = {}
        self._reads: dict[str, list[int] | list[list[int]] | None] = {}
        self._scaled: dict[str, list[int]] = {}
        self._found: dict[fx.Node, Any] = {}

    def result(self) -> Units:
        for node in self._graph.nodes:
            self._found[node] = self._follow(node)
        if not self._writes:
            raise UnknownUnits("the backbone has no convolution or linear layer whose output could be gated")
        numbers: dict[int, int] = {}
        for units in self._writes.values():
            for unit in units:
                numbers.setdefault(self._root(unit), len(numbers))

        def numbered(units: list[int] | list[list[int]]) -> Tensor:
            flat = torch.tensor(units)
            return flat.apply_(lambda unit: numbers[self._root(unit)])

        reads = {name: None if units is None else numbered(units) for name, units in self._reads.items()}
        writes = {name: numbered(units) for name, units in self._writes.items()}
        return Units(len(numbers), writes, reads, {name: numbered(units) for name, units in self._scaled.items()})

    def _root(self, unit: int) -> int:
        while self._joined[unit] != unit:
            unit = self._joined[unit]
        return unit

    def _follow(self, node: fx.Node) -> Any:
        """What a node gives: ``_Channels``, ``_IMAGES``, ``_NUMBER`` or, at the end, nothing."""
        if node.op == "placeholder":
            return _IMAGES
        if node.op == "output":
            return None
        if node.op == "call_module":
            return self._through(node, self._backbone.get_submodule(str(node.target)))
        if node.op == "get_attr":
            raise UnknownUnits(f"the backbone uses {node.target} outside of a layer")
        name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        if name in SIZES and (name != "getitem" or self._found.get(node.args[0]) is _NUMBER):  # type: ignore[arg-type]
            return _NUMBER
        if self._only_of_images(node):
            return _IMAGES
        if name in PASSING_CALLS:
            return self._input(node)
        for names, follow in (
            (ADDITIONS, self._add),
            (CONCATENATIONS, self._concatenate),
            (REDUCTIONS, self._reduce),
            (RESHAPES, self._reshape),
            (("flatten",), self._flatten),
        ):
            if name in names:
                return follow(node)
        raise UnknownUnits(f"the backbone's operation {name} ({node.name}) may mix units or move them")

    def _through(self, node: fx.Node, module: nn.Module) -> Any:
        if isinstance(module, nn.Conv2d | nn.Linear):
            return self._write(node, module)
        if isinstance(module, _BatchNorm):
            return _IMAGES if self._only_of_images(node) else self._normalise(node, module)
        if isinstance(module, nn.Flatten):
            return self._flatten(node, module.start_dim, module.end_dim)
        if isinstance(module, PASSING):
            return self._input(node)
        if self._only_of_images(node) and not module.state_dict():
            return _IMAGES
        raise UnknownUnits(f"the backbone's layer {node.target} ({type(module).__name__}) may mix units or move them")

    def _only_of_images(self, node: fx.Node) -> bool:
        """What the node gives depends on the images alone, and so on no gate."""
        found = [self._found.get(source) for source in node.all_input_nodes]
        return _IMAGES in found and all(item is _IMAGES or item is _NUMBER for item in found)

    def _input(self, node: fx.Node) -> Any:
        source = node.args[0] if node.args else node.kwargs.get("input")
        found = self._found.get(source) if isinstance(source, fx.Node) else None
        if found is None or found is _NUMBER:
            raise UnknownUnits(f"the backbone's operation {node.name} has no tensor in its first place")
        return found

    def _write(self, node: fx.Node, module: nn.Conv2d | nn.Linear) -> _Channels:
        name, found = str(node.target), self._input(node)
        if name in self._writes:
            raise UnknownUnits(f"the backbone uses its layer {name} twice, whose units would be those of two places")
        linear = isinstance(module, nn.Linear)
        if found is _IMAGES:
            self._reads[name] = None
        elif found.flat != linear:
            raise UnknownUnits(f"the backbone's layer {name} reads another dimension than that of channels")
        else:
            self._reads[name] = self._read(name, module, found.units)
        outputs = len(module.weight)
        units = list(range(len(self._joined), len(self._joined) + outputs))
        self._joined += units
        self._writes[name] = units
        users = list(node.users)
        if not (len(users) == 1 and isinstance(self._module(users[0]), _BatchNorm)):
            self._scaled[name] = units
        return _Channels(units, linear)

    def _read(self, name: str, module: nn.Conv2d | nn.Linear, units: list[int]) -> list[int] | list[list[int]]:
        if isinstance(module, nn.Linear):
            positions, over = divmod(module.in_features, len(units))
            if over:
                raise UnknownUnits(f"the backbone's layer {name} does not read whole channels")
            return [unit for unit in units for _ in range(positions)]
        if module.groups == 1:
            return units
        inputs, outputs = module.in_channels // module.groups, module.out_channels // module.groups
        groups = [units[group * inputs : (group + 1) * inputs] for group in range(module.groups)]
        return [group for group in groups for _ in range(outputs)]

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self._backbone.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _normalise(self, node: fx.Node, module: nn.Module) -> _Channels:
        source, name = node.args[0], str(node.target)
        layer = self._module(source) if isinstance(source, fx.Node) else None
        if not isinstance(layer, nn.Conv2d | nn.Linear) or len(source.users) > 1:  # type: ignore[union-attr]
            raise UnknownUnits(f"the backbone's {name} normalises something else than one layer's output alone")
        if module.weight is None:
            raise UnknownUnits(f"the backbone's {name} has no scale and shift for a gate to act on")
        if name in self._scaled:
            raise UnknownUnits(f"the backbone uses its layer {name} twice, whose units would be those of two places")
        found: _Channels = self._input(node)
        self._scaled[name] = found.units
        return found

    def _add(self, node: fx.Node) -> _Channels:
        found = [self._found.get(item) if isinstance(item, fx.Node) else None for item in node.args[:2]]
        first, second = (*found, None)[:2]
        if not isinstance(first, _Channels) or not isinstance(second, _Channels):
            raise UnknownUnits(f"the backbone adds something else than the outputs of two layers ({node.name})")
        if len(first.units) != len(second.units) or first.flat != second.flat:
            raise UnknownUnits(f"the backbone adds maps of different numbers of channels ({node.name})")
        for one, other in zip(first.units, second.units, strict=True):
            low, high = sorted((self._root(one), self._root(other)))
            self._joined[high] = low
        return first

    def _concatenate(self, node: fx.Node) -> _Channels:
        items: Any = node.args[0] if node.args else node.kwargs.get("tensors")
        dimension = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        found = [one for item in items if isinstance(one := self._found.get(item), _Channels)]
        if dimension != 1 or not found or len(found) < len(items) or len({item.flat for item in found}) > 1:
            raise UnknownUnits(f"the backbone concatenates something else than channels of layers ({node.name})")
        return _Channels([unit for item in found for unit in item.units], found[0].flat)

    def _reduce(self, node: fx.Node) -> Any:
        found = self._input(node)
        where: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        if not isinstance(where, tuple | list) or set(where) not in SPACE or found.flat:
            raise UnknownUnits(f"the backbone's {node.name} is over something else than a map's two directions")
        kept = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
        return _Channels(found.units, flat=not kept)

    def _flatten(self, node: fx.Node, start: Any = None, end: Any = None) -> Any:
        bounds: list[Any] = [*node.args[1:], None, None]
        start = bounds[0] if start is None else start
        start = node.kwargs.get("start_dim", 0) if start is None else start
        end = bounds[1] if end is None else end
        end = node.kwargs.get("end_dim", -1) if end is None else end
        return self._flat(node, bool(start == 1 and end in (-1, 3)))

    def _reshape(self, node: fx.Node) -> Any:
        shape: Any = node.args[1:]
        shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return self._flat(node, len(shape) == 2 and shape[1] == -1)

    def _flat(self, node: fx.Node, usual: bool) -> Any:
        found = self._input(node)
        if not usual:
            raise UnknownUnits(f"the backbone's {node.name} reshapes to something else than one row per image")
        return found if found is _IMAGES else _Channels(found.units, flat=True)
