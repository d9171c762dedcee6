"""What every method promises: nothing frozen moves, nothing learned is forgotten, Piggyback is Piggyback."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from tiny import TinyNet, learn, make_strategy, tiny_net, tiny_stream
from torch import Tensor, nn

from methods.engine.parts import overrides, tensors_of
from methods.registry import METHODS
from methods.settings import MaskSettings

FROZEN_BACKBONE = [name for name, info in METHODS.items() if info.promises.frozen_backbone]
UNFORGETTING = [name for name, card in METHODS.items() if card.promises.no_forgetting]
POLICIES = ("frozen", "per-task")


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


def fingerprint(module: nn.Module) -> str:
    """sha256 over names and bytes of parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", UNFORGETTING)
def test_logits_of_every_earlier_task_are_bit_identical_after_the_last(
    name: str, policy: str, stream: tuple[list[Any], list[Any]]
) -> None:
    experiences, test = stream
    strategy = make_strategy(name, bn_policy=policy)
    before = []
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        before.append(strategy.logits(label, test[label]))
    for label, expected in enumerate(before):
        assert torch.equal(strategy.logits(label, test[label]), expected), f"{name} forgot task {label}"


def test_sequential_fine_tuning_does_forget(stream: tuple[list[Any], list[Any]]) -> None:
    experiences, test = stream
    strategy = make_strategy("finetune-sequential", epochs=8)
    learn(strategy, experiences[:1])
    before = strategy.logits(0, test[0])
    learn(strategy, experiences[1:])
    assert not torch.equal(strategy.logits(0, test[0]), before)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", FROZEN_BACKBONE)
def test_backbone_and_shared_bn_stay_as_task_1_left_them(
    name: str, policy: str, stream: tuple[list[Any], list[Any]]
) -> None:
    experiences, _ = stream
    strategy = make_strategy(name, bn_policy=policy)
    learn(strategy, experiences[:1])
    before = fingerprint(strategy.view.backbone)
    learn(strategy, experiences[1:])
    assert fingerprint(strategy.view.backbone) == before


