"""Affine masks: the transformation and its gradients by hand, its special cases, and what the method promises."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream
from torch import Tensor, nn

from methods.affine.transform import FORMS, SCALARS, affine_weights, transformed
from methods.engine.layout import arrange
from methods.engine.masked import SCORES
from methods.engine.packing import pack_bits
from methods.engine.parts import BACKBONE, BITS, tensors_of
from methods.engine.restore import DamagedParts
from methods.registry import GROUPS, METHODS


def affine(**knobs: Any) -> Any:
    """The method on the tiny net; ``form`` and ``scalar_lr`` are its own knobs."""
    masked = {"lr": 5e-3, "head_lr": 1e-2}
    settings = dataclasses.replace(METHODS["affine"].settings.with_epochs(4), **{**masked, **knobs})
    return make_strategy("affine", settings=settings)


def logits_of(strategy: Any, tests: list[Any]) -> list[Tensor]:
    return [strategy.logits(label, images) for label, images in enumerate(tests)]


def test_weights_and_gradients_by_hand() -> None:
    layout = arrange([("w", (2,), 1)])
    numbers = torch.tensor([1.0, 0.0], requires_grad=True)
    scalars = torch.tensor([[1.0, 0.5, 0.25, 0.0]], requires_grad=True)
    weights = transformed(numbers, scalars, torch.tensor([2.0, -1.0]), layout)["w"]
    assert weights.tolist() == [2.75, -0.5]
    weights.backward(torch.tensor([1.0, 2.0]))
    assert scalars.grad is not None and numbers.grad is not None
    assert scalars.grad.tolist() == [[0, 3, 1, 2]]
    assert numbers.grad.tolist() == [0.25, 0.5]


def test_gradients_are_those_of_plain_arithmetic() -> None:
    """Two layers in units of two and three weights, against autograd on the formula written out."""
    layout = arrange([("a", (2, 4), 2), ("b", (3, 3), 3)])
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(layout.elements, generator=generator)
    numbers = torch.rand(layout.units, generator=generator).requires_grad_()
    scalars = torch.randn(2, 4, generator=generator).requires_grad_()
    outer = [torch.randn(shape, generator=generator) for shape in layout.shapes]
    effective = transformed(numbers, scalars, weights, layout)
    torch.autograd.backward(list(effective.values()), outer)
    found = [numbers.grad, scalars.grad]
    numbers.grad = scalars.grad = None
    plain = []
    for row, slot in zip(scalars, layout.slots, strict=True):
        w = weights[slot.element_slice]
        b = numbers[slot.unit_slice].repeat_interleave(slot.unit_size)
        plain.append((row[0] * w + row[1] + row[2] * b + row[3] * w * b).view(slot.shape))
    torch.autograd.backward(plain, outer)
    for one, other in zip([*effective.values(), *found], [*plain, numbers.grad, scalars.grad], strict=True):
        torch.testing.assert_close(one, other)


def test_kept_everywhere_without_mask_terms_it_is_a_line_of_the_weights() -> None:
    layout = arrange([("w", (3,), 1)])
    weights = torch.tensor([1.0, -2.0, 3.0])
    found = transformed(torch.ones(3), torch.tensor([[2.0, 0.5, 0.0, 0.0]]), weights, layout)["w"]
    assert found.tolist() == [2.5, -3.5, 6.5]


def test_scalars_held_at_0_0_0_1_are_piggyback_bit_for_bit() -> None:
    experiences, tests = tiny_stream(3)
    ours, theirs = affine(scalar_lr=0.0), make_strategy("piggyback", bn_policy="per-task")
    learn(ours, experiences)
    learn(theirs, experiences)
    for one, other in zip(logits_of(ours, tests), logits_of(theirs, tests), strict=True):
        assert torch.equal(one, other)
    for label in (1, 2):
        kept, expected = tensors_of(ours.learned[label]), tensors_of(theirs.learned[label])
        assert torch.equal(kept.pop(SCALARS), torch.tensor([[0.0, 0.0, 0.0, 1.0]] * 4))
        assert kept.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in kept.items())
    assert ours.mask_statistics() == theirs.mask_statistics()
    assert sum(count.zeros for count in ours.mask_statistics()) > 0


@pytest.mark.parametrize("form", list(FORMS))
def test_every_task_begins_as_the_backbone_with_living_gradients(form: str) -> None:
    experiences, _ = tiny_stream(2)
    strategy = affine(form=form)
    learn(strategy, experiences[:1])
    task = strategy._learning_task(experiences[1])
    strategy.state.generators["noise"] = torch.Generator()
    strategy.begin(task)
    tensors, own = strategy.training_tensors(), dict(strategy.view.backbone.named_parameters())
    for name in strategy.layout.names:
        assert torch.equal(tensors[name], own[name])
    sum((tensors[name] * (place + 1)).square().sum() for place, name in enumerate(strategy.layout.names)).backward()
    assert strategy.current[SCORES].grad.abs().min() > 0
    assert strategy.current[SCALARS].grad.abs().min() > 0


def test_first_form_keeps_the_plain_weights_and_trains_two_scalars() -> None:
    experiences, _ = tiny_stream(2)
    strategy = affine(form="2018", scalar_lr=1e-2)
    learn(strategy, experiences[:1])
    spread = [part.std(correction=0).item() for part in strategy.layout.parts(strategy.frozen_weights)]
    learn(strategy, experiences[1:])
    scalars = tensors_of(strategy.learned[1])[SCALARS]
    assert scalars[:, 0].tolist() == [1] * 4
    assert scalars[:, 3].tolist() == [0] * 4
    assert scalars[:, 1].tolist() != pytest.approx([-value for value in spread], rel=1e-3)
    # the masks, k1 and k2 of four layers, two BN layers of 4 and 8 channels, and the head
    assert strategy.progress.trainable == strategy.layout.units + 2 * 4 + 2 * (4 + 8) + (6 * 3 + 3)


def test_a_common_factor_is_lost_in_batch_norm() -> None:
    """c k in place of k (c > 0) leaves what BN in training mode makes of the layer as it is, up to its epsilon."""
    generator = torch.Generator().manual_seed(0)
    layout = arrange([("w", (4, 3, 3, 3), 1)])
    weights = torch.randn(layout.elements, generator=generator)
    numbers = (torch.rand(layout.units, generator=generator) > 0.3).float()
    images = torch.randn(8, 3, 9, 9, generator=generator)
    scalars = torch.tensor([[0.5, -0.2, 0.3, 1.0]])

    def output(factor: float) -> Tensor:
        weight = transformed(numbers, factor * scalars, weights, layout)["w"]
        found: Tensor = nn.BatchNorm2d(4)(nn.functional.conv2d(images, weight))
        return found

    torch.testing.assert_close(output(3.0), output(1.0), rtol=1e-4, atol=1e-4)


def test_stored_form_comes_back_and_damage_is_refused() -> None:
    layout = arrange([("a", (2, 2), 1), ("b", (1, 3), 1)])
    shared = {BACKBONE + "a": torch.tensor([[1.0, 2], [3, 4]]), BACKBONE + "b": torch.tensor([[5.0, 6, 7]])}
    bits = torch.tensor([True, False, True, True, False, True, True])
    kept = {BITS: pack_bits(bits), SCALARS: torch.tensor([[0.0, 0, 0, 1], [1.0, 10, 100, 0]])}
    found = affine_weights(shared, kept, layout)
    assert found["a"].tolist() == [[1, 0], [3, 4]]
    assert found["b"].tolist() == [[15, 116, 117]]
    with pytest.raises(DamagedParts, match=r"scalars of the shape \(1, 4\) do not fit 2 layers"):
        affine_weights(shared, kept | {SCALARS: kept[SCALARS][:1]}, layout)


@pytest.mark.parametrize("form", list(FORMS))
def test_earlier_tasks_stay_bit_for_bit(form: str) -> None:
    experiences, tests = tiny_stream(3)
    strategy = affine(form=form, scalar_lr=1e-2)
    before: dict[int, Tensor] = {}
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        before[label] = strategy.logits(label, tests[label])
        assert all(torch.equal(strategy.logits(one, tests[one]), logits) for one, logits in before.items())
    first, second = (tensors_of(strategy.learned[label])[SCALARS] for label in (1, 2))
    assert not torch.equal(first, second)


def test_slightly_more_than_one_bit_a_weight() -> None:
    strategy = affine()
    weights = 36 + 32 + 576 + 48
    assert strategy.measures() == {"bits_per_weight": pytest.approx((weights + 4 * 4 * 32) / weights)}


def test_card() -> None:
    card = METHODS["affine"]
    assert card.name in GROUPS["masks"]
    assert card.caveat.startswith("interpretation from the abstract")


def test_contract_of_the_first_form(tmp_path: Path) -> None:
    from benchmark.testing import check_reload, check_run

    check_reload([check_run("affine", tmp_path, overrides={"affine.form": "2018", "affine.scalar_lr": 1e-2})])
