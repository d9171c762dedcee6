"""The rule ``cpg_table`` against the published table 2 and its derivation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from benchmark.backbones import build
from benchmark.measure.size import (
    Architecture,
    architecture_of,
    common_bytes,
    head_size,
    megabytes,
    mib,
    owner_bits,
)
from benchmark.measure.size import cpg_table_bytes as bytes_of_rule
from methods.card import SizeRule
from methods.registry import METHODS

#: CPG as it should be counted, with its owner index; its card has it as printed, without
HONEST_CPG = dataclasses.replace(METHODS["cpg"].size_rule or SizeRule(), owner_index=True)

IMAGENET_HEAD = 2_049_000
SKETCH_CLASSES = (200, 196, 102, 195, 250)  # CUBS, Cars, Flowers, WikiArt, Sketch
SOFT = 0.121  # the share of soft values at which KSM's printed size comes out


@pytest.fixture(scope="module")
def resnet50() -> Architecture:
    """ImageNet-to-Sketch: pretrained, so the five new tasks add BN sets and masks."""
    with torch.device("meta"):
        backbone = build("resnet50")
    heads = [head_size(2048, classes) for classes in SKETCH_CLASSES]
    return architecture_of(backbone, heads, initial_head=IMAGENET_HEAD)


@pytest.fixture(scope="module")
def vgg16() -> Architecture:
    """Twenty CIFAR-100 tasks: task 1 from scratch, so nineteen tasks add BN sets, biases and masks."""
    with torch.device("meta"):
        backbone = build("vgg16_bn")
    return architecture_of(backbone, [head_size(4096, 5)] * 20)


def cpg_table_bytes(method: str | SizeRule, architecture: Architecture, soft_fraction: float = 0.0) -> int:
    """Of a method by name ("cpg_honest" too), or of a rule."""
    if isinstance(method, str):
        rule = HONEST_CPG if method == "cpg_honest" else METHODS[method].size_rule
        assert rule is not None
        method = rule
    return bytes_of_rule(method, architecture, soft_fraction)


def size_in_mib(method: str | SizeRule, architecture: Architecture, soft_fraction: float = 0.0) -> float:
    return mib(cpg_table_bytes(method, architecture, soft_fraction))


def test_size_counts_of_resnet50(resnet50: Architecture) -> None:
    assert len(resnet50.conv_rows) == 53
    assert dataclasses.replace(resnet50, conv_rows=()) == Architecture(
        conv_elements=23_454_912,
        conv_kernels=13_385_920,
        conv_channels=26_560,
        conv_groups=12_128_256 // 8 + 1_257_472 // 8 + 64,  # 1x1, 3x3, and the stem's 3 channels as one block
        hidden_linear_elements=0,
        hidden_linear_units=0,
        bn_affine=53_120,
        bn_running=53_120,
        biases=0,
        head_sizes=(409_800, 401_604, 208_998, 399_555, 512_250),
        initial_head=2_049_000,
    )
    assert resnet50.conv_elements + resnet50.bn_affine + IMAGENET_HEAD == 25_557_032  # torchvision's own total
    assert (resnet50.tasks, resnet50.added_tasks) == (6, 5)


def test_size_counts_of_vgg16(vgg16: Architecture) -> None:
    assert vgg16.conv_elements == 14_710_464
    assert vgg16.conv_kernels == 1_634_496
    assert vgg16.conv_elements == 9 * vgg16.conv_kernels
    assert vgg16.conv_channels == 4_224
    assert (vgg16.bn_affine, vgg16.bn_running) == (8_448, 8_448)
    assert vgg16.hidden_linear_elements == 18_874_368
    assert (vgg16.hidden_linear_units, vgg16.biases) == (8_192, 8_192)
    assert set(vgg16.head_sizes) == {20_485}
    assert vgg16.backbone - vgg16.bn_running + 20_485 == 33_621_957  # one model's parameters
    assert (vgg16.tasks, vgg16.added_tasks) == (20, 19)


def test_size_common_part_of_resnet50(resnet50: Architecture) -> None:
    base = 4 * (resnet50.backbone + IMAGENET_HEAD)
    assert mib(base) == pytest.approx(97.695, abs=5e-4)
    assert mib(4 * sum(resnet50.head_sizes)) == pytest.approx(7.371, abs=5e-4)
    assert mib(4 * 5 * resnet50.bn) == pytest.approx(2.026, abs=1e-3)
    assert mib(common_bytes(resnet50)) == pytest.approx(107.092, abs=1e-3)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("finetune", 554.46),
        ("packnet", 115.48),
        ("piggyback", 121.07),
        ("cpg", 121.07),
        ("cpg_honest", 129.46),
        ("ksm", 115.07),
    ],
)
def test_size_table2_of_the_paper(resnet50: Architecture, method: str, expected: float) -> None:
    assert size_in_mib(method, resnet50) == pytest.approx(expected, abs=0.005)


def test_size_printed_by_ksm_needs_twelve_percent_soft_values(resnet50: Architecture) -> None:
    assert 145.5 < size_in_mib("ksm", resnet50, SOFT) < 146.5
    assert size_in_mib("ksm", resnet50, 0.118) < 145.5
    assert size_in_mib("ksm", resnet50, 0.124) > 146.5


@pytest.mark.parametrize(
    ("method", "soft_fraction", "expected", "digits"),
    [
        ("finetune", 0.0, 2565.8, 1),
        ("scratch", 0.0, 2565.8, 1),
        ("packnet", 0.0, 151.61, 2),
        ("piggyback", 0.0, 207.66, 2),
        ("cpg", 0.0, 207.66, 2),
        ("cpg_honest", 0.0, 227.68, 2),
        ("ksm", 0.0, 178.05, 2),
        ("ksm", SOFT, 357.9, 1),
        ("ksm, convolutions only", 0.0, 135.30, 2),
        ("ksm, convolutions only", SOFT, 149.63, 2),
    ],
)
def test_size_of_twenty_tasks(
    vgg16: Architecture, method: str, soft_fraction: float, expected: float, digits: int
) -> None:
    rule: str | SizeRule = method
    if method == "ksm, convolutions only":
        rule = SizeRule(units="kernel", hidden_linear="frozen", soft=True)
    assert round(size_in_mib(rule, vgg16, soft_fraction), digits) == expected


def test_size_common_part_of_twenty_tasks(vgg16: Architecture) -> None:
    assert round(mib(4 * vgg16.backbone), 3) == 128.212
    assert round(mib(common_bytes(vgg16)), 3) == 131.593


def test_size_of_one_percent_soft_values(vgg16: Architecture) -> None:
    masked = size_in_mib("ksm", vgg16, 0.01) - size_in_mib("ksm", vgg16)
    rule = SizeRule(units="kernel", hidden_linear="frozen", soft=True)
    frozen = size_in_mib(rule, vgg16, 0.01) - size_in_mib(rule, vgg16)
    assert (round(masked, 2), round(frozen, 2)) == (14.86, 1.18)


def test_size_formulas_by_hand() -> None:
    """Three tasks with heads of 30 numbers, on 800 weights in 160 KSM units, 40 BN numbers and 5 biases."""
    small = Architecture(
        conv_elements=720,
        conv_kernels=80,
        conv_channels=10,
        conv_groups=16,
        hidden_linear_elements=80,
        hidden_linear_units=8,
        bn_affine=20,
        bn_running=20,
        biases=5,
        head_sizes=(30, 30, 30),
    )
    common = 4 * (800 + 40 + 5 + 90 + 2 * 45)
    assert common_bytes(small) == common
    assert cpg_table_bytes("finetune", small) == 4 * (3 * 845 + 90)
    assert cpg_table_bytes("packnet", small) == common + 2 * 800 // 8  # owners 0..3: two bits
    assert cpg_table_bytes("piggyback", small) == common + 2 * 800 // 8
    assert cpg_table_bytes("cpg_honest", small) == common + 2 * 800 // 8 + 2 * 800 // 8
    assert cpg_table_bytes("ksm", small) == common + 2 * 160 // 8
    assert cpg_table_bytes("ksm", small, 0.25) == common + 2 * 160 // 8 + 2 * 40 * 4
    assert cpg_table_bytes(SizeRule(units="channel", hidden_linear="unit"), small) == common + 5  # 36 bits: 4.5 bytes
    assert cpg_table_bytes(SizeRule(units="group", hidden_linear="frozen"), small) == common + 4
    pretrained = dataclasses.replace(small, initial_head=100)
    assert (pretrained.tasks, pretrained.added_tasks) == (4, 3)
    assert common_bytes(pretrained) == common + 4 * (100 + 45)


def test_size_of_a_single_task_has_no_masks(vgg16: Architecture) -> None:
    single = dataclasses.replace(vgg16, head_sizes=(20_485,))
    assert cpg_table_bytes("ksm", single) == cpg_table_bytes("finetune", single) == common_bytes(single)


@pytest.mark.parametrize(("tasks", "bits"), [(1, 1), (3, 2), (4, 3), (6, 3), (7, 3), (8, 4), (20, 5)])
def test_size_of_the_owner_index(tasks: int, bits: int) -> None:
    assert owner_bits(tasks) == bits
    assert 2**bits >= tasks + 1 > 2 ** (bits - 1)


def test_size_covers_every_method_of_the_suite(resnet50: Architecture) -> None:
    without = {name for name, card in METHODS.items() if card.size_rule is None}
    assert without == {
        "finetune-sequential", "head-only", "affine", "hat", "impresslearn", "xma", "xma2", "tall-masks", "emr",
    }  # fmt: skip
    element = cpg_table_bytes("piggyback", resnet50)
    assert {name for name in METHODS if name not in without and cpg_table_bytes(name, resnet50) == element} == {
        "piggyback",
        "piggyback-soft",
        "ksm-softmax",
        "ksm-elementwise",
        "cpg",
        "supsup",
        "wsn",
    }
    assert cpg_table_bytes("piggyback-kernelwise", resnet50) == cpg_table_bytes("ksm", resnet50)


def test_size_refuses_what_it_cannot_count(resnet50: Architecture) -> None:
    with pytest.raises(ValueError, match="no soft values"):
        cpg_table_bytes("piggyback", resnet50, 0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        cpg_table_bytes("ksm", resnet50, 12.1)
    with pytest.raises(ValueError, match=r"0\.weight"):
        architecture_of(torch.nn.Sequential(torch.nn.LayerNorm(4)), [10])


def test_size_counts_depthwise_convolutions_and_squeezenet_biases() -> None:
    depthwise = architecture_of(torch.nn.Sequential(torch.nn.Conv2d(12, 24, 3, groups=12)), [1])
    assert (depthwise.conv_elements, depthwise.conv_kernels, depthwise.conv_groups) == (216, 24, 24)
    assert depthwise.biases == 24


@pytest.mark.parametrize("name", ["small_cnn", "vgg16_bn", "resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_size_counts_add_up_to_the_state_dict(name: str) -> None:
    with torch.device("meta"):
        backbone = build(name, 0.25)
    stored = sum(_numbers(backbone.state_dict()))
    assert architecture_of(backbone, []).backbone == stored


def test_size_units() -> None:
    assert mib(3 * 2**20) == 3
    assert megabytes(2_500_000) == 2.5


def _numbers(state: dict[str, torch.Tensor]) -> Iterator[int]:
    return (tensor.numel() for name, tensor in state.items() if not name.endswith("num_batches_tracked"))