@pytest.mark.parametrize("name", ["piggyback", "ksm"])
def test_per_task_bn_trains_and_frozen_bn_does_not(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    experiences, _ = stream
    for policy, expected in (("frozen", 0), ("per-task", 8)):
        strategy = make_strategy(name, bn_policy=policy)
        learn(strategy, experiences[:2])
        own = overrides(tensors_of(strategy.learned[1]))
        assert len(own) == expected, policy
        for key, tensor in own.items():
            assert not torch.equal(tensor, strategy.view.backbone.state_dict()[key]), key


class ReferencePiggyback(nn.Module):
    """Mallya et al.'s element-wise mask, written without any of our mask code: threshold forward, identity backward."""

    class Threshold(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, scores: Tensor) -> Tensor:
            return (scores > 0.005).to(scores.dtype)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0]

    def __init__(self, net: TinyNet, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()
        # one parameter for all layers: vectorised optimizers round the odd elements at a tensor's end differently
        self.shapes = {name: getattr(net, name).weight.shape for name in ("conv1", "conv2", "conv3", "hidden")}
        self.scores = nn.Parameter(torch.full((sum(shape.numel() for shape in self.shapes.values()),), 0.01))
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, images: Tensor) -> Tensor:
        parts = self.scores.split([shape.numel() for shape in self.shapes.values()])
        masked = {
            name: getattr(self.net, name).weight * self.Threshold.apply(part.view(shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        hidden = torch.relu(self.net.bn1(nn.functional.conv2d(images, masked["conv1"], padding=1)))
        hidden = torch.relu(self.net.bn2(nn.functional.conv2d(hidden, masked["conv2"])))
        hidden = torch.relu(nn.functional.conv2d(hidden, masked["conv3"], padding=1)).mean((2, 3))
        hidden = torch.relu(nn.functional.linear(hidden, masked["hidden"], self.net.hidden.bias))
        return nn.functional.linear(hidden, self.weight, self.bias)


def test_our_piggyback_equals_an_independent_one_bit_for_bit_over_several_steps() -> None:
    experiences, _ = tiny_stream(1)
    images = experiences[0].task_images
    epochs, lr = 3, 5e-3
    strategy = make_strategy("piggyback", epochs, pretrained=True)
    started: dict[str, Tensor] = {}
    original = strategy.begin

    def begin(task: Any) -> None:
        original(task)
        started.update({name: tensor.detach().clone() for name, tensor in strategy.current.items()})

    strategy.begin = begin
    strategy.checkpoint = lambda: trained.update(
        {name: tensor.detach().clone() for name, tensor in strategy.current.items()}
    )
    trained: dict[str, Tensor] = {}
    learn(strategy, experiences)

    reference = ReferencePiggyback(tiny_net(), started["head.weight"], started["head.bias"])
    optimizer = torch.optim.Adam(
        [
            {"params": [reference.scores], "lr": lr},
            {"params": [reference.weight, reference.bias], "lr": 1e-2},
        ],
        fused=True,
    )
    order = strategy.streams.generator("order", 0, torch.device("cpu"))
    augmentation = strategy.streams.generator("augmentation", 0, torch.device("cpu"))
    steps = 0
    for epoch in range(epochs):
        for group, base in zip(optimizer.param_groups, (lr, 1e-2), strict=True):
            group["lr"] = base * (0.1 if epoch >= strategy.settings.milestones[0] else 1.0)
        for batch, labels in images.train.training_batches(16, order, augmentation):
            optimizer.zero_grad()
            nn.functional.cross_entropy(reference(batch), labels).backward()
            optimizer.step()
            steps += 1
    assert steps == 15
    assert torch.equal(trained["scores"], reference.scores)
    assert torch.equal(trained["head.weight"], reference.weight)
    assert (trained["scores"] < 0.005).any(), "no score crossed the threshold: the test would prove nothing"


def test_1x1_and_kernel_wise_agree_where_all_kernels_are_1x1() -> None:
    from tiny import tiny_task

    class Pointwise(nn.Module):
        feature_dim = 6

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 6, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            return torch.relu(self.conv(images)).amax((2, 3))

    experiences, _ = tiny_stream(1)
    results = []
    for units in ("element", "kernel"):
        torch.manual_seed(0)
        strategy = make_strategy("ksm", backbone=Pointwise(), mask=MaskSettings(units=units), pretrained=True)
        learn(strategy, experiences)
        results.append(strategy.logits(0, tiny_task(0)[1]))
    assert torch.equal(*results)


def test_masked_task_is_stored_in_bits_and_values_of_dropped_units(stream: tuple[list[Any], list[Any]]) -> None:
    experiences, _ = stream
    strategy = make_strategy("ksm", epochs=10)
    learn(strategy, experiences[:2])
    learned = strategy.learned[1]
    counts = [count for count in strategy.mask_statistics() if count.task == 1]
    assert sum(count.units for count in counts) == strategy.layout.units
    assert [count.layer for count in counts] == ["conv1.weight", "conv2.weight", "conv3.weight", "hidden.weight"]
    assert all(count.ones + count.soft + count.zeros == count.units for count in counts)
    dropped = sum(count.units - count.ones for count in counts)
    assert 0 < dropped < strategy.layout.units
    assert learned["mask.values"].numbers == dropped
    assert learned["mask.bits"].tensor.numel() == -(-strategy.layout.units // 8)


def test_a_task_is_learned_once() -> None:
    experiences, _ = tiny_stream(1)
    strategy = make_strategy("head-only", epochs=1)
    learn(strategy, experiences)
    with pytest.raises(ValueError, match="already learned"):
        learn(strategy, experiences)


@pytest.mark.parametrize("selection_images", [True, False])
@pytest.mark.parametrize("name", ["ksm", "packnet", "cpg"])
def test_best_epoch_is_kept_with_images_to_select_on(name: str, selection_images: bool) -> None:
    """With images to select on the kept accuracy is the best of the curve, without them the last epoch counts."""
    import dataclasses

    experiences, _ = tiny_stream(1)
    if not selection_images:
        experiences[0].task_images = dataclasses.replace(experiences[0].task_images, selection=None)
    strategy = make_strategy(name, epochs=6, pretrained=name == "ksm")
    learn(strategy, experiences)
    trained = strategy.progress.done["train"]
    curve = [point for point in strategy.progress.curve if point["phase"] == "train"]
    if selection_images:
        assert trained["selection"] == max(point["selection"] for point in curve)
        assert curve[trained["best_epoch"] - 1]["selection"] == trained["selection"]
    else:
        assert trained["selection"] is None
        assert trained["best_epoch"] is None
