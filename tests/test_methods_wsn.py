"""WSN: which weights are used, what trains, what is frozen, and how small coded masks are."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream
from torch import Tensor

from methods.engine.layout import arrange
from methods.engine.packing import unpack_bits
from methods.engine.parts import BITS, tensors_of
from methods.engine.pruning import FREE
from methods.wsn.card import WSN
from methods.wsn.coding import coded_bits, huffman_bits
from methods.wsn.selection import Selected, edge_rank, used


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


def wsn(epochs: int = 4, **knobs: Any) -> Any:
    settings = dataclasses.replace(WSN.settings.with_epochs(epochs), lr=1e-2, schedule="constant", density=0.5)
    return make_strategy("wsn", settings=dataclasses.replace(settings, **knobs))


def bits_of(strategy: Any, label: int) -> Tensor:
    return unpack_bits(strategy.learned[label][BITS].tensor, strategy.layout.elements)


@pytest.mark.parametrize(("count", "density", "rank", "kept"), [(9, 0.5, 5, 5), (4, 0.5, 3, 2), (9, 1.0, 1, 9)])
def test_the_share_that_is_used(count: int, density: float, rank: int, kept: int) -> None:
    assert edge_rank(density, count) == rank
    layout = arrange([("w", (1, count), 1)])
    scores = torch.randn(count, generator=torch.Generator().manual_seed(0))
    assert int(used(scores, layout, density).sum()) == kept


def test_gradients_are_those_of_the_formula() -> None:
    layout, generator = arrange([("a", (3, 5), 1), ("b", (2, 4), 1)]), torch.Generator().manual_seed(0)
    weights, scores, gradient = torch.randn(3, layout.elements, generator=generator)
    weights.requires_grad_()
    scores.requires_grad_()
    selected = Selected.apply(weights, scores, layout, 0.4)
    bits = used(scores, layout, 0.4)
    assert torch.equal(selected, torch.where(bits, weights, 0.0))
    selected.backward(gradient)
    plain = weights.detach().clone().requires_grad_()
    (bits.float() * plain).backward(gradient)  # autograd's own, for the weights
    assert torch.equal(weights.grad, plain.grad)
    assert torch.equal(scores.grad, scores.detach().sign() * weights.detach() * gradient)


def test_with_all_weights_used_one_task_is_plain_training(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = wsn(density=1.0, optimizer="sgd", lr=0.05)
    learn(strategy, stream[0][:1])
    # the same with scores that play no part: the layers see the weights themselves
    plain = wsn(density=1.0, optimizer="sgd", lr=0.05)
    plain.training_tensors = lambda: super(type(plain), plain).training_tensors()
    learn(plain, stream[0][:1])
    assert torch.equal(strategy.weights, plain.weights)
    assert torch.equal(strategy.logits(0, stream[1][0]), plain.logits(0, stream[1][0]))
    assert not torch.equal(strategy.scores, plain.scores)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("policy", ["frozen", "per-task"])
def test_used_weights_never_move_and_nothing_is_forgotten(
    optimizer: str, policy: str, stream: tuple[list[Any], list[Any]]
) -> None:
    strategy = wsn(optimizer=optimizer, weight_decay=0.1)
    strategy.bn_policy = policy
    in_use: list[tuple[Tensor, Tensor]] = []
    logits: list[Tensor] = []
    for experience, images in zip(*stream, strict=True):
        learn(strategy, [experience])
        mask = strategy.owner != FREE
        for earlier, values in in_use:
            assert mask[earlier].all(), "capacity in use never shrinks"
            assert torch.equal(strategy.weights.detach()[earlier], values)
        for label, before in enumerate(logits):
            assert torch.equal(strategy.logits(label, stream[1][label]), before)
        in_use.append((mask, strategy.weights.detach()[mask].clone()))
        logits.append(strategy.logits(len(logits), images))
    union = torch.stack([bits_of(strategy, label) for label in range(3)]).any(0)
    assert torch.equal(union, strategy.owner != FREE)
    assert 0 < int(union.sum()) < len(union)


def test_weights_in_use_have_no_gradient(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = wsn(epochs=1)
    learn(strategy, stream[0][:1])
    strategy.weights.grad = torch.ones_like(strategy.weights)
    strategy.decay_and_mask(2)
    assert not strategy.weights.grad.any(), "nothing belongs to task 2 before it begins"
    strategy.owner.masked_fill_(strategy.owner == FREE, 2)
    strategy.weights.grad = torch.ones_like(strategy.weights)
    strategy.decay_and_mask(2)
    assert torch.equal(strategy.weights.grad.bool(), strategy.owner == 2)


def test_where_everything_is_in_use_only_the_choice_trains(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = wsn(density=1.0)
    learn(strategy, stream[0][:1])
    weights, scores = strategy.weights.detach().clone(), strategy.scores.detach().clone()
    strategy.settings = dataclasses.replace(strategy.settings, density=0.5)
    learn(strategy, stream[0][1:2])
    assert torch.equal(strategy.weights, weights)
    assert not torch.equal(strategy.scores, scores)


def test_the_mask_is_that_of_the_scores_which_are_kept(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = wsn()
    learn(strategy, stream[0][:1])
    assert torch.equal(bits_of(strategy, 0), used(strategy.scores, strategy.layout, 0.5))


def test_what_is_stored_needs_neither_scores_nor_owners(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = wsn(epochs=1)
    learn(strategy, stream[0][:1])
    stored = tensors_of(strategy.stored_shared())
    assert set(stored) == {"weights"}
    restored = WSN.load_restore()(stored, tensors_of(strategy.learned[0]), strategy.layout)
    again = WSN.load_restore()(strategy.shared(), tensors_of(strategy.learned[0]), strategy.layout)
    assert all(torch.equal(restored[name], again[name]) for name in restored)
    assert set(strategy.layout.names) <= set(restored)


def test_pretrained_weights_are_free_unless_protected() -> None:
    free = make_strategy("wsn", pretrained=True)
    assert not (free.owner != FREE).any()
    settings = dataclasses.replace(WSN.settings, protect_initial=True, density=0.3)
    strategy = make_strategy("wsn", pretrained=True, settings=settings)
    assert torch.equal(strategy.owner == 1, used(strategy.weights.detach(), strategy.layout, 0.3))


def test_huffman_by_hand() -> None:
    assert huffman_bits([5]) == 5
    assert huffman_bits([1, 1]) == 2
    # lengths 1, 2, 3, 3
    assert huffman_bits([5, 2, 1, 1]) == 5 * 1 + 2 * 2 + 1 * 3 + 1 * 3


def test_masks_coded_together() -> None:
    first = torch.tensor([True, True, False, False, False, False, False, False])
    second = torch.tensor([True, False, False, False, False, False, False, False])
    # symbols 11 once, 01 once, 00 six times: lengths 2, 2, 1; a table of three symbols of two bits and a length each
    assert coded_bits([first, second]) == 2 + 2 + 6 + 3 * (2 + 8)
    # seventeen tasks are coded sixteen and one at a time
    assert coded_bits([first] * 17) == (8 + 2 * (16 + 8)) + (8 + 2 * (1 + 8))


def test_measures(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = wsn(epochs=1)
    learn(strategy, stream[0])
    measures = strategy.measures()
    elements = strategy.layout.elements
    assert measures["plain_mask_bytes"] == 3 * elements / 8
    masks = [bits_of(strategy, label) for label in range(3)]
    assert measures["coded_mask_bytes"] == coded_bits(masks) / 8
    in_use = float(torch.stack(masks).any(0).float().mean())
    assert measures["capacity"] == pytest.approx(100 * (in_use + coded_bits(masks) / (32 * elements)))
