"""ImpressLearn: sums of masks by hand, and what it has in common with SupSup."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from test_methods_supsup import random_net, supsup
from tiny import learn, make_strategy, tiny_stream
from torch import Tensor

from methods.engine.layout import arrange
from methods.engine.packing import pack_bits
from methods.engine.parts import tensors_of
from methods.engine.restore import DamagedParts
from methods.impresslearn.card import IMPRESSLEARN
from methods.impresslearn.combination import (
    COEFFICIENTS,
    IMPRESSIONS,
    Combined,
    combined_weights,
    summed,
    unpacked,
)

LAYOUT = arrange([("a", (2, 3), 1), ("b", (1, 4), 1)])


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


def impresslearn(**knobs: Any) -> Any:
    settings = dataclasses.replace(
        IMPRESSLEARN.settings.with_epochs(4), lr=5e-2, head_lr=5e-2, coefficient_lr=0.1, **{"impressions": 2, **knobs}
    )
    return make_strategy("impresslearn", settings=settings, backbone=random_net(), pretrained=True)


def random_masks(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, LAYOUT.elements, generator=torch.Generator().manual_seed(seed)) > 0.5


def test_a_sum_by_hand() -> None:
    masks = torch.tensor([[1, 0, 1, 0, 1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 1, 0, 1, 0]], dtype=torch.bool)
    coefficients = torch.tensor([[0.5, 2.0], [0.25, -1.0]])
    assert summed(coefficients, masks, LAYOUT).tolist() == [0.75, 0.25, 0.5, 0, 0.5, 0, 1, 2, -1, 0]
    assert summed(torch.tensor([[0.5], [0.25]]), masks, LAYOUT).tolist()[6:] == [0.75, 0.5, 0.25, 0]


def test_gradients_against_autograd() -> None:
    generator = torch.Generator().manual_seed(1)
    weights, gradient = torch.randn(2, LAYOUT.elements, generator=generator)
    masks, coefficients = random_masks(3), torch.randn(3, 2, generator=generator).requires_grad_()
    Combined.apply(coefficients, masks, weights, LAYOUT).backward(gradient)
    own = coefficients.grad
    assert own is not None
    for layer, slot in enumerate(LAYOUT.slots):
        part = slot.element_slice
        for number in range(3):
            by_hand = (gradient[part] * weights[part] * masks[number, part]).sum()
            torch.testing.assert_close(own[number, layer], by_hand)


def test_of_equal_masks_only_the_sum_of_coefficients_matters() -> None:
    masks = random_masks(1).expand(2, -1)
    one = summed(torch.tensor([[0.25], [0.5]]), masks, LAYOUT)
    assert torch.equal(one, summed(torch.tensor([[0.75], [0.0]]), masks, LAYOUT))


def test_its_first_tasks_are_supsups(stream: tuple[list[Any], list[Any]]) -> None:
    """With one impression the first task is SupSup's, bit for bit; a coefficient of 1 is the mask as it is."""
    strategy = impresslearn(impressions=1)
    other = supsup(settings=dataclasses.replace(strategy.settings))
    learn(strategy, stream[0][:1])
    learn(other, stream[0][:1])
    assert tensors_of(strategy.learned[0])[COEFFICIENTS].tolist() == [[1.0] * 4]
    assert torch.equal(strategy.logits(0, stream[1][0]), other.logits(0, stream[1][0]))


@pytest.mark.parametrize("kind", ["heterogeneous", "homogeneous", "random"])
@pytest.mark.parametrize("per", ["layer", "network"])
def test_nothing_is_forgotten(kind: str, per: str, stream: tuple[list[Any], list[Any]]) -> None:
    strategy = impresslearn(kind=kind, per=per)
    backbone = {name: tensor.clone() for name, tensor in strategy.view.backbone.state_dict().items()}
    logits: list[Tensor] = []
    for label, experience in enumerate(stream[0]):
        learn(strategy, [experience])
        for earlier, before in enumerate(logits):
            assert torch.equal(strategy.logits(earlier, stream[1][earlier]), before)
        logits.append(strategy.logits(label, stream[1][label]))
    after = strategy.view.backbone.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in backbone.items())
    assert len(strategy.impressions) == 2
    last = tensors_of(strategy.learned[2])[COEFFICIENTS]
    assert last.shape == (2, 4 if per == "layer" else 1)
    assert not torch.equal(last, torch.full_like(last, 0.5)), "coefficients train"


def test_the_trainings_of_one_task_give_different_masks(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = impresslearn(kind="homogeneous", impressions=3)
    learn(strategy, stream[0][:1])
    masks = unpacked(strategy.impressions, strategy.layout)
    assert len(masks) == 3
    assert all(not torch.equal(masks[one], masks[other]) for one, other in [(0, 1), (0, 2), (1, 2)])


def test_the_mask_of_another_task_is_of_little_use(stream: tuple[list[Any], list[Any]]) -> None:
    """The paper's sanity check: with head and BN of task 2, the mask of task 1 answers about as chance does."""
    strategy = impresslearn()
    learn(strategy, stream[0][:2])
    images = stream[1][1]
    own = strategy.correct(1, images)
    kept = tensors_of(strategy.learned[1])
    foreign = {**kept, COEFFICIENTS: torch.tensor([[1.0] * 4, [0.0] * 4])}
    strategy.view.activate(strategy.restored(foreign), kept["head.weight"], kept["head.bias"])
    strategy.view.eval()
    with torch.no_grad():
        right = sum(
            int((strategy.view(batch).argmax(1) == labels).sum()) for batch, labels in images.evaluation_batches(100)
        )
    strategy.forget_view()
    assert own / len(images) > 0.6
    assert right < own - 0.15 * len(images)


def test_one_mask_before_batch_statistics_cannot_learn_by_its_coefficient() -> None:
    """W a B with BN behind it, in training mode: the output does not depend on a > 0, up to BN's epsilon."""
    masks, weights = random_masks(1)[:, :6], torch.randn(2, 3)
    layout, images = arrange([("a", (2, 3), 1)]), torch.randn(64, 3)
    bn = torch.nn.BatchNorm1d(2)
    outputs = []
    for factor in (0.5, 3.0):
        effective = weights * summed(torch.tensor([[factor]]), masks, layout).view(2, 3)
        outputs.append(bn(100 * images @ effective.T))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-4, rtol=1e-4)


def test_parts_that_do_not_fit_are_refused() -> None:
    shared = {"backbone.a": torch.ones(2, 3), "backbone.b": torch.ones(1, 4)}
    packed = torch.stack([pack_bits(mask) for mask in random_masks(2)])
    good = {**shared, IMPRESSIONS: packed}
    assert set(combined_weights(good, {COEFFICIENTS: torch.ones(2, 2)}, LAYOUT)) == {"a", "b"}
    for coefficients in (torch.ones(3, 2), torch.ones(2, 3), torch.ones(2)):
        with pytest.raises(DamagedParts, match="do not fit"):
            combined_weights(good, {COEFFICIENTS: coefficients}, LAYOUT)
    with pytest.raises(DamagedParts, match="do not fit 10 weights"):
        combined_weights({**shared, IMPRESSIONS: packed[:, :1]}, {COEFFICIENTS: torch.ones(2, 2)}, LAYOUT)


def test_it_says_where_no_task_is_left_to_combine() -> None:
    with pytest.warns(UserWarning, match="impresslearn.impressions below the number of tasks"):
        impresslearn(impressions=3)
