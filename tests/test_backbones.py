"""Backbones: names, shapes, torchvision's keys, and the networks they must equal."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from torch import nn

from benchmark.backbones import build, known_backbones, smallest_image
from benchmark.backbones.conv_layers import scaled
from benchmark.errors import RequestError

TORCHVISION = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "squeezenet1_1": torchvision.models.squeezenet1_1,
    "mobilenet_v2": torchvision.models.mobilenet_v2,
}


def without_head(network: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: tensor for name, tensor in network.state_dict().items() if not name.startswith(("fc.", "classifier."))
    }


def randomised(network: nn.Module) -> nn.Module:
    """BN as after some training, so that a forward pass depends on every tensor."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def test_names_are_known_without_torch() -> None:
    code = (
        "import sys; from benchmark.backbones import known_backbones, smallest_image; "
        "print(*known_backbones()); assert smallest_image('vgg16_bn') == 32; assert 'torch' not in sys.modules"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == [
        "small_cnn",
        "lenet",
        "vgg16_bn",
        "resnet18",
        "resnet50",
        "squeezenet1_1",
        "mobilenet_v2",
        "mobilenet_v2_expanded",
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", known_backbones())
def test_thin_backbones_run_from_their_smallest_image_up(name: str, channels: int) -> None:
    backbone = build(name, width=0.125, channels=channels).eval()
    for side in (smallest_image(name), 32, 96):
        features = backbone(torch.rand(2, channels, side, side))
        assert features.shape == (2, backbone.feature_dim)
        assert features.isfinite().all()
    assert all(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("name", [name for name in known_backbones() if smallest_image(name) > 1])
def test_one_pixel_less_than_the_smallest_image_fails(name: str) -> None:
    backbone = build(name, width=0.125).eval()
    side = smallest_image(name) - 1
    with pytest.raises(RuntimeError):
        backbone(torch.rand(2, 3, side, side))


@pytest.mark.parametrize(
    ("name", "feature_dim"),
    [
        ("small_cnn", 64),
        ("vgg16_bn", 4096),
        ("resnet18", 512),
        ("resnet50", 2048),
        ("squeezenet1_1", 512),
        ("mobilenet_v2", 1280),
        ("mobilenet_v2_expanded", 1280),
    ],
)
def test_feature_dimensions(name: str, feature_dim: int) -> None:
    with torch.device("meta"):
        assert build(name).feature_dim == feature_dim
        assert build(name, width=0.5).feature_dim == feature_dim / 2


@pytest.mark.parametrize("name", TORCHVISION)
def test_full_width_is_torchvisions_network(name: str) -> None:
    theirs = TORCHVISION[name]()
    mine = build(name)
    assert list(mine.state_dict()) == list(without_head(theirs))
    randomised(theirs)
    mine.load_state_dict(without_head(theirs))
    mine.eval()
    theirs.eval()
    images = torch.rand(2, 3, 64, 64)
    if name.startswith("resnet"):
        theirs.fc = nn.Identity()
        expected = theirs(images)
    else:
        expected = theirs.features(images).mean(dim=(2, 3))
    with torch.no_grad():
        torch.testing.assert_close(mine(images), expected)


def test_expanded_mobilenet_differs_in_its_first_block_alone() -> None:
    plain, expanded = build("mobilenet_v2").state_dict(), build("mobilenet_v2_expanded").state_dict()
    assert expanded["features.1.conv.0.0.weight"].shape == (32, 32, 1, 1)
    assert expanded["features.1.conv.1.0.weight"].shape == (32, 1, 3, 3)
    later = [name for name in plain if not name.startswith("features.1.")]
    assert later == [name for name in expanded if not name.startswith("features.1.")]
    assert all(plain[name].shape == expanded[name].shape for name in later)


def test_vgg_is_cpgs() -> None:
    backbone = build("vgg16_bn")
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert all(layer.bias is None and layer.kernel_size == (3, 3) for layer in convolutions)
    linears = [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linears] == [(512, 4096), (4096, 4096)]
    assert not [module for module in backbone.modules() if isinstance(module, nn.Dropout)]
    assert {name.split(".")[0] for name in backbone.state_dict()} == {"features", "hidden"}
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 33_621_957 - 20_485
    assert all((layer.bias == 0).all() for layer in linears)
    assert linears[1].weight.std().item() == pytest.approx(0.01, rel=0.01)
    last = convolutions[-1].weight  # Kaiming by fan-out: variance 2 / (512 * 9)
    assert last.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


def test_vgg_width_scales_the_hidden_layers_too() -> None:
    state = build("vgg16_bn", width=0.125).state_dict()
    assert state["features.0.weight"].shape == (8, 3, 3, 3)
    assert state["hidden.0.weight"].shape == (512, 64)
    assert state["hidden.2.weight"].shape == (512, 512)


def test_small_net_has_batch_norm_and_no_hidden_linear_layer() -> None:
    kinds = {type(module) for module in build("small_cnn", channels=1).modules()}
    assert nn.BatchNorm2d in kinds
    assert nn.Linear not in kinds


def test_widths_are_multiples_of_four_and_at_least_four() -> None:
    assert [scaled(64, width) for width in (1, 0.125, 0.01, 1.5)] == [64, 8, 4, 96]
    assert scaled(24, 0.25) == 8  # 6, half up
    assert scaled(16, 0.55) == 8  # 8.8


def test_one_seed_gives_one_network() -> None:
    torch.manual_seed(3)
    first = build("small_cnn").state_dict()
    torch.manual_seed(3)
    second = build("small_cnn").state_dict()
    other = build("small_cnn").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


def test_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(RequestError, match=r"There is no backbone 'resnet5'.* Did you mean 'resnet50'"):
        build("resnet5")
    with pytest.raises(RequestError, match="There is no backbone"):
        smallest_image("alexnet")


@pytest.mark.parametrize("width", [0, -1.0, float("nan"), float("inf"), "half"])
def test_a_width_that_is_no_positive_number_is_refused(width: float) -> None:
    with pytest.raises(RequestError, match=r"backbone\.width is .*positive number"):
        build("small_cnn", width=width)


def test_an_image_needs_a_channel() -> None:
    with pytest.raises(RequestError, match="at least 1 input channel"):
        build("small_cnn", channels=0)


def test_lenet_is_that_of_the_superclass_runs() -> None:
    network = build("lenet")
    assert [parameter.numel() for parameter in network.parameters()] == [1500, 25_000, 2_560_000, 400_000]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    images = torch.randn(2, 3, 32, 32)
    maps = network.features(images)  # type: ignore[operator]
    assert maps.shape == (2, 50, 8, 8)
    # at 32 pixels nothing is pooled further
    assert torch.equal(network(images), network.hidden(maps.flatten(1)))  # type: ignore[operator]
    assert build("lenet", 0.1, 1)(torch.randn(2, 1, 8, 8)).shape == (2, 50)
