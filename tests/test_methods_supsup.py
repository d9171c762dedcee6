"""SupSup: masks and gradients by hand, densities, and what its masks have in common with others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_net, tiny_stream

from methods.engine import masks
from methods.engine.backbones import INITIAL
from methods.engine.layout import arrange, layout_of
from methods.engine.masked import SCORES
from methods.registry import METHODS
from methods.settings import MaskSettings
from methods.supsup.card import MASK, SUPSUP

HALF = dataclasses.replace(MASK, top=0.5)


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(2)


def random_net(seed: int = 0) -> Any:
    net = tiny_net(seed)
    INITIAL[SUPSUP.needs.backbone](net, torch.Generator().manual_seed(seed))
    return net


def supsup(**changes: Any) -> Any:
    arguments: dict[str, Any] = {"backbone": random_net(), "pretrained": True, **changes}
    settings = dataclasses.replace(SUPSUP.settings.with_epochs(4), lr=5e-2, head_lr=5e-2)
    return make_strategy("supsup", **{"settings": settings, **arguments})


def test_effective_weights_and_gradients_by_hand() -> None:
    layout = arrange([("w", (1, 4), 1)])
    constant = 0.5
    weights = torch.tensor([1.0, -1.0, -1.0, 1.0]) * constant
    scores = torch.tensor([0.3, -0.5, 0.1, 0.2], requires_grad=True)
    effective = masks.effective_weights(scores, weights, layout, HALF)["w"]
    assert effective.tolist() == [[constant, -constant, 0.0, 0.0]]
    gradient = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    effective.backward(gradient)
    # sign(M) W G
    assert scores.grad is not None
    assert scores.grad.tolist() == [1 * constant, 2 * constant, -3 * constant, 4 * constant]


@pytest.mark.parametrize(
    ("count", "density", "kept"), [(27, 0.5, 14), (10, 0.1, 1), (10, 0.9, 9), (10, 0.33, 4), (7, 1.0, 7)]
)
def test_so_many_are_kept(count: int, density: float, kept: int) -> None:
    layout = arrange([("w", (1, count), 1)])
    scores = torch.randn(count, generator=torch.Generator().manual_seed(1))
    settings = dataclasses.replace(MASK, top=density)
    bits = masks.finished(scores, layout, settings).bits
    assert int(bits.sum()) == kept
    assert bits.logical_not().sum() == 0 or scores.abs()[bits].min() >= scores.abs()[~bits].max()


def test_of_equal_magnitudes_the_earlier_fall() -> None:
    layout = arrange([("w", (1, 4), 1)])
    bits = masks.finished(torch.tensor([1.0, -1.0, 1.0, 2.0]), layout, HALF).bits
    assert bits.tolist() == [False, False, True, True]


def test_scaling_all_scores_of_a_layer_changes_no_mask() -> None:
    layout = layout_of(tiny_net())
    scores = masks.initial_scores(layout, MASK, torch.Generator().manual_seed(3))
    scaled = scores.clone()
    scaled[layout.slots[1].unit_slice] *= 7.5
    assert torch.equal(masks.finished(scores, layout, MASK).bits, masks.finished(scaled, layout, MASK).bits)


def test_scores_start_within_the_bound_of_each_layer() -> None:
    layout = layout_of(tiny_net())
    scores = masks.initial_scores(layout, MASK, torch.Generator().manual_seed(3))
    for slot, bound in zip(layout.slots, [9**-0.5, 4**-0.5, 72**-0.5, 8**-0.5], strict=True):
        highest = float(scores[slot.unit_slice].abs().max())
        assert 0.8 * bound < highest <= bound, slot.name


def test_erdos_renyi_densities() -> None:
    layout = arrange([("a", (64, 32, 3, 3), 1), ("b", (4, 2, 3, 3), 1)])
    settings = dataclasses.replace(MASK, er=4.0)
    wide, narrow = layout.slots
    assert masks.density_of(wide, settings) == pytest.approx(4 * 96 / 18432)
    assert masks.density_of(narrow, settings) == pytest.approx(4 * 6 / 72)
    assert masks.density_of(narrow, dataclasses.replace(MASK, er=32.0)) == 0.5
    bits = masks.finished(torch.randn(layout.units), layout, settings).bits
    assert [int(bits[slot.unit_slice].sum()) for slot in layout.slots] == [384, 24]


def test_the_backbone_has_one_magnitude_in_every_layer() -> None:
    net = random_net()
    for slot in layout_of(net).slots:
        magnitudes = net.get_parameter(slot.name).detach().abs()
        assert torch.unique(magnitudes).numel() == 1
        assert float(magnitudes.max()) == pytest.approx((2 / (slot.elements / slot.shape[0])) ** 0.5)


def test_density_one_is_the_random_network(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = supsup(mask=dataclasses.replace(MASK, top=1.0))
    learn(strategy, stream[0][:1])
    views = strategy.restored({name: part.tensor for name, part in strategy.learned[0].items()})
    for slot in strategy.layout.slots:
        assert torch.equal(views[slot.name], random_net().get_parameter(slot.name))


def test_the_threshold_variant_is_the_engines_own_mask_at_zero() -> None:
    # all scores at one number above 0: as a straight-through mask with threshold 0, bit for bit
    layout, generator = layout_of(tiny_net()), torch.Generator().manual_seed(5)
    weights, gradient = torch.randn(2, layout.elements, generator=generator)
    found = []
    for settings in (
        dataclasses.replace(MASK, keep="threshold", threshold=0.0),
        MaskSettings(units="element", surrogate="straight-through", soft="none", threshold=0.0, strict=False),
    ):
        scores = torch.full((layout.units,), 0.3, requires_grad=True)
        effective = masks.effective_weights(scores, weights, layout, settings)
        torch.cat([item.reshape(-1) for item in effective.values()]).backward(gradient)
        found.append((effective, scores.grad))
    assert all(torch.equal(found[0][0][name], found[1][0][name]) for name in layout.names)
    assert torch.equal(found[0][1], found[1][1])


def test_only_statistics_of_bn_are_the_tasks_own_unless_told(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = supsup()
    learn(strategy, stream[0][:1])
    assert {name for name in strategy.learned[0] if "bn" in name} == {
        f"override.{bn}.running_{what}" for bn in ("bn1", "bn2") for what in ("mean", "var")
    }
    settings = dataclasses.replace(strategy.settings, bn_affine=True)
    trained = supsup(settings=settings)
    learn(trained, stream[0][:1])
    assert "override.bn1.weight" in trained.learned[0]


def test_nothing_is_forgotten_and_nothing_shared_moves(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = supsup()
    before = {name: tensor.clone() for name, tensor in strategy.shared().items()}
    learn(strategy, stream[0][:1])
    first = strategy.logits(0, stream[1][0])
    learn(strategy, stream[0][1:])
    assert torch.equal(strategy.logits(0, stream[1][0]), first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in strategy.shared().items())
    assert strategy.correct(1, stream[1][1]) / len(stream[1][1]) > 0.6


def test_only_scores_decay() -> None:
    strategy = supsup(settings=dataclasses.replace(SUPSUP.settings, score_decay=1e-4, optimizer="sgd"))
    assert strategy.update_of(SCORES) == ("sgd", 0.9, 1e-4)
    assert strategy.update_of("head.weight") == ("sgd", 0.9, 0.0)


def test_the_card() -> None:
    card = METHODS["supsup"]
    assert not card.starts_from_task1(pretrained=False)
    assert card.promises.frozen_backbone and card.promises.no_forgetting
