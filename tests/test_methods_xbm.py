"""XBM: equal to kernel-wise binary masks where its blocks are kernels, its accounting, and its invariants."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import run_here, small_options, small_spec
from tiny import learn, make_strategy, tiny_net, tiny_stream
from torch import Tensor, nn

from methods.registry import GROUPS, METHODS
from methods.settings import MaskSettings

XBM = METHODS["xbm"]


class Threes(nn.Module):
    """3 x 3 convolutions with BN and a hidden linear layer of 20 inputs."""

    feature_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 20, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(20)
        self.hidden = nn.Linear(20, 6)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.bn1(self.conv1(images)))
        hidden = torch.relu(self.bn2(self.conv2(hidden))).mean((2, 3))
        return torch.relu(self.hidden(hidden))


def threes() -> Threes:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Threes()


def learned(name: str, mask: MaskSettings, backbone: nn.Module, **changes: Any) -> tuple[Any, list[Tensor]]:
    """The method after three tasks, and the logits of each of them."""
    experiences, tests = tiny_stream(3)
    strategy = make_strategy(name, mask=mask, backbone=backbone, **changes)
    learn(strategy, experiences)
    return strategy, [strategy.logits(label, images) for label, images in enumerate(tests)]


def test_blocks_of_one_kernel_are_ksm_without_soft_values_bit_for_bit() -> None:
    """Hidden linear layers have no kernels, so both leave them as the backbone has them."""
    ours, logits = learned("xbm", dataclasses.replace(XBM.mask, rows=9, hidden_linear="frozen"), threes())
    ksm = METHODS["ksm"].mask
    assert ksm is not None
    other, expected = learned("ksm", dataclasses.replace(ksm, soft="none", hidden_linear="frozen"), threes())
    assert all(torch.equal(one, two) for one, two in zip(logits, expected, strict=True))
    for label in range(3):
        assert {name: part.tensor.tolist() for name, part in ours.learned[label].items()} == {
            name: part.tensor.tolist() for name, part in other.learned[label].items()
        }
    counts = ours.mask_statistics()
    assert sum(count.zeros for count in counts) > 0  # masks moved: otherwise any two methods are equal
    assert counts == other.mask_statistics()


def test_a_block_as_long_as_an_output_masks_channels() -> None:
    _, logits = learned("xbm", dataclasses.replace(XBM.mask, rows=100_000), tiny_net())
    channels = dataclasses.replace(XBM.mask, units="channel", hidden_linear="unit")
    _, expected = learned("xbm", channels, tiny_net())
    assert all(torch.equal(one, two) for one, two in zip(logits, expected, strict=True))


def test_earlier_tasks_stay_bit_for_bit_with_ragged_blocks() -> None:
    experiences, tests = tiny_stream(3)
    strategy = make_strategy("xbm", mask=dataclasses.replace(XBM.mask, rows=5))
    assert strategy.layout.ragged
    before: dict[int, Tensor] = {}
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        before[label] = strategy.logits(label, tests[label])
        assert all(torch.equal(strategy.logits(one, tests[one]), logits) for one, logits in before.items())
    assert any(count.zeros for count in strategy.mask_statistics())


def test_mask_memory_is_units_over_weights() -> None:
    strategy = make_strategy("xbm", mask=dataclasses.replace(XBM.mask, rows=5))
    # 4 outputs of 9 weights, 8 of 4, 8 of 72 and 6 of 8: two, one, fifteen and two blocks an output
    units, weights = 4 * 2 + 8 * 1 + 8 * 15 + 6 * 2, 36 + 32 + 576 + 48
    assert strategy.layout.units == units
    assert strategy.measures() == {"mask_memory": pytest.approx(100 * units / weights)}


def test_a_run_records_its_accounting_and_says_that_it_is_an_interpretation(tmp_path: Path) -> None:
    record, _ = run_here(small_spec("xbm", tasks=2, overrides={"mask.rows": 10}), small_options(tmp_path))
    # the small net: 32 outputs of 9 weights, 64 of 288, 64 of 576
    bits = 32 + 64 * 29 + 64 * 58
    assert record.measures == {"mask_memory": pytest.approx(100 * bits / (288 + 64 * 288 + 64 * 576))}
    assert record.method["measures"]["mask_memory"]["unit"] == "percent"
    assert record.method["caveat"].startswith("interpretation from the abstract")
    assert sum(row.units for row in record.mask_statistics) == bits
    assert record.size is not None
    (mask,) = [part for part in record.size.components if part.name == "mask bits"]
    assert (mask.count, mask.bits) == (bits, 1)
    assert record.size.rules["cpg_table"] is not None


def test_group_of_masks() -> None:
    assert {"piggyback", "ksm", "xbm"} <= set(GROUPS["masks"])


def test_contract(tmp_path: Path) -> None:
    """As for every method (``tests/test_contract.py``), with blocks that do not divide the rows."""
    from benchmark.testing import check_reload, check_run

    check_reload([check_run("xbm", tmp_path, overrides={"mask.rows": 40})])
