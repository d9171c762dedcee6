"""XMA²: tiles counted and chosen by hand, both tiers, its limits (no tile, all tiles), and what the method promises."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream
from torch import Tensor, nn

from benchmark.backbones.builder import build
from methods.engine.layout import arrange, layout_of
from methods.engine.masked import SCORES
from methods.engine.masks import sigmoid
from methods.engine.parts import BACKBONE, overrides, tensors_of
from methods.engine.restore import DamagedParts
from methods.engine.tensor_data import TaskImages
from methods.finetune.strategy import FineTune
from methods.registry import GROUPS, METHODS
from methods.settings import TrainSettings
from methods.xma2.card import XMA2Settings
from methods.xma2.strategy import CHOSEN, TILE_MASK
from methods.xma2.tiles import CHANGES, SCALES, SHAPE, TILES, chosen_tiles, rewritten, rewritten_weights, tiling

CPU = torch.device("cpu")


def xma2(epochs: int = 4, backbone: nn.Module | None = None, **knobs: Any) -> Any:
    """The method on the tiny net with tiles of 4 rows and 3 columns, at rates at which everything moves."""
    settings = XMA2Settings(
        tile_rows=4, tile_columns=3, share=0.25, tile_lr=2e-3, weight_lr=0.02, scale_lr=1e-2, lr=5e-3, head_lr=1e-2
    )
    changes = {} if backbone is None else {"backbone": backbone}
    return make_strategy("xma2", settings=dataclasses.replace(settings.with_epochs(epochs), **knobs), **changes)


def test_tiles_of_a_matrix_by_hand() -> None:
    """Five outputs of three weights, tiles of two rows and two columns: 3 x 2 tiles, smaller at both borders."""
    cut = tiling(arrange([("w", (5, 3), 1)]), 2, 2, CPU)
    assert cut.tiles == 6
    everywhere = cut.columns.expand(cut.tile_of).view(5, 3)
    assert everywhere.tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3], [2, 2, 3], [4, 4, 5]]
    assert cut.squared_norms(torch.arange(15.0)).tolist() == [
        0 + 1 + 9 + 16, 4 + 25, 36 + 49 + 81 + 100, 64 + 121, 144 + 169, 196,
    ]  # fmt: skip


def test_tile_and_column_counts() -> None:
    """The sum over layers of ceil(out / 128) ceil(weights of an output / 128), and published networks' counts."""
    net = nn.Sequential(nn.Conv2d(3, 200, 3), nn.Conv2d(200, 130, 1), nn.Linear(130, 7))
    assert tiling(layout_of(net), 128, 128, CPU).tiles == 2 * 1 + 2 * 2 + 1 * 2
    with torch.device("meta"):
        vgg, resnet = build("vgg16_bn", width=1.0, channels=3), build("resnet50", width=1.0, channels=3)
    for network, tiles, columns in ((resnet, 1_448, 183_936), (vgg, 902, 115_072)):
        cut = tiling(layout_of(network, "element", "frozen"), 128, 128, CPU)
        assert (cut.tiles, cut.columns.units) == (tiles, columns)


def test_tiles_of_the_largest_changes_are_chosen_among_those_kept() -> None:
    norms = torch.tensor([5.0, 9.0, 9.0, 1.0, 9.0])
    scores = torch.tensor([0.1, 0.1, 0.3, 0.1, 0.1])
    everything = torch.ones(5, dtype=torch.bool)

    def chosen(share: float, kept: Tensor = everything) -> list[int]:
        return chosen_tiles(norms, scores, kept, share).nonzero().flatten().tolist()

    assert chosen(0.0) == []
    assert chosen(0.01) == [2]  # at least one; of equal norms the higher score
    assert chosen(0.4) == [1, 2]  # then the earlier
    assert chosen(0.6) == [1, 2, 4]
    assert chosen(1.0) == [0, 1, 2, 3, 4]
    assert chosen(0.6, torch.tensor([True, False, True, False, False])) == [0, 2]  # no more than the mask keeps


