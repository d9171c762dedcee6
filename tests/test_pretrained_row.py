"""The row of the data set that the weights are from: which network it is of, its images, and why it is not run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from published_archives import picture
from safetensors.torch import save_file
from tiny import learn, make_strategy, tiny_net, tiny_stream
from torchvision import transforms as v1  # type: ignore[import-untyped]

from benchmark.backbones import build
from benchmark.backbones.timm_models import inputs_of
from benchmark.backbones.weights import load_classifier
from benchmark.data import class_folders
from benchmark.data.tasks import IMAGENET_MEAN, IMAGENET_STD
from benchmark.execute.pretrained_row import _batches, _right, share_freed
from benchmark.scenarios.loader import load_scenario
from benchmark.scenarios.start_weights import found_weights
from methods.card import AS_GIVEN
from methods.engine.layers import weight_layers
from methods.registry import METHODS
from results.schema import FROM_SCRATCH

SCENARIO = load_scenario("imagenet2sketch")
ON = SCENARIO.pretrained_on
assert ON is not None
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

# ---------------------------------------------------------------------- the network


@pytest.mark.parametrize("name", ["packnet", "cpg"])
def test_owners_keep_the_weights_that_were_not_freed(name: str) -> None:
    """After two tasks: each layer's larger half as it came, the other half zero; biases and BN are the backbone's."""
    strategy = make_strategy(name, epochs=2, pretrained=True)
    learn(strategy, tiny_stream(2)[0])
    came, found = dict(tiny_net().named_parameters()), strategy.pretrained_tensors()
    assert set(found) == {layer for layer, _ in weight_layers(tiny_net())}
    for layer, tensor in found.items():
        magnitudes = came[layer].abs()
        cut = magnitudes <= magnitudes.flatten().kthvalue(came[layer].numel() // 2).values
        assert torch.equal(tensor, came[layer].masked_fill(cut, 0.0))
    assert share_freed(strategy.view.backbone, found) == 0.5
    untouched = {**dict(tiny_net().named_parameters()), **dict(tiny_net().named_buffers())}
    for layer, tensor in strategy.view.backbone.state_dict().items():
        assert torch.equal(tensor, untouched[layer])


def test_of_a_network_that_was_pruned_before_its_zeros_are_freed() -> None:
    """So whoever has a pruned and retrained network starts from that, and nothing of it is lost."""
    net = tiny_net()
    with torch.no_grad():
        for layer, _ in weight_layers(net):
            weight = net.get_parameter(layer)
            weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.55] = 0.0
    strategy = make_strategy("packnet", epochs=1, pretrained=True, backbone=net)
    zeros = sum(int((net.get_parameter(layer) == 0).sum()) for layer, _ in weight_layers(net))
    assert int((strategy.owner == 0).sum()) == zeros
    assert share_freed(net, strategy.pretrained_tensors()) == 0.0


def test_others_keep_the_whole_network_or_none_of_it() -> None:
    assert make_strategy("ksm", pretrained=True).pretrained_tensors() == {}
    assert make_strategy("finetune", pretrained=True).pretrained_tensors() == {}
    assert make_strategy("finetune-sequential", pretrained=True).pretrained_tensors() is None


@pytest.mark.parametrize("name", ["supsup", "wsn", "scratch"])
def test_methods_without_the_pretrained_network_have_no_row(name: str) -> None:
    """Random weights, weights that nobody owns, a network from scratch: none answers for ImageNet."""
    card = METHODS[name]
    keeps = card.needs.backbone == AS_GIVEN and card.reference != FROM_SCRATCH
    assert not keeps or make_strategy(name, pretrained=True).pretrained_tensors() is None


@pytest.mark.parametrize("backbone", ["resnet18", "timm:test_resnet"])
def test_right_answers_are_counted_as_torchvision_would(backbone: str, tmp_path: Path) -> None:
    """Against a plain loop: the files through torchvision's transforms, the network in evaluation mode, some head."""
    if backbone.startswith("timm:"):
        pytest.importorskip("timm")
    torch.manual_seed(5)
    options = {} if backbone.startswith("timm:") else {"width": 0.125}
    network = build(backbone, **options).eval()  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) / 5
    weight = torch.randn(3, int(network.feature_dim))  # type: ignore[arg-type]
    mean, std = inputs_of(backbone).normalisation(3) if backbone.startswith("timm:") else (IMAGENET_MEAN, IMAGENET_STD)
    seen = v1.Compose([v1.Resize(round(48 * 256 / 224)), v1.CenterCrop(48), v1.ToTensor(), v1.Normalize(mean, std)])
    generator = np.random.default_rng(0)
    paths, features = [], []
    for number in range(12):
        pixels = generator.integers(0, 256, (3, 4, 3)).repeat(20 + number, 0).repeat(24, 1).astype(np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
        with torch.no_grad():
            features.append(network(seen(Image.open(paths[-1]).convert("RGB"))[None])[0])
    scores = torch.stack(features) @ weight.T
    head = weight, -scores.mean(0)  # so that the images' differences decide
    answers = (scores + head[1]).argmax(1).tolist()
    assert len(set(answers)) > 1
    labels = [answer if number < 7 else (answer + 1) % 3 for number, answer in enumerate(answers)]
    strategy = make_strategy("piggyback", backbone=network, pretrained=True)
    spec: Any = SimpleNamespace(
        backbone=SimpleNamespace(name=backbone, image_size=48), protocol=SimpleNamespace(eval_batch_size=5)
    )
    assert _right(spec, strategy, strategy.pretrained_tensors(), head, list(zip(paths, labels, strict=True))) == 7


def test_the_head_beside_the_weights(tmp_path: Path) -> None:
    head = {"fc.weight": torch.rand(4, 6), "fc.bias": torch.rand(4)}
    save_file({**tiny_net().state_dict(), **head}, tmp_path / "one.safetensors")
    found = load_classifier(tmp_path / "one.safetensors", 6)
    assert found is not None and torch.equal(found[0], head["fc.weight"]) and torch.equal(found[1], head["fc.bias"])
    save_file({f"module.{name}": tensor for name, tensor in head.items()}, tmp_path / "wrapped.safetensors")
    assert load_classifier(tmp_path / "wrapped.safetensors", 6) is not None
    save_file(tiny_net().state_dict(), tmp_path / "none.safetensors")
    assert load_classifier(tmp_path / "none.safetensors", 6) is None
    two = {**head, "head.weight": torch.rand(2, 6), "head.bias": torch.rand(2)}
    save_file(two, tmp_path / "two.safetensors")
    assert load_classifier(tmp_path / "two.safetensors", 6) is None


# ---------------------------------------------------------------------- the images


def test_images_are_cut_as_torchvision_cuts_them(tmp_path: Path) -> None:
    """Tall, wide, grey and small ones; the last batch is a short one."""
    from torchvision.models import ResNet50_Weights  # type: ignore[import-untyped]

    usual = ResNet50_Weights.IMAGENET1K_V1.transforms()
    images = []
    for at, (width, height, mode) in enumerate(
        ((300, 500, "RGB"), (700, 260, "RGB"), (320, 320, "L"), (40, 64, "RGB"))
    ):
        channels = () if mode == "L" else (3,)
        pixels = np.random.default_rng(at).integers(0, 256, (height, width, *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{at}.png")
        images.append((tmp_path / f"{at}.png", at))
    batches = list(_batches(images, 224, 3))
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2], [3]]
    pixels = torch.cat([pixels for pixels, _ in batches])
    assert pixels.shape == (4, 3, 224, 224) and pixels.dtype == torch.uint8
    for found, (path, _) in zip(pixels, images, strict=True):
        assert torch.equal((found.float() / 255 - MEAN) / STD, usual(Image.open(path).convert("RGB")))


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "a.JPEG").write_bytes(b"no image")
    with pytest.raises(OSError, match=r"n1/a\.JPEG"):
        list(_batches([(tmp_path / "n1" / "a.JPEG", 0)], 224, 8))


