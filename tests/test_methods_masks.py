"""Masks: values worked out by hand, gradients against an independent formula, degenerate layers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny import tiny_net
from torch import Tensor, nn
from torch.func import functional_call

from methods.engine import fast, masks
from methods.engine.fast import passes
from methods.engine.fast.blocks import cut
from methods.engine.layout import arrange, layout_of
from methods.engine.schedule import Schedule, score_rate, score_schedule
from methods.engine.soft_values import SOFT_RULES as RULES
from methods.settings import MaskedSettings, MaskSettings

SCORES = torch.tensor([0.02, 0.003, -0.001, 0.001, 0.005])
KEPT = torch.tensor([True, False, False, False, True])


def soft(rule: str, scores: Tensor = SCORES, kept: Tensor = KEPT) -> list[float]:
    function = RULES[rule]
    assert function is not None
    return [round(value, 5) for value in function(scores, kept).tolist()]


def test_release_rule_counts_kept_units_as_zero_in_the_minimum() -> None:
    # dropped: 0.003, -0.001, 0.001; min over the whole tensor -0.001, max 0.003
    assert soft("release") == [0.0, 1.0, 0.0, 0.5, 0.0]
    # all dropped scores positive: the minimum is the zero of a kept unit
    assert soft("release", torch.tensor([0.01, 0.004, 0.001]), torch.tensor([True, False, False])) == [0.0, 1.0, 0.25]


def test_release_rule_leaves_a_score_of_exactly_zero_at_zero() -> None:
    assert soft("release", torch.tensor([-0.002, 0.0, 0.002]), torch.zeros(3, dtype=torch.bool)) == [0.0, 0.0, 1.0]


def test_the_other_rules_look_at_dropped_units_only() -> None:
    assert soft("min-max") == [0.0, 1.0, 0.0, 0.5, 0.0]
    assert soft("min-max", torch.tensor([0.01, 0.004, 0.001]), torch.tensor([True, False, False])) == [0.0, 1.0, 0.0]
    assert soft("max-abs") == [0.0, 1.0, -0.33333, 0.33333, 0.0]
    # mean 0.001, deviations 0.002, -0.002, 0; population variance 8e-6 / 3
    assert soft("z-score") == [0.0, 1.22474, -1.22474, 0.0, 0.0]


@pytest.mark.parametrize("rule", [name for name, function in RULES.items() if function])
@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.01, 0.01], [True, True]),
        ([0.001, 0.001], [False, False]),
        ([0.0, 0.0], [False, False]),
        ([0.01, 0.001], [True, False]),
    ],
)
def test_degenerate_layers_give_no_nan(rule: str, scores: list[float], kept: list[bool]) -> None:
    function = RULES[rule]
    assert function is not None
    values = function(torch.tensor(scores), torch.tensor(kept))
    assert torch.isfinite(values).all()
    assert not values[torch.tensor(kept)].any()


def test_threshold_is_kept_by_equation_1_and_dropped_by_piggybacks_code() -> None:
    at_threshold = torch.tensor([0.005])
    layout = arrange([("w", (1,), 1)])
    assert masks.binary_mask(at_threshold, layout, MaskSettings(strict=False)).item() == 1
    assert masks.binary_mask(at_threshold, layout, MaskSettings(strict=True)).item() == 0


def test_units_of_every_kind_are_counted_by_hand() -> None:
    net = tiny_net()  # 3x3 1->4, 1x1 4->8, 3x3 8->8, linear 8->6
    elements = 36 + 32 + 576 + 48
    assert layout_of(net, "element").units == elements
    assert layout_of(net, "kernel").units == 4 + 32 + 64 + 48
    assert layout_of(net, "group").units == 4 + 8 + 8 + 48  # blocks of 1, 4 and 8 input channels
    assert layout_of(net, "channel").units == 4 + 8 + 8 + 48
    assert layout_of(net, "kernel", "unit").units == 4 + 32 + 64 + 6
    assert layout_of(net, "kernel", "frozen").units == 4 + 32 + 64
    assert layout_of(net, "kernel", "frozen").elements == elements - 48


def test_expanding_repeats_each_number_for_its_unit() -> None:
    layout = arrange([("a", (2, 1, 1, 1), 1), ("b", (1, 2, 1, 2), 2)])
    assert layout.expand(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [1, 2, 3, 3, 4, 4]
    flat = torch.tensor([1.0, 1.0, 10.0, 20.0, 30.0, 40.0])
    assert layout.scale(flat, torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [1, 2, 30, 60, 120, 160]


@pytest.mark.parametrize("units", ["element", "kernel", "group", "channel"])
@pytest.mark.parametrize("surrogate", ["straight-through", "sigmoid"])
@pytest.mark.parametrize("rule", ["none", "release"])
def test_gradient_is_the_formula_of_the_paper(units: str, surrogate: str, rule: str) -> None:
    """dL/dM = (k/T) q (1-q) x sum over the unit of W dL/dW_eff (equations 6-10); without the factor straight-through.

    The independent side never touches our autograd function: it takes dL/dW_eff from plain autograd on a leaf.
    """
    settings = MaskSettings(units=units, surrogate=surrogate, soft=rule)
    net = tiny_net().requires_grad_(False).eval()
    layout = layout_of(net, units)
    weights = layout.flatten(dict(net.named_parameters()))
    generator = torch.Generator().manual_seed(3)
    scores = (0.005 + 0.02 * torch.randn(layout.units, generator=generator)).requires_grad_()
    images = torch.randn(5, 1, 6, 6, generator=generator)

    def loss(tensors: dict[str, Tensor]) -> Tensor:
        return torch.as_tensor(functional_call(net, tensors, (images,))).square().sum()

    loss(masks.effective_weights(scores, weights, layout, settings)).backward()

    finished = masks.finished(scores.detach(), layout, settings)
    leaf = (weights * layout.expand(finished.numbers)).requires_grad_()
    loss(layout.views(leaf)).backward()
    assert leaf.grad is not None
    product = (leaf.grad * weights).double()
    expected = torch.zeros(layout.units, dtype=torch.float64)
    expected.index_add_(0, layout.expand(torch.arange(layout.units).float()).long(), product)
    if surrogate == "sigmoid":
        q = 1 / (1 + torch.exp(-12.0 * (scores.detach().double() - 0.005)))
        expected = expected * 12.0 * q * (1 - q)
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad.double(), expected, rtol=1e-4, atol=1e-7)


def test_kernel_units_of_1x1_convolutions_are_elements() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False))
    assert layout_of(net, "kernel").slots == layout_of(net, "element").slots


def test_soft_values_are_detached_as_a_whole() -> None:
    """Two units, one kept: the dropped one's value moves the output, yet its gradient is that of the binary part."""
    layout = arrange([("w", (2, 1), 1)])
    scores = torch.tensor([0.01, 0.002], requires_grad=True)
    settings = dataclasses.replace(MaskSettings(), surrogate="straight-through", soft="max-abs", soft_scale=1.0)
    weights = torch.tensor([3.0, 5.0])
    effective = masks.effective_weights(scores, weights, layout, settings)["w"]
    assert effective.flatten().tolist() == [3.0, 5.0]  # B = 1, 0 and A = 0, 0.002/0.002
    (effective.flatten() * torch.tensor([2.0, 7.0])).sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [6.0, 35.0]