def test_weights_of_both_kinds_of_tiles_by_hand() -> None:
    """Two outputs of three weights, tiles of two rows and one column; the first tile is written anew."""
    cut = tiling(arrange([("w", (2, 3), 1)]), 2, 1, CPU)
    weights = torch.tensor([1.0, 2, 3, 4, 5, 6])
    chosen = torch.tensor([True, False, False, False])
    changes, scales = torch.tensor([10.0, 20.0], requires_grad=True), torch.tensor([2.0, 3.0, 4.0], requires_grad=True)
    found = rewritten(weights, cut, cut.places(chosen), changes, scales)["w"]
    assert found.tolist() == [[11, 22, 6], [12, 15, 24]]
    found.backward(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    assert changes.grad is not None and scales.grad is not None
    assert changes.grad.tolist() == [1, 2]
    assert scales.grad.tolist() == [9, 16 + 25, 36]
    kept = {
        TILES: torch.tensor([1], dtype=torch.uint8), CHANGES: changes.detach(), SCALES: scales.detach(),
        SHAPE: torch.tensor([2, 1], dtype=torch.int32),
    }  # fmt: skip
    shared = {BACKBONE + "w": weights.view(2, 3)}
    assert torch.equal(rewritten_weights(shared, kept, cut.columns)["w"], found)
    with pytest.raises(DamagedParts, match="2 bytes of tile bits do not fit 4 tiles"):
        rewritten_weights(shared, kept | {TILES: torch.zeros(2, dtype=torch.uint8)}, cut.columns)
    with pytest.raises(DamagedParts, match=r"columns.scales has 2 numbers, the chosen tiles ask for 3"):
        rewritten_weights(shared, kept | {SCALES: torch.ones(2)}, cut.columns)


def started(**knobs: Any) -> Any:
    """The method in the middle of its second task, just after it began."""
    experiences, _ = tiny_stream(2)
    strategy = xma2(**knobs)
    learn(strategy, experiences[:1])
    task = strategy._learning_task(experiences[1])
    strategy.learned[1] = {}  # the second task is not the one that trains the backbone
    strategy.begin(task)
    return strategy


def is_backbone(strategy: Any) -> bool:
    own, tensors = dict(strategy.view.backbone.named_parameters()), strategy.training_tensors()
    return all(torch.equal(tensors[name], own[name]) for name in strategy.layout.names)


def test_every_task_begins_as_the_backbone() -> None:
    strategy = started()
    assert is_backbone(strategy)
    strategy._choose()
    assert is_backbone(strategy)
    assert strategy.current[CHOSEN].sum() == -(-strategy.tiling.tiles // 4)


def test_first_tier_drops_the_changes_of_whole_tiles() -> None:
    strategy = started()
    strategy.current[CHANGES].data.fill_(2.0)
    strategy.current[SCORES].data[::2] = 0.0
    own = strategy.frozen_weights
    flat = strategy.layout.flatten(strategy.training_tensors())
    dropped = strategy.tiling.elements_in(torch.arange(strategy.tiling.tiles) % 2 == 0)
    assert torch.equal(flat, torch.where(dropped, own, own + 2))
    strategy._choose()
    assert strategy.current[CHOSEN][::2].sum() == 0


def test_cost_of_tiles_is_a_gradient_of_their_scores() -> None:
    strategy = started(tile_cost=3.0)
    scores = strategy.current[SCORES]
    scores.grad = torch.zeros_like(scores)
    strategy._add_cost()
    q = torch.sigmoid((scores.detach() - 0.005) * 12)
    torch.testing.assert_close(scores.grad, 3.0 / len(scores) * q * (1 - q) * 12)
    assert torch.equal(sigmoid(torch.ones_like(q), scores.detach(), TILE_MASK), q * (1 - q) * 12)


def test_without_tiles_columns_alone_are_scaled() -> None:
    experiences, _ = tiny_stream(2)
    strategy = xma2(share=0.0)
    learn(strategy, experiences)
    kept = tensors_of(strategy.learned[1])
    assert len(kept[CHANGES]) == 0
    assert len(kept[SCALES]) == strategy.layout.units
    assert not torch.equal(kept[SCALES], torch.ones(strategy.layout.units))
    flat = strategy.layout.flatten(strategy.restored(kept))
    assert torch.equal(flat, strategy.layout.scale(strategy.frozen_weights, kept[SCALES]))
    assert {phase["phase"] for phase in strategy.progress.curve} == {"retrain"}
    assert strategy.measures() == {"reprogrammed_cells": 0, "reprogrammed_share": 0}


def test_a_mask_that_keeps_fewer_tiles_keeps_those_only() -> None:
    strategy = started()
    strategy.current[CHANGES].data.fill_(1.0)
    strategy.current[SCORES].data.fill_(0.0)
    strategy.current[SCORES].data[3] = 0.01
    assert strategy._choose() == 1
    assert strategy.current[CHOSEN].nonzero().tolist() == [[3]]


class Plain(nn.Module):
    """Two convolutions without BN and biases: nothing but masked layers."""

    feature_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 5, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(5, 6, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(images)))).mean((2, 3))


