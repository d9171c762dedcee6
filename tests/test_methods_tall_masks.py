"""TALL-masks: merged vectors, masks and networks worked out by hand; the choice of lambda; what is counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from merging_by_hand import estimates, masks, merged, some_images
from tiny import learn, make_strategy, tiny_net, tiny_networks, tiny_stream
from torch import Tensor

from benchmark.testing import check_kill, check_method, server
from methods.engine.layout import layout_of
from methods.engine.parts import MERGED, MERGED_BITS, tensors_of
from methods.engine.restore import DamagedParts, merged_layout, merged_networks
from methods.engine.state import Progress
from methods.tall_masks.card import TallMasksSettings
from methods.tall_masks.strategy import largest, summed, tall_mask, ties

NAME = "tall-masks"
HAND = ((1.0, -2.0, 0.5), (1.0, 1.0, 0.0))


def at(value: float, vectors: Any = HAND, **changes: Any) -> Any:
    """Merged with this lambda for every task."""
    return merged(NAME, vectors, settings=TallMasksSettings(lambdas=(value,)), **changes)


def random_vectors(count: int, elements: int = 400) -> list[list[float]]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(elements, generator=generator).tolist() for _ in range(count)]


def test_one_task_alone_is_found_again_exactly() -> None:
    strategy = at(0.4, HAND[:1])
    assert estimates(strategy) == [[1.0, -2.0, 0.5]]
    assert strategy.merged.tolist() == [1.0, -2.0, 0.5]


def test_tasks_that_moved_other_numbers_are_found_again_exactly() -> None:
    vectors = ((0.5, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 2.0))
    assert estimates(at(0.6, vectors)) == [list(vector) for vector in vectors]


def test_the_worked_case() -> None:
    assert summed([torch.tensor(vector) for vector in HAND]).tolist() == [2.0, -1.0, 0.5]
    assert masks(at(1.0)) == [[0, 1, 1], [0, 0, 0]]
    assert masks(at(0.4)) == [[1, 1, 1], [1, 1, 0]]
    assert estimates(at(1.0)) == [[0.0, -1.0, 0.5], [0.0, 0.0, 0.0]]
    assert estimates(at(0.4)) == [[2.0, -1.0, 0.5], [2.0, -1.0, 0.0]]


def test_at_lambda_1_every_number_is_off_by_the_smaller_of_its_two_parts() -> None:
    vectors = [torch.tensor(vector) for vector in random_vectors(3)]
    total = summed(vectors)
    for vector in vectors:
        taken = torch.where(tall_mask(vector, total, 1.0), total, 0.0)
        expected = torch.minimum(vector.abs(), (total - vector).abs())
        assert torch.equal((taken - vector).abs(), expected)


def test_at_lambda_0_a_mask_is_all_that_the_task_moved() -> None:
    assert masks(at(0.0)) == [[1, 1, 1], [1, 1, 0]]


def test_masks_shrink_as_lambda_grows() -> None:
    vectors = [torch.tensor(vector) for vector in random_vectors(3)]
    total = summed(vectors)
    before = torch.ones(len(total), dtype=torch.bool)
    for value in (0.0, 0.2, 0.5, 1.0, 3.0):
        mask = tall_mask(vectors[0], total, value)
        assert (mask <= before).all()
        assert mask.sum() < before.sum() or value == 0.0
        before = mask


def test_two_equal_tasks_get_twice_their_vector() -> None:
    """A weakness of the method: the sum counts what tasks have in common twice."""
    same = ((0.5, -1.0, 2.0),) * 2
    assert masks(at(0.9, same)) == [[1, 1, 1], [1, 1, 1]]
    assert estimates(at(0.9, same)) == [[1.0, -2.0, 4.0]] * 2
    assert masks(at(1.0, same)) == [[0, 0, 0], [0, 0, 0]]


def test_the_order_of_tasks_makes_no_difference() -> None:
    vectors = [torch.tensor(vector) for vector in random_vectors(4)]
    for merge in (summed, lambda these: ties(these, 0.2)):
        assert torch.equal(merge(vectors), merge(vectors[::-1]))


def test_ties_counts_the_largest_elects_a_sign_and_adds_up_what_agrees() -> None:
    vectors = [torch.tensor(v) for v in ((4.0, -3.0, 1.0, 0.5), (-1.0, -2.0, 3.0, 0.1), (-6.0, 1.0, 5.0, 0.2))]
    assert largest(vectors[2], 0.5).tolist() == [True, False, True, False]
    # counted: (4, -3, 0, 0), (0, -2, 3, 0), (-6, 0, 5, 0); their sum (-2, -5, 8, 0)
    assert ties(vectors, 0.5).tolist() == [-6.0, -5.0, 8.0, 0.0]
    assert ties(vectors, 1.0).tolist() == [-7.0, -5.0, 9.0, pytest.approx(0.8)]


@pytest.mark.parametrize(("third", "expected"), [(5.0, 2.0), (-5.0, -2.0)])
def test_ties_gives_a_sum_of_zero_the_sign_of_most_numbers(third: float, expected: float) -> None:
    vectors = [torch.tensor([2.0, 1.0, third]), torch.tensor([-2.0, third / 5, third])]
    assert ties(vectors, 1.0)[0].item() == expected


def test_the_variant_is_a_setting() -> None:
    vectors = ((4.0, -3.0, 1.0), (-1.0, -2.0, 3.0))
    settings = TallMasksSettings(lambdas=(0.0,), merge="ties", ties_share=0.34)
    assert merged(NAME, vectors, settings=settings).merged.tolist() == [4.0, 0.0, 3.0]


# ------------------------------------------------------------------ lambda


def test_the_lambda_of_the_best_accuracy_is_chosen_and_of_equal_ones_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.tall_masks.strategy import TallMasks

    asked: list[tuple[int, int]] = []

    def accuracy(self: Any, label: int, parts: Any) -> float:
        taken = int(self.mask_of(tensors_of(parts)).bits.sum())
        asked.append((label, taken))
        return {0: 0.1, 1: 0.9, 2: 0.9, 3: 0.5}[taken]

    monkeypatch.setattr(TallMasks, "chosen_accuracy", accuracy)
    strategy = merged(NAME, HAND, settings=TallMasksSettings(lambdas=(0.4, 1.0, 0.6, 3.0)))
    # task 0 keeps 3, 2, 3 and 1 numbers; task 1 keeps 2, 0, 0 and 0
    assert strategy.lambdas == {0: 1.0, 1: 0.4}
    assert masks(strategy) == [[0, 1, 1], [1, 1, 0]]
    assert len(asked) == 4 + 2 * 4  # task 0 alone, then both


def test_where_every_lambda_is_as_good_the_first_is_taken_and_without_images_the_middle_one() -> None:
    alone = HAND[:1]
    settings = TallMasksSettings(lambdas=(0.2, 0.4, 0.6))
    assert merged(NAME, alone, settings=settings, images=some_images()).lambdas == {0: 0.2}
    assert merged(NAME, alone, settings=settings).lambdas == {0: 0.4}


def test_a_checkpoint_holds_the_lambdas() -> None:
    strategy = at(0.4)
    fresh = at(0.6)
    fresh.load_training_state(strategy.training_state(), [], None)
    assert fresh.lambdas == strategy.lambdas == {0: 0.4, 1: 0.4}
    assert strategy.measures() == {"share_taken": pytest.approx(5 / 6), "lambda": 0.4}


# ------------------------------------------------------------------ on networks with BN


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


@pytest.mark.parametrize("policy", ["frozen", "per-task"])
def test_the_first_task_is_what_all_start_from_and_stays_exact(
    policy: str, stream: tuple[list[Any], list[Any]]
) -> None:
    experiences, test = stream
    tuned = tiny_networks("finetune", policy, 4)
    strategy = make_strategy(NAME, bn_policy=policy)
    learn(strategy, experiences)
    expected = tuned.network(0)
    assert all(torch.equal(strategy.view.backbone.state_dict()[name], item) for name, item in expected.backbone.items())
    assert MERGED_BITS not in strategy.learned[0]
    assert torch.equal(strategy.logits(0, test[0]), tuned._strategy.logits(0, test[0]))
    vectors = [strategy.places.flatten(tuned.network(label).backbone) - strategy.start for label in (1, 2)]
    assert torch.equal(strategy.merged, summed(vectors)), "the first task adds nothing"


def test_heads_and_bn_sets_are_the_fine_tuned_ones(stream: tuple[list[Any], list[Any]]) -> None:
    for policy, count in (("per-task", 8), ("frozen", 0)):  # two BN layers: two parameters and two statistics each
        tuned = tiny_networks("finetune", policy, 4)
        strategy = make_strategy(NAME, bn_policy=policy)
        learn(strategy, stream[0])
        kept, network = tensors_of(strategy.learned[2]), tuned.network(2)
        own = {name.removeprefix("override."): item for name, item in kept.items() if name.startswith("override.")}
        assert len(own) == count and all(name.startswith("bn") for name in own)
        assert all(torch.equal(item, network.backbone[name]) for name, item in own.items())
        assert all(torch.equal(kept[name], item) for name, item in network.head.items())


def test_one_added_task_comes_back_to_the_rounding_of_one_addition(stream: tuple[list[Any], list[Any]]) -> None:
    experiences, test = stream
    tuned = tiny_networks("finetune", "per-task", 4)
    strategy = make_strategy(NAME)
    learn(strategy, experiences[:2])
    network = {**strategy.view.backbone.state_dict(), **strategy.restored(tensors_of(strategy.learned[1]))}
    for name, item in tuned.network(1).backbone.items():
        torch.testing.assert_close(network[name], item, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(strategy.logits(1, test[1]), tuned._strategy.logits(1, test[1]), rtol=1e-4, atol=1e-5)


def test_biases_are_merged_and_lie_behind_the_weights(stream: tuple[list[Any], list[Any]]) -> None:
    layout = layout_of(tiny_net())
    places = merged_layout(layout, tiny_net().state_dict())
    assert places.names == (*layout.names, "hidden.bias")
    assert (places.elements, layout.elements) == (692 + 6, 692)
    strategy = make_strategy(NAME)
    learn(strategy, stream[0])
    assert {row.layer for row in strategy.mask_statistics()} == set(layout.names)
    assert sum(row.units for row in strategy.mask_statistics()) == 2 * 692


def test_size_is_two_networks_and_a_bit_a_number_for_each_task(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy(NAME, bn_policy="frozen")
    learn(strategy, stream[0])
    items = {(item.name, item.task): item.count * item.bits for item in strategy.storage()}
    merged_numbers, bn = 698, 2 * 4 * (4 + 8) // 2  # two parameters and two statistics per channel of 4 and of 8
    head = 3 * 6 + 3
    assert items == {
        ("backbone", None): 32 * (merged_numbers + bn),
        ("merged vector", None): 32 * merged_numbers,
        **{("head", label): 32 * head for label in range(3)},
        **{("mask bits", label): merged_numbers for label in (1, 2)},
    }


def test_what_is_stored_must_fit(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy(NAME)
    learn(strategy, stream[0])
    kept: dict[str, Tensor] = tensors_of(strategy.learned[1])
    with pytest.raises(DamagedParts, match="87 bytes of mask bits .* do not fit 698 merged weights"):
        merged_networks(strategy.shared(), {**kept, MERGED_BITS: kept[MERGED_BITS][:-1]}, strategy.layout)
    with pytest.raises(DamagedParts, match="a merged vector of 600 numbers"):
        merged_networks({**strategy.shared(), MERGED: strategy.merged[:600]}, kept, strategy.layout)


def test_after_each_task_stands_the_merge_of_the_tasks_so_far(stream: tuple[list[Any], list[Any]]) -> None:
    """Learning a third task changes the second; what stood before was the merge of two."""
    experiences, test = stream
    strategy = make_strategy(NAME)
    learn(strategy, experiences[:2])
    two = strategy.logits(1, test[1])
    learn(strategy, experiences[2:])
    assert not torch.equal(strategy.logits(1, test[1]), two)
    again = make_strategy(NAME)
    learn(again, experiences[:2])
    assert torch.equal(again.logits(1, test[1]), two)


def test_nothing_trains(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy(NAME)
    learn(strategy, stream[0])
    progress: Progress = strategy.progress
    assert (progress.epochs, progress.iterations, progress.images, progress.trainable) == (0, 0, 0, 0)


def test_settings_have_no_epochs_to_set() -> None:
    assert TallMasksSettings().with_epochs(7) == TallMasksSettings()
    assert dataclasses.replace(TallMasksSettings(), merge="ties").with_epochs(1).merge == "ties"


def test_a_killed_run_ends_as_one_left_alone(tmp_path: Path) -> None:
    with server() as executor:
        check_kill(NAME, executor, tmp_path)


@pytest.mark.exhaustive
def test_contract() -> None:
    check_method(NAME)