def test_all_kept_mask_is_the_backbone_itself() -> None:
    net = tiny_net()
    layout = layout_of(net, "kernel")
    weights = layout.flatten(dict(net.named_parameters()))
    mask = masks.finished(torch.full((layout.units,), 0.01), layout, MaskSettings())
    assert torch.equal(layout.scale(weights, mask.numbers), weights)


def test_noise_moves_masks_only_by_its_own_stream() -> None:
    scores = torch.zeros(1000)
    settings = MaskSettings()
    first = masks.logistic_noise(scores, settings, torch.Generator().manual_seed(1))
    again = masks.logistic_noise(scores, settings, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    # a standard logistic variable over k = 1200 has standard deviation pi / sqrt(3) / 1200
    assert first.std().item() == pytest.approx(1.8138 / 1200, rel=0.1)


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="straight-through, sigmoid"):
        masks.check(MaskSettings(surrogate="tanh"))
    with pytest.raises(ValueError, match="max-abs"):
        masks.check(MaskSettings(soft="softest"))
    with pytest.raises(ValueError, match="element, kernel"):
        layout_of(tiny_net(), "row")


def test_blocks_cover_every_unit_once_and_know_their_layers() -> None:
    layout = arrange([("fc", (100, 3), 1), ("tiny", (1,), 1), ("conv", (64, 2, 3, 3), 9)])  # 300, 1 and 128 units
    first, second, third = blocks = cut(layout, 192)
    assert [block.units for block in blocks] == [slice(0, 192), slice(192, 384), slice(384, 429)]
    kernels = 301  # where the first kernel's elements start; 83 kernels lie before unit 384
    assert [block.elements for block in blocks] == [
        slice(0, 192),
        slice(192, kernels + 83 * 9),
        slice(kernels + 83 * 9, kernels + 128 * 9),
    ]
    assert first.layers == (0,) and first.pieces == (slice(0, 192),)
    assert second.layers == (0, 1, 2) and second.pieces == (slice(192, 300), slice(0, 1), slice(0, 747))
    assert third.layers == (2,) and third.pieces == (slice(747, 1152),)
    tensors = [torch.arange(300.0), torch.tensor([300.0]), 301 + torch.arange(1152.0)]
    assert torch.equal(torch.cat([part for block in blocks for part in block.parts_of(tensors)]), torch.cat(tensors))
    assert len(cut(layout, layout.units)) == 1


