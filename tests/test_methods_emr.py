"""EMR-merging: elected vectors, masks, factors and networks worked out by hand; what is kept and counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from merging_by_hand import estimates, masks, merged
from tiny import learn, make_strategy, tiny_networks, tiny_stream

from benchmark.testing import check_method
from methods.emr.card import EmrSettings
from methods.emr.strategy import agreeing, elected, factor
from methods.engine.layout import arrange
from methods.engine.parts import MERGED_SCALE, tensors_of

NAME = "emr"
HAND = ((1.0, -2.0, 0.5), (1.0, 1.0, 0.0))


def factors(strategy: Any) -> list[float]:
    return [parts[MERGED_SCALE].tensor.item() for parts in strategy.learned.values()]


def random_vectors(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(400, generator=generator) for _ in range(count)]


def test_one_task_alone_is_found_again_exactly() -> None:
    strategy = merged(NAME, HAND[:1])
    assert (estimates(strategy), factors(strategy)) == ([[1.0, -2.0, 0.5]], [1.0])


def test_equal_tasks_are_found_again_exactly() -> None:
    assert estimates(merged(NAME, (HAND[0],) * 3)) == [list(HAND[0])] * 3


def test_the_worked_case() -> None:
    strategy = merged(NAME, HAND)
    assert strategy.merged.tolist() == [1.0, -2.0, 0.5]
    assert masks(strategy) == [[1, 1, 1], [1, 0, 0]]
    assert factors(strategy) == [1.0, 2.0]
    assert estimates(strategy) == [[1.0, -2.0, 0.5], [2.0, 0.0, 0.0]]


def test_the_l1_norm_of_what_a_task_gets_is_that_of_its_vector() -> None:
    vectors = random_vectors(4)
    total = elected(vectors)
    for vector in vectors:
        taken = torch.where(agreeing(vector, total), total, 0.0)
        assert (taken * factor(vector, taken)).abs().sum().item() == pytest.approx(vector.abs().sum().item(), rel=1e-5)


def test_no_sign_contradicts_that_of_the_tasks_vector() -> None:
    vectors = random_vectors(4)
    total = elected(vectors)
    for vector in vectors:
        mask = agreeing(vector, total)
        assert mask.any() and not mask.all()
        assert (vector[mask] * total[mask] > 0).all()
        assert (vector[~mask] * total[~mask] <= 0).all()


def test_the_order_of_tasks_makes_no_difference() -> None:
    vectors = random_vectors(4)
    assert torch.equal(elected(vectors), elected(vectors[::-1]))


def test_all_negative_and_zero_means_elect_minus() -> None:
    vectors = [torch.tensor([-1.0, 2.0, 0.0]), torch.tensor([-3.0, -2.0, 0.0])]
    assert elected(vectors).tolist() == [-3.0, -2.0, 0.0]
    assert agreeing(vectors[0], elected(vectors)).tolist() == [True, False, False]


def test_tiny_numbers_keep_their_sign() -> None:
    vector = torch.tensor([1e-30, -1e-30])  # their products would be zero
    assert agreeing(vector, elected([vector])).all()


def test_a_task_with_an_empty_mask_is_what_all_start_from() -> None:
    strategy = merged(NAME, ((1.0, 1.0, 1.0), (-0.5, -0.5, 0.0)))
    assert masks(strategy)[1] == [0, 0, 0]
    assert (factors(strategy)[1], estimates(strategy)[1]) == (0.0, [0.0, 0.0, 0.0])


def test_the_factor_of_layers_compares_sums_of_their_means() -> None:
    layers = arrange([("a", (1,), 1), ("b", (4,), 1)])
    vector, taken = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0]), torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0])
    assert factor(vector, taken).tolist() == [pytest.approx(7 / 3)]
    assert factor(vector, taken, layers).tolist() == [pytest.approx((3 + 1) / (1 + 0.5))]
    one_layer = merged(NAME, HAND, settings=EmrSettings(scale="layer"))
    assert factors(one_layer) == [1.0, 2.0]


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


@pytest.mark.parametrize("scale", ["global", "layer"])
def test_the_first_task_stays_exact_and_the_others_bring_a_bit_a_number_and_a_factor(
    scale: str, stream: tuple[list[Any], list[Any]]
) -> None:
    experiences, test = stream
    strategy = make_strategy(NAME, settings=EmrSettings(scale=scale))
    learn(strategy, experiences)
    tuned = tiny_networks("finetune", "per-task", 4)
    assert torch.equal(strategy.logits(0, test[0]), tuned._strategy.logits(0, test[0]))
    assert list(strategy.learned[0]) == ["head.weight", "head.bias"]
    items = {(item.name, item.task): item.count * item.bits for item in strategy.storage()}
    for label in (1, 2):
        assert (items["mask bits", label], items["mask scales", label]) == (698, 32)
    assert items["merged vector", None] == 32 * 698
    assert strategy.measures()["share_taken"] == pytest.approx(
        sum(float(strategy.mask_of(tensors_of(strategy.learned[label])).bits.sum()) for label in (1, 2)) / 2 / 698,
        abs=0.02,
    )


@pytest.mark.exhaustive
def test_contract() -> None:
    check_method(NAME)