class UsualHead(FineTune):
    """Fine-tuning with the head that other methods start from."""

    head_std = None


def test_all_tiles_and_no_mask_is_fine_tuning_of_the_masked_layers() -> None:
    """SGD without momentum (its memory would begin anew in tier 2), decay and a best epoch; heads stay as drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        backbone = Plain()
    experiences, tests = tiny_stream(2)
    for experience in experiences:
        experience.task_images = TaskImages(experience.task_images.train, None)
    ours = xma2(
        3, backbone, share=1.0, tile_epochs=2, tile_lr=0.0, weight_lr=0.05, momentum=0.0, weight_decay=0.0,
        head_lr=0.0, lr=0.0, schedule="constant",
    )  # fmt: skip
    ours.pretrained = True
    learn(ours, experiences)
    settings = TrainSettings(
        epochs=5, lr=0.05, head_lr=0.0, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant"
    )
    theirs = UsualHead(backbone=backbone, settings=settings, train_mb_size=16, pretrained=True, evaluator=None)
    learn(theirs, experiences)
    for label in (0, 1):
        kept = tensors_of(ours.learned[label])
        assert len(kept[CHANGES]) == ours.layout.elements and len(kept[SCALES]) == 0
        expected = overrides(tensors_of(theirs.learned[label]))
        for name, tensor in ours.restored(kept).items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-5)
            assert not torch.equal(tensor, dict(backbone.named_parameters())[name])
        torch.testing.assert_close(ours.logits(label, tests[label]), theirs.logits(label, tests[label]))


def test_only_chosen_tiles_change_and_earlier_tasks_stay_bit_for_bit() -> None:
    experiences, tests = tiny_stream(3)
    strategy = xma2()
    before: dict[int, Tensor] = {}
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        before[label] = strategy.logits(label, tests[label])
        assert all(torch.equal(strategy.logits(one, tests[one]), logits) for one, logits in before.items())
    cut = strategy.tiling
    cells = 0
    for label in (1, 2):
        kept = tensors_of(strategy.learned[label])
        chosen = torch.tensor([bool(kept[TILES][tile // 8] >> tile % 8 & 1) for tile in range(cut.tiles)])
        assert chosen.sum() == -(-cut.tiles // 4)
        inside = cut.elements_in(chosen)
        assert len(kept[CHANGES]) == inside.sum()
        cells += int(inside.sum())
        per_column = torch.ones(cut.columns.units).masked_scatter(~cut.per_column(chosen), kept[SCALES])
        flat = strategy.layout.flatten(strategy.restored(kept))
        outside = strategy.layout.scale(strategy.frozen_weights, per_column)
        assert torch.equal(flat[~inside], outside[~inside])
        assert not torch.equal(flat[inside], strategy.frozen_weights[inside])
    assert strategy.measures() == {
        "reprogrammed_cells": cells, "reprogrammed_share": pytest.approx(100 * cells / (2 * strategy.layout.elements)),
    }  # fmt: skip


def test_card() -> None:
    card = METHODS["xma2"]
    assert card.name in GROUPS["masks"]
    assert card.caveat.startswith("interpretation from the abstract")
    assert card.settings.with_epochs(50).all_epochs == 60


def test_contract_with_ragged_tiles(tmp_path: Path) -> None:
    from benchmark.testing import check_reload, check_run

    overrides = {"xma2.tile_rows": 40, "xma2.tile_columns": 25, "xma2.share": 0.3}
    check_reload([check_run("xma2", tmp_path, overrides=overrides)])
