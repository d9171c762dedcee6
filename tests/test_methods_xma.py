"""XMA: levels and their derivative by hand, their storage, and what the method promises."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream
from torch import Tensor

from benchmark.backbones.builder import build
from methods.engine import masks
from methods.engine.layout import arrange, layout_of
from methods.engine.parts import BACKBONE, tensors_of
from methods.engine.restore import DamagedParts
from methods.registry import GROUPS, METHODS
from methods.settings import MaskSettings
from methods.xma.card import XMASettings
from methods.xma.levels import (
    LEVELS,
    SCHEME,
    Levels,
    group_of,
    levelled,
    levelled_weights,
    pack_levels,
    scheme_of,
    unpack_levels,
)

FIVE = Levels.of(XMASettings())


def xma(**knobs: Any) -> Any:
    """The method on the tiny net at a rate at which levels change in a few steps."""
    settings = dataclasses.replace(METHODS["xma"].settings.with_epochs(6), mask_lr=5e-2, lr=5e-3, head_lr=1e-2)  # type: ignore[call-arg]
    return make_strategy("xma", settings=dataclasses.replace(settings, **knobs))


def test_levels_by_hand() -> None:
    assert levelled(torch.tensor([-0.1, 0.2, 0.5, 0.8, 3.0]), FIVE).tolist() == [0, 0.25, 0.5, 1, 2]


def test_borders_lie_between_powers_of_two_and_belong_to_the_upper_level() -> None:
    borders = torch.tensor([2.0**-2.5, 2.0**-1.5, 2.0**-0.5, 2.0**0.5])
    assert borders.tolist() == pytest.approx([0.1768, 0.3536, 0.7071, 1.4142], abs=5e-5)
    assert levelled(borders, FIVE).tolist() == [0.25, 0.5, 1, 2]
    assert levelled(torch.nextafter(borders, torch.tensor(0.0)), FIVE).tolist() == [0, 0.25, 0.5, 1]


def test_levels_are_those_of_the_formula() -> None:
    scores = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) * 3
    exponents = (scores.double().log2() + 0.5).floor().clamp(-2, 1)
    expected = torch.where(scores < 2**-2.5, 0.0, 2**exponents).float()
    assert torch.equal(levelled(scores, FIVE), expected)


def test_gradient_passes_straight_through_but_not_further_out() -> None:
    scores = torch.tensor([-0.1, -0.1, 0.5, 2.8, 2.9, 2.9], requires_grad=True)
    levelled(scores, FIVE).backward(torch.tensor([1.0, -1.0, 3.0, -1.0, -1.0, 1.0]))
    assert scores.grad is not None
    # a step goes against the gradient: it pushed the first further below 0, the fifth further above 2^1.5
    assert scores.grad.tolist() == [0, -1, 3, -1, 0, 1]


def test_gradient_of_a_score_is_the_sum_over_its_column() -> None:
    layout = arrange([("w", (1, 3), 2)])
    scores = torch.tensor([0.5, 2.0], requires_grad=True)
    weights = masks.masked(torch.tensor([2.0, 3.0, 5.0]), levelled(scores, FIVE), layout)["w"]
    assert weights.tolist() == [[1, 1.5, 10]]
    weights.backward(torch.tensor([[1.0, 10.0, 100.0]]))
    assert scores.grad is not None
    assert scores.grad.tolist() == [32, 500]


def test_scores_of_one_are_the_backbone_bit_for_bit() -> None:
    strategy = xma()
    experiences, _ = tiny_stream(1)
    learn(strategy, experiences)
    scores = torch.ones(strategy.layout.units)
    effective = masks.masked(strategy.frozen_weights, levelled(scores, FIVE), strategy.layout)
    own = dict(strategy.view.backbone.named_parameters())
    assert all(torch.equal(tensor, own[name]) for name, tensor in effective.items())


def test_levels_zero_and_one_keep_the_units_that_the_threshold_says() -> None:
    """With the border at half: the bits of a binary mask of threshold 0.005 for scores a hundredth as large."""
    binary = Levels.of(XMASettings(lowest=0, levels=1, border=0.5))
    scores = torch.linspace(-0.01, 0.03, 4001)
    layout = arrange([("w", (4001,), 1)])
    kept = masks.finished(scores, layout, MaskSettings(soft="none", threshold=0.005)).bits
    away = (scores - 0.005).abs() > 1e-8  # at the threshold itself a hundredfold rounds to either side
    assert torch.equal(levelled(scores * 100, binary)[away], kept.float()[away])
    assert levelled(torch.tensor([0.49, 0.5]), binary).tolist() == [0, 1]
    strategy = xma(lowest=0, levels=1, border=0.5)
    experiences, _ = tiny_stream(2)
    learn(strategy, experiences)
    assert {count.soft for count in strategy.mask_statistics()} == {0}


def test_levels_of_both_signs() -> None:
    signed = dataclasses.replace(FIVE, signed=True)
    assert signed.base == 9
    assert levelled(torch.tensor([-3.0, -0.5, -0.1, 0.1, 1.0]), signed).tolist() == [-2, -0.5, 0, 0, 1]
    scores = torch.tensor([-0.1, -2.9], requires_grad=True)
    levelled(scores, signed).backward(torch.tensor([1.0, 1.0]))
    assert scores.grad is not None
    assert scores.grad.tolist() == [1, 0]


def test_weights_change_by_exact_powers_of_two() -> None:
    strategy = xma()
    experiences, _ = tiny_stream(3)
    learn(strategy, experiences)
    seen = set()
    for label in (1, 2):
        tensors = strategy.restored(tensors_of(strategy.learned[label]))
        flat = strategy.layout.flatten(tensors)
        kept = (flat != 0) & (strategy.frozen_weights != 0)
        mantissa, exponent = torch.frexp(flat[kept])
        own_mantissa, own_exponent = torch.frexp(strategy.frozen_weights[kept])
        assert torch.equal(mantissa, own_mantissa)
        seen |= set((exponent - own_exponent).tolist())
    assert seen <= {-2, -1, 0, 1}
    assert len(seen) > 1


@pytest.mark.parametrize(("base", "group"), [(2, (1, 1)), (3, (5, 8)), (5, (3, 7)), (9, (4, 13)), (61, (1, 6))])
def test_levels_come_back_from_their_packed_form(base: int, group: tuple[int, int]) -> None:
    assert group_of(base) == group
    for count in (1, 2, 3, 100, 10_007):
        numbers = torch.randint(base, (count,), generator=torch.Generator().manual_seed(count))
        packed, groups = pack_levels(numbers, base)
        size, bits = group_of(base)
        assert len(packed) == -(-groups * bits // 8)
        assert groups == -(-count // size)
        assert torch.equal(unpack_levels(packed, base, count), numbers)


def test_damaged_levels_are_refused() -> None:
    layout = arrange([("w", (4, 5), 1)])
    shared = {BACKBONE + "w": torch.ones(4, 5)}
    packed, _ = pack_levels(torch.full((8,), 3), 5)
    kept = {LEVELS: packed, SCHEME: scheme_of(3, FIVE)}  # blocks of 3 and 2 in each of four outputs
    assert torch.equal(levelled_weights(shared, kept, layout)["w"], torch.ones(4, 5))
    with pytest.raises(DamagedParts, match="2 bytes of levels do not fit 8 columns of 5 levels"):
        levelled_weights(shared, kept | {LEVELS: packed[:2]}, layout)
    with pytest.raises(DamagedParts, match="numbers that no columns of 5 levels make"):
        levelled_weights(shared, kept | {LEVELS: torch.full_like(packed, 255)}, layout)


def test_earlier_tasks_stay_bit_for_bit_and_statistics_count_levels() -> None:
    experiences, tests = tiny_stream(3)
    strategy = xma(rows=5)
    assert strategy.layout.ragged
    before: dict[int, Tensor] = {}
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        before[label] = strategy.logits(label, tests[label])
        assert all(torch.equal(strategy.logits(one, tests[one]), logits) for one, logits in before.items())
    counts = strategy.mask_statistics()
    assert sum(count.soft for count in counts) > 0
    assert {label: sum(count.units for count in counts if count.task == label) for label in (1, 2)} == {
        1: strategy.layout.units, 2: strategy.layout.units,
    }  # fmt: skip


def test_mask_memory_of_the_published_network() -> None:
    """ResNet-50 with blocks of 72: 3.37 % at log2(5) bits a column, a saving of 96.6 %; 0.793 Mbit as stored."""
    with torch.device("meta"):
        layout = layout_of(build("resnet50", width=1.0, channels=3), "block", "block", rows=72)
    strategy = xma()
    strategy.layout = layout
    measures = strategy.measures()
    assert measures["mask_entropy"] == pytest.approx(3.366, abs=1e-3)
    assert measures["mask_memory"] == pytest.approx(100 * 113_323 * 7 / 23_454_912)
    assert layout.units == 339_968 and -(-339_968 // 3) == 113_323


def test_pretrained_protocol_reaches_the_level_below_and_zero() -> None:
    """``reach`` counts distances to the level below the start: three of them are enough to drop a column."""
    start = METHODS["xma"].protocols["pretrained"]
    assert start["reach"] * (1 - 2**-0.5) > 1 - 2**-2.5


def test_card() -> None:
    card = METHODS["xma"]
    assert card.name in GROUPS["masks"]
    assert card.caveat.startswith("interpretation from the abstract")


def test_contract_with_ragged_columns_of_both_signs(tmp_path: Path) -> None:
    from benchmark.testing import check_reload, check_run

    overrides = {"xma.rows": 40, "xma.signed": True, "xma.mask_lr": 0.1}
    folder = check_run("xma", tmp_path, overrides=overrides)
    check_reload([folder])
