"""PackNet and CPG: owned weights never move, owners add up, schedules and thresholds match hand-made values."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream
from torch import Tensor

from methods.engine import restore
from methods.engine.layout import arrange
from methods.engine.packing import bits_for, pack_bits, pack_numbers, unpack_bits, unpack_numbers
from methods.engine.parts import tensors_of
from methods.engine.pruning import (
    FREE,
    compulsory_ratio,
    cubic_ratio,
    cut_rank,
    equal_share_ratio,
    prune_layers,
    threshold,
    threshold_by_selection,
    threshold_by_sorting,
)
from methods.packnet.card import PackNetSettings


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


@pytest.mark.parametrize("policy", ["frozen", "per-task"])
@pytest.mark.parametrize("name", ["packnet", "cpg"])
def test_weights_of_earlier_tasks_never_move_with_decay_and_momentum_on(
    name: str, policy: str, stream: tuple[list[Any], list[Any]]
) -> None:
    strategy = make_strategy(name, bn_policy=policy)
    strategy.settings = dataclasses.replace(strategy.settings, weight_decay=0.1)
    assert strategy.settings.momentum == 0.9
    kept: list[tuple[Tensor, Tensor]] = []
    for experience in stream[0]:
        learn(strategy, [experience])
        owned = (strategy.owner != FREE).clone()
        kept.append((owned, strategy.weights.detach()[owned].clone()))
        for earlier, values in kept:
            assert torch.equal(strategy.weights.detach()[earlier], values)
    assert all(len(values) for _, values in kept)


@pytest.mark.parametrize("name", ["packnet", "cpg"])
def test_owned_and_free_weights_add_up_and_free_ones_are_zero(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy(name)
    total = strategy.layout.elements
    for count, experience in enumerate(stream[0], start=1):
        learn(strategy, [experience])
        owners = torch.bincount(strategy.owner.long(), minlength=count + 1)
        assert owners.sum() == total
        assert len(owners) == count + 1
        assert (strategy.weights.detach()[strategy.owner == FREE] == 0).all()


def test_packnet_leaves_forty_percent_of_what_was_free(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("packnet")
    expected = {slot.name: slot.elements for slot in strategy.layout.slots}
    for position, experience in enumerate(stream[0], start=1):
        learn(strategy, [experience])
        for slot in strategy.layout.slots[:-1]:  # dead units of the hidden layer leave ties at zero, which go together
            owned = int((strategy.owner[slot.element_slice] == position).sum())
            assert owned == expected[slot.name] - cut_rank(0.6, expected[slot.name]), slot.name
            expected[slot.name] -= owned


def test_equal_share_gives_every_task_a_third(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("packnet", settings=PackNetSettings(equal_share=True).with_epochs(2))
    learn(strategy, stream[0])
    for slot in strategy.layout.slots:
        shares = torch.bincount(strategy.owner[slot.element_slice].long(), minlength=4)[1:]
        assert (shares - slot.elements / 3).abs().max() <= 1, (slot.name, shares)


def test_the_originals_last_task_is_not_pruned(stream: tuple[list[Any], list[Any]]) -> None:
    settings = PackNetSettings(prune_ratio=(0.5, 0.75), prune_last=False, ratio_of="current").with_epochs(2)
    strategy = make_strategy("packnet", settings=settings)
    learn(strategy, stream[0])
    elements = strategy.layout.elements
    owned = [int((strategy.owner == position).sum()) for position in (1, 2, 3)]
    assert owned[0] == pytest.approx(elements / 2, abs=4)
    assert owned[1] == pytest.approx(elements / 8, abs=4)
    assert sum(owned) == elements  # the last task keeps all that was free


def test_cubic_schedule_by_hand() -> None:
    # from 0.2 to 0.8 in four steps: 0.8 - 0.6 (1 - x)^3
    expected = [0.2, 0.546875, 0.725, 0.790625, 0.8]
    assert [round(cubic_ratio(0.2, 0.8, step, 4), 6) for step in range(5)] == expected
    assert cubic_ratio(0.2, 0.8, 9, 4) == 0.8


def test_compulsory_pruning_of_no_expansion_by_hand() -> None:
    ratios = [compulsory_ratio(task, 20) for task in range(1, 21)]
    assert ratios == [0.9] * 14 + [0.8] * 3 + [0.7, 0.5, 0.0]
    assert compulsory_ratio(1, 200) == 0.95


def test_equal_share_ratios_by_hand() -> None:
    assert [equal_share_ratio(task, 5) for task in range(1, 6)] == pytest.approx([0.8, 0.75, 2 / 3, 0.5, 0.0])


def test_threshold_agrees_with_sorting() -> None:
    magnitudes = torch.rand(1001, generator=torch.Generator().manual_seed(0))
    ordered = magnitudes.sort().values
    for rank in (1, 2, 500, 1001):
        assert threshold(magnitudes, rank) == ordered[rank - 1]


def test_pruning_cuts_the_smallest_of_the_current_and_counts_free_ones() -> None:
    layout = arrange([("w", (8,), 1)])
    weights = torch.tensor([0.1, -0.2, 0.3, -0.4, 0.5, 0.6, 0.0, 0.0])
    owner = torch.tensor([2, 2, 2, 2, 1, 1, 0, 0], dtype=torch.int16)
    # candidates: four current and two free; half of six is three: two free ones and the smallest current one
    assert prune_layers(weights, owner, layout, 2, 0.5) == 1
    assert owner.tolist() == [0, 2, 2, 2, 1, 1, 0, 0]
    assert weights.tolist() == pytest.approx([0.0, -0.2, 0.3, -0.4, 0.5, 0.6, 0.0, 0.0])
    # counted over the current ones only: two of the three that are left fall (1.5 rounds half up)
    assert prune_layers(weights, owner, layout, 2, 0.5, "current") == 2
    assert owner.tolist() == [0, 0, 0, 2, 1, 1, 0, 0]


def test_ties_at_the_threshold_go_together() -> None:
    layout = arrange([("w", (4,), 1)])
    weights, owner = torch.tensor([0.5, -0.5, 0.5, 1.0]), torch.ones(4, dtype=torch.int16)
    assert prune_layers(weights, owner, layout, 1, 0.25) == 3


def test_cpg_meets_its_goal_or_says_so(stream: tuple[list[Any], list[Any]]) -> None:
    for goal, expected in ((0.0, True), (1.01, False)):
        strategy = make_strategy("cpg", goal_for=lambda task, goal=goal: goal)
        strategy.settings = dataclasses.replace(strategy.settings, min_train_accuracy=0.0)
        learn(strategy, stream[0][:1])
        assert strategy.progress.done["goal"] == goal
        assert strategy.progress.done["goal met"] is expected


def test_cpg_prunes_a_task_that_missed_its_goal_as_far_as_it_must(stream: tuple[list[Any], list[Any]]) -> None:
    """Three tasks: the first may keep round(1/3, 1) = 0.3 of a layer, so it is pruned to 0.6 of the ratios 0.3, 0.6."""
    strategy = make_strategy("cpg", goal_for=lambda task: 1.01)
    learn(strategy, stream[0][:1])
    assert [key for key in strategy.progress.done if key.startswith("prune")] == ["prune 0.3", "prune 0.6"]
    for slot in strategy.layout.slots:
        assert int((strategy.owner[slot.element_slice] == FREE).sum()) == cut_rank(0.6, slot.elements)


def test_cpg_keeps_the_largest_ratio_that_meets_the_goal(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("cpg", goal_for=lambda task: 0.0)
    strategy.settings = dataclasses.replace(strategy.settings, min_train_accuracy=0.0)
    learn(strategy, stream[0][:1])
    done = strategy.progress.done
    chosen = [value["ratio"] for key, value in done.items() if key == "unpruned" or key.startswith("choose 0")]
    share = float((strategy.owner == FREE).float().mean())
    assert chosen[-1] == 0.6
    assert share == pytest.approx(0.6, abs=0.02)


def test_cpg_picks_among_earlier_weights_only(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("cpg", epochs=8)
    strategy.settings = dataclasses.replace(strategy.settings, retrain_pick_lr=5e-3, retrain_patience=9)
    learn(strategy, stream[0])
    learned = strategy.learned[2]
    kept = tensors_of(learned)
    visible, earlier = restore.visible(strategy.shared(), kept, strategy.layout), strategy.earlier(3)
    assert visible[strategy.owner == 3].all()
    assert not visible[strategy.owner == FREE].any()
    assert kept["mask.picks"].numel() == -(-int(earlier.sum()) // 8)
    assert not visible[earlier].all(), "every earlier weight is picked: the test would prove nothing"


def test_cpg_without_free_weights_still_learns(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("cpg", epochs=2)
    learn(strategy, stream[0][:1])
    strategy.owner.masked_fill_(strategy.owner == FREE, 1)
    before = strategy.weights.detach().clone()
    learn(strategy, stream[0][1:2])
    assert torch.equal(strategy.weights.detach(), before)
    assert not (strategy.owner == 2).any()


def test_task_count_is_asked_for() -> None:
    with pytest.raises(ValueError, match="task_count"):
        make_strategy("cpg", task_count=None)


def test_bits_pack_and_unpack() -> None:
    bits = torch.tensor([1, 0, 0, 0, 0, 0, 0, 0, 1, 1], dtype=torch.bool)
    assert pack_bits(bits).tolist() == [1, 3]
    assert torch.equal(unpack_bits(pack_bits(bits), 10), bits)
    with pytest.raises(ValueError, match="bytes cannot hold"):
        unpack_bits(torch.zeros(3, dtype=torch.uint8), 10)
    numbers = torch.tensor([0, 1, 5, 20, 7], dtype=torch.int16)
    assert bits_for(20) == 5
    assert len(pack_numbers(numbers, 5)) == 4  # 25 bits
    assert torch.equal(unpack_numbers(pack_numbers(numbers, 5), 5, 5), numbers)


@pytest.mark.parametrize("ratio", [0.0, 0.004, 0.1, 0.5, 0.95, 1.0])
def test_both_ways_to_a_threshold_agree_to_the_bit(ratio: float) -> None:
    generator = torch.Generator().manual_seed(3)
    magnitudes = torch.randn(101, generator=generator).abs()
    magnitudes[::7] = 0.25  # ties
    counted = torch.rand(101, generator=generator) < 0.6
    found = threshold_by_selection(magnitudes, counted, ratio)
    assert torch.equal(found, threshold_by_sorting(magnitudes, counted, ratio))
    count = int(counted.sum())
    below = int((magnitudes[counted] <= found).sum())
    assert below >= int(ratio * count + 0.5)
    assert (below == 0) == (int(ratio * count + 0.5) == 0)
