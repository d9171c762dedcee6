"""Blocks of weights of one output as mask units: counted by hand, and equal to other units in places."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_net
from torch import Tensor, nn

from benchmark.backbones.builder import build
from benchmark.measure.size import architecture_of
from methods.engine import fast, masks
from methods.engine.layout import FlatLayout, arrange, layout_of
from methods.engine.packing import pack_bits
from methods.engine.parts import BACKBONE, BITS
from methods.engine.restore import masked_weights, stored_mask
from methods.settings import MaskSettings


def blocks(net: nn.Module, rows: int, hidden_linear: str = "block") -> FlatLayout:
    return layout_of(net, "block", hidden_linear, rows=rows)


def sizes(fan: int, rows: int) -> list[int]:
    """Weights of the units of one output."""
    layout = blocks(nn.Linear(fan, 1), rows)
    return torch.bincount(layout.expand(torch.arange(layout.units))).tolist()


def test_the_last_block_of_a_row_is_shorter_where_rows_do_not_divide_it() -> None:
    assert sizes(27, 72) == [27]
    assert sizes(256, 72) == [72, 72, 72, 40]
    assert sizes(512, 72) == [72] * 7 + [8]
    assert sizes(144, 72) == [72, 72]
    assert sizes(3, 2) == [2, 1]


def test_blocks_go_through_input_channels_and_never_cross_outputs() -> None:
    layout = blocks(nn.Conv2d(3, 2, (1, 3), bias=False), 4)  # nine weights an output: 4, 4 and 1
    numbers = layout.expand(torch.arange(6.0)).view(2, 3, 1, 3)
    assert numbers[0].flatten().tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert numbers[1].flatten().tolist() == [3, 3, 3, 3, 4, 4, 4, 4, 5]


def test_effective_weights_by_hand() -> None:
    layout = blocks(nn.Linear(3, 1, bias=False), 2)
    weights, scores = torch.tensor([2.0, 3.0, 5.0]), torch.tensor([0.01, 0.001], requires_grad=True)
    settings = MaskSettings(units="block", rows=2, surrogate="straight-through", soft="none")
    effective = masks.effective_weights(scores, weights, layout, settings)["weight"]
    assert effective.tolist() == [[2, 3, 0]]
    effective.backward(torch.tensor([[1.0, 10.0, 100.0]]))
    assert scores.grad is not None
    assert scores.grad.tolist() == [32, 500]  # 1 x 2 + 10 x 3, and 100 x 5


@pytest.mark.parametrize(
    ("rows", "units", "hidden_linear"),
    [(1, "element", "element"), (9, "kernel", "frozen"), (72, "group", "frozen"), (10_000, "channel", "unit")],
)
def test_blocks_are_other_units_where_they_coincide(rows: int, units: str, hidden_linear: str) -> None:
    net = nn.Sequential(nn.Conv2d(8, 6, 3), nn.Conv2d(16, 4, 3), nn.Linear(30, 7))
    ours = blocks(net, rows, "frozen" if hidden_linear == "frozen" else "block")
    theirs = layout_of(net, units, hidden_linear)
    assert (ours.slots, ours.runs) == (theirs.slots, theirs.runs)


@pytest.mark.parametrize("rows", [1, 4, 5, 9, 17, 1000])
@pytest.mark.parametrize("soft", ["none", "release", "max-abs"])
def test_ragged_units_have_the_numbers_of_an_index_of_units(
    monkeypatch: pytest.MonkeyPatch, rows: int, soft: str
) -> None:
    """Weights, gradients, sums and the restored network against an explicit unit of every element; both paths."""
    net = tiny_net()
    layout = blocks(net, rows)
    settings = MaskSettings(units="block", hidden_linear="block", rows=rows, soft=soft)
    generator = torch.Generator().manual_seed(rows)
    weights = torch.randn(layout.elements, generator=generator)
    outer = [torch.randn(shape, generator=generator) for shape in layout.shapes]
    start = 0.005 + 0.02 * torch.randn(layout.units, generator=generator)
    unit_of = index_of_units(layout, rows)
    assert torch.equal(layout.expand(torch.arange(layout.units)), unit_of)

    def results() -> list[Tensor]:
        scores = start.clone().requires_grad_()
        effective = masks.effective_weights(scores, weights, layout, settings)
        torch.autograd.backward(list(effective.values()), outer)
        assert scores.grad is not None
        return [torch.cat([tensor.detach().flatten() for tensor in effective.values()]), scores.grad]

    quick = results()
    monkeypatch.setattr(fast, "serves", lambda settings: False)
    exact = results()
    finished = masks.finished(start, layout, settings)
    assert torch.equal(quick[0], exact[0])
    assert torch.equal(exact[0], weights * finished.numbers[unit_of])
    assert torch.equal(layout.scale(weights, finished.numbers), exact[0])
    products = torch.cat([tensor.flatten() for tensor in outer]) * weights
    q = torch.sigmoid((start - settings.threshold) * settings.slope)
    expected = torch.zeros(layout.units).index_add_(0, unit_of, products) * q * (1 - q) * settings.slope
    for _, gradient in (quick, exact):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    if soft == "none":
        shared = {BACKBONE + name: tensor for name, tensor in layout.views(weights).items()}
        kept = {BITS: pack_bits(finished.bits)}
        for selects in (False, True):
            restored = masked_weights(shared, kept, layout, selects=selects)
            assert torch.equal(torch.cat([restored[name].flatten() for name in layout.names]), exact[0])
        assert torch.equal(stored_mask(kept, layout).bits, finished.bits)


def index_of_units(layout: FlatLayout, rows: int) -> Tensor:
    """The unit of every element, worked out one output at a time."""
    found: list[int] = []
    unit = 0
    for slot in layout.slots:
        for _ in range(slot.shape[0]):
            fan = slot.shape[1:].numel()
            found += [unit + position // rows for position in range(fan)]
            unit += -(-fan // rows)
    return torch.tensor(found)


def test_a_layout_of_blocks_comes_back_from_names_shapes_and_sizes() -> None:
    layout = blocks(tiny_net(), 5)
    again = arrange((slot.name, tuple(slot.shape), slot.unit_size) for slot in layout.slots)
    assert (again.slots, again.runs) == (layout.slots, layout.runs)
    assert layout.ragged and not layout_of(tiny_net(), "kernel").ragged
    for other in (layout_of(tiny_net()), layout):
        assert other.in_blocks(5).slots == layout.slots


def test_units_larger_than_an_output_are_refused() -> None:
    with pytest.raises(ValueError, match="units of 7 elements do not divide"):
        arrange([("w", (4, 5), 7)])
    with pytest.raises(ValueError, match="units of 4 elements do not divide"):
        arrange([("w", (6,), 4)])


def test_unit_counts_of_the_published_networks() -> None:
    """Rows of 72: VGG16-BN's convolutions alone and with its hidden linear layers, and ResNet-50's convolutions."""
    with torch.device("meta"):
        vgg, resnet = build("vgg16_bn", width=1.0, channels=3), build("resnet50", width=1.0, channels=3)
    assert blocks(vgg, 72, "frozen").units == 204_352
    assert blocks(vgg, 72).units == 470_592
    assert blocks(resnet, 72).units == 339_968
    for net, hidden, units in ((vgg, "frozen", 204_352), (vgg, "block", 470_592), (resnet, "block", 339_968)):
        counted: Any = architecture_of(net, [])
        assert counted.mask_units("block", hidden, 72) == units
    # of Piggyback's bits on the same convolutions, the abstract's 1.4 %
    assert 339_968 / layout_of(resnet).elements == pytest.approx(0.0145, abs=1e-4)
    assert 204_352 / layout_of(vgg, "element", "frozen").elements == pytest.approx(0.0139, abs=1e-4)