@pytest.mark.parametrize("most", [64, 4096])
def test_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Whole tensors against blocks, noise included: the same effective weights, gradients and finished masks."""
    layout = arrange([("fc", (700, 41), 1), ("small", (9,), 1), ("conv", (80, 30, 3, 3), 9), ("wide", (70, 999), 999)])
    generator = torch.Generator().manual_seed(5)
    weights = torch.randn(layout.elements, generator=generator)
    noise = 0.005 * torch.randn(layout.units, generator=generator)
    outer = [torch.randn(shape, generator=generator) for shape in layout.shapes]
    start = 0.005 + 0.02 * torch.randn(layout.units, generator=generator)

    def results(size: int, settings: MaskSettings) -> list[Tensor]:
        monkeypatch.setattr(passes, "blocks_of", lambda layout, device: cut(layout, size))
        scores = start.clone().requires_grad_()
        effective = masks.effective_weights(scores, weights, layout, settings, noise)
        torch.autograd.backward(list(effective.values()), outer)
        finished = masks.finished(start, layout, settings)
        assert scores.grad is not None
        return [*effective.values(), scores.grad, finished.bits, finished.values]

    for settings in (MaskSettings(), MaskSettings(soft="none"), MaskSettings(surrogate="straight-through")):
        for whole, blocked in zip(results(layout.units, settings), results(most, settings), strict=True):
            assert torch.equal(whole, blocked)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("surrogate", ["straight-through", "sigmoid"])
@pytest.mark.parametrize("soft", ["none", "release"])
@pytest.mark.parametrize("units", ["element", "kernel", "group", "channel"])
def test_fast_path_gives_the_bits_of_the_equations(
    monkeypatch: pytest.MonkeyPatch, units: str, soft: str, surrogate: str, strict: bool, noisy: bool
) -> None:
    """Effective weights and gradients of the scores, scores on the threshold and exact zeros among them."""
    settings = MaskSettings(units=units, soft=soft, surrogate=surrogate, strict=strict)
    assert fast.serves(settings)
    net = nn.Sequential(
        nn.Conv2d(3, 40, 3),
        nn.Conv2d(40, 33, 3),
        nn.Conv2d(33, 16, 1),
        nn.Conv2d(16, 8, 5, groups=4),
        nn.Linear(37, 91),
    )
    layout = layout_of(net, units)
    generator = torch.Generator().manual_seed(7)
    weights = torch.randn(layout.elements, generator=generator)
    start = 0.005 + 0.02 * torch.randn(layout.units, generator=generator)
    start[::5], start[1::7] = 0.005, 0.0
    noise = 0.005 * torch.randn(layout.units, generator=generator) if noisy else None
    outer = [torch.randn(shape, generator=generator) for shape in layout.shapes]

    def results() -> list[Tensor]:
        scores = start.clone().requires_grad_()
        effective = masks.effective_weights(scores, weights, layout, settings, noise)
        torch.autograd.backward(list(effective.values()), outer)
        assert scores.grad is not None
        return [*effective.values(), scores.grad]

    quick = results()
    monkeypatch.setattr(fast, "serves", lambda settings: False)
    assert all(torch.equal(one, other) for one, other in zip(results(), quick, strict=True))


def test_fast_path_leaves_to_the_equations_what_it_would_round_otherwise() -> None:
    assert fast.serves(MaskSettings(soft_scale=0.25))
    assert not fast.serves(MaskSettings(soft_scale=0.3))
    assert not fast.serves(MaskSettings(soft="min-max"))
    assert not fast.serves(MaskSettings(keep="top"))
    assert fast.serves(MaskSettings(soft="none", soft_scale=0.3))


def test_top_share_keeps_the_highest_scores_of_each_layer() -> None:
    layout = arrange([("a", (5,), 1), ("b", (4, 2), 2), ("c", (1,), 1)])
    scores = torch.tensor([0.1, 0.5, 0.3, 0.5, -1.0, 9.0, 7.0, 8.0, 6.0, -5.0])
    kept = masks.top_share(scores, layout, MaskSettings(keep="top", top=0.5))
    # half of five, half up, is three; half of four units is two; one at least; of equal scores the earlier
    assert kept.tolist() == [False, True, True, True, False, True, False, True, False, True]
    one = masks.top_share(torch.zeros(10), layout, MaskSettings(keep="top", top=0.1))
    assert one.tolist() == [True] + [False] * 4 + [True] + [False] * 3 + [True]
    everything = masks.binary_mask(scores, layout, MaskSettings(keep="top", top=1.0))
    assert everything.tolist() == [1.0] * 10


def test_backbone_without_a_layer_to_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="no convolution or linear layer to mask$"):
        layout_of(nn.Sequential(nn.BatchNorm2d(3)))
    with pytest.raises(ValueError, match=r"hidden_linear=frozen spares"):
        layout_of(nn.Sequential(nn.Linear(3, 2)), "kernel", "frozen")


# ---------------------------------------------------------------------- the rate of scores


def test_schedules_by_hand() -> None:
    assert Schedule("constant", 0).factor(0) == 1.0  # a phase of no epochs
    step = Schedule("step", 4, (2, 3), 0.5)
    assert [step.factor(epoch) for epoch in range(4)] == [1.0, 1.0, 0.5, 0.25]
    assert step.total(10) == 10 * 2.75
    cosine = Schedule("cosine", 2)
    assert [cosine.factor(0), cosine.factor(1), cosine.factor(2)] == [1.0, pytest.approx(0.5), pytest.approx(0.0)]
    assert cosine.total(2) == pytest.approx(1 + (2 + 2**0.5) / 4 + 0.5 + (2 - 2**0.5) / 4)
    warm = Schedule("constant", 4, warm_up=0.5)
    assert [warm.factor(epoch) for epoch in range(4)] == [0.0, 0.5, 1.0, 1.0]
    assert warm.factor(0, 0.5) == 0.25
    assert warm.total(2) == 0 + 0.25 + 0.5 + 0.75 + 4 * 1.0
    assert Schedule("constant", 4, stop=2).total(3) == 6.0


@pytest.mark.parametrize("steps", [3, 40])
@pytest.mark.parametrize("warm_up", [0.0, 0.3])
@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_reach_is_how_far_a_score_travels_whatever_the_steps(schedule: str, warm_up: float, steps: int) -> None:
    settings = MaskedSettings(epochs=7, schedule=schedule, milestones=(3,), reach=3.0, warm_up=warm_up)
    mask = MaskSettings()  # 0.01 to 0.005: scores start 0.005 above the threshold
    rate, phase = score_rate(settings, mask, steps), score_schedule(settings)
    moved = sum(rate * phase.factor(epoch, step / steps) for epoch in range(7) for step in range(steps))
    assert moved == pytest.approx(3 * 0.005)


def test_a_rate_set_by_hand_takes_reachs_place() -> None:
    mask = MaskSettings()
    assert score_rate(MaskedSettings(lr=1e-3), mask, 10) == 1e-3
    assert score_rate(MaskedSettings(lr=1e-3, mask_lr=2e-3), mask, 10) == 2e-3