def class_tree(root: Path, classes: int) -> Path:
    folder = root / "imagenet" / "val"
    for label in range(classes):
        (folder / f"n{label:08d}").mkdir(parents=True)
        (folder / f"n{label:08d}" / "ILSVRC2012_val_1.JPEG").write_bytes(picture(label))
    return folder


def test_classes_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = class_tree(tmp_path, 3)
    (folder / "n00000001" / "a.txt").write_text("no image")
    (folder / ".DS_Store").write_text("a Mac's")
    assert [(path.parent.name, label) for path, label in class_folders.listing(folder)] == [
        ("n00000000", 0), ("n00000001", 1), ("n00000002", 2),
    ]  # fmt: skip
    assert class_folders.folder_of(SCENARIO, tmp_path) == folder
    (tmp_path / "imagenet2sketch").mkdir()
    assert class_folders.folder_of(SCENARIO, tmp_path / "imagenet2sketch") == folder
    assert class_folders.folder_of(SCENARIO, tmp_path / "imagenet") is None
    assert class_folders.folder_of(SCENARIO, None) is class_folders.folder_of(load_scenario("digits"), tmp_path) is None


def test_a_folder_that_is_laid_out_otherwise_is_a_fault(tmp_path: Path) -> None:
    assert ON is not None
    folder = class_tree(tmp_path, 3)
    assert "has 3 class folders, ImageNet has 1,000" in str(class_folders.fault(folder, ON))
    for label in range(3, 1000):
        (folder / f"n{label:08d}").mkdir()
    assert "n00000003 holds no image" in str(class_folders.fault(folder, ON))
    assert "'not run'" in class_folders.told(ON, None)
    assert "on 3 images in" in class_folders.told(ON, folder) and "50,000 as published" in class_folders.told(
        ON, folder
    )


# ---------------------------------------------------------------------- the weights


def test_files_of_another_kind_are_no_images(tmp_path: Path) -> None:
    """A fault before anything is trained, not a division by zero after it."""
    folder = class_tree(tmp_path, 3)
    on = dataclasses.replace(ON, classes=3)
    for path in next(folder.iterdir()).iterdir():
        path.rename(path.with_suffix(".webp"))
    assert "holds no image (.jpeg, .jpg, .png)" in (class_folders.fault(folder, on) or "")


def test_where_weights_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In torch.hub's folder, then in the data root's folder weights, then in the data root, each before the last."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("BENCHMARK_DATA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    assert found_weights(SCENARIO, root) is None
    for place in (tmp_path / "torch" / "hub" / "checkpoints", root / "weights", root):
        place.mkdir(parents=True, exist_ok=True)
        path = place / "resnet50-0676ba61.pth"
        path.write_bytes(b"")
        assert found_weights(SCENARIO, root) == path
    assert found_weights(load_scenario("digits"), root) is None
    assert found_weights(SCENARIO, tmp_path / "nowhere") == tmp_path / "torch" / "hub" / "checkpoints" / path.name
