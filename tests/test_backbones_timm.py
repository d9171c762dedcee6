"""timm's networks as backbones: its weights, its normalisation, masks on every convolution, and clear refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from benchmark.backbones import build
from benchmark.backbones.builder import require_image_size
from benchmark.backbones.timm_models import inputs_of
from benchmark.backbones.weights import load_weights
from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.scenarios.loader import load_scenario
from methods.engine.layout import layout_of

timm = pytest.importorskip("timm")

ROOT = Path(__file__).parents[1]
LITE = "timm:tf_efficientnet_lite0"
TINY = "timm:test_resnet"  #: timm's own network for tests: half a million weights
HALF = (0.5, 0.5, 0.5)


def test_the_features_are_those_that_timms_classifier_reads() -> None:
    whole = timm.create_model("test_resnet", pretrained=False).eval()
    backbone = build(TINY).eval()
    backbone.load_state_dict({name: it for name, it in whole.state_dict().items() if not name.startswith("fc.")})
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole.fc(backbone(images)), whole(images))
    assert backbone.feature_dim == 96


def test_one_seed_gives_one_network() -> None:
    torch.manual_seed(3)
    first = build(TINY).state_dict()
    torch.manual_seed(3)
    require_image_size(TINY, 77)  # trying a size draws nothing
    second = build(TINY).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_efficientnet_lite0_takes_its_weights_and_a_mask_on_every_convolution(shared_weights: Path) -> None:
    """49 convolutions: a stem, three in each of 16 blocks but the first, which expands nothing, and a head."""
    backbone = build(LITE).eval()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    load_weights(backbone, shared_weights / "efficientnet_lite0_imagenet.safetensors")
    assert all(not torch.equal(before[name], it) for name, it in backbone.named_parameters() if "conv" in name)
    convolutions = [name for name, module in backbone.named_modules() if isinstance(module, torch.nn.Conv2d)]
    depthwise = [name for name in convolutions if backbone.get_submodule(name).groups > 1]  # type: ignore[operator]
    assert (len(convolutions), len(depthwise)) == (49, 16)
    layout = layout_of(backbone, "element", "element")
    assert sorted(layout.names) == sorted(f"{name}.weight" for name in convolutions)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        usual = backbone(images)
        for name, weight in layout.views(layout.flatten(dict(backbone.named_parameters()))).items():
            dropped = torch.func.functional_call(backbone, {name: torch.zeros_like(weight)}, (images,))
            assert not torch.equal(dropped, usual), name
            assert torch.equal(torch.func.functional_call(backbone, {name: weight}, (images,)), usual), name


def test_a_network_with_same_padding_and_fused_activations_can_be_followed_unit_by_unit() -> None:
    from methods.hat import gates as equations
    from methods.hat.unit_graph import units_of

    network = build(LITE).eval().requires_grad_(False)
    units = units_of(network)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    usual = network(images)
    chosen = int(usual.sum(0).argmax())  # ReLU6 leaves some features 0 anyway
    gates = torch.ones(units.count)
    gates[units.writes["conv_head"][chosen]] = 0  # no layer reads it: shut, it changes its own feature only
    folded = equations.gated(dict(network.named_parameters()), gates, units.scaled)
    gated = torch.func.functional_call(network, folded, (images,))
    others = torch.arange(usual.shape[1]) != chosen
    assert usual[:, chosen].min() > 0 and torch.equal(gated[:, chosen], torch.zeros(2))
    assert torch.equal(gated[:, others], usual[:, others])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet5", r"timm has no network 'resnet5'\. Did you mean 'resnet"),
        ("timm:", r"timm has no network ''"),
        ("timm:resnet18.nothing", r"timm has no 'resnet18.nothing': .*leave out what stands behind the point"),
    ],
)
def test_names_that_timm_does_not_know(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--backbone", name, "--dry-run"]) == 2
    with pytest.raises(RequestError, match=words):
        build(name)
    assert capsys.readouterr().err.startswith("error: timm has no ")


def test_it_has_one_width_and_some_networks_one_image_size() -> None:
    with pytest.raises(RequestError, match=r"has one width; leave out backbone\.width"):
        build(TINY, width=0.5)
    with pytest.raises(RequestError, match=r"does not run on images of 96 pixels .*timm's size for it is 224"):
        require_image_size("timm:vit_tiny_patch16_224", 96)
    require_image_size("timm:vit_tiny_patch16_224", 224)


def test_without_timm_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    inputs_of.cache_clear()
    assert main(["run", "--backbone", TINY, "--dry-run"]) == 2
    assert "needs the library timm" in (said := capsys.readouterr().err) and "pip install timm" in said
    assert "Traceback" not in said


def definition(**more: object) -> dict[str, object]:
    return {"tasks": [{"name": "birds", "folder": "birds"}], "backbone": LITE, **more}


def test_size_and_normalisation_are_timms_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(definition()))
    assert load_scenario(str(path)).image_size == 224
    path.write_text(yaml.safe_dump(definition(image_size=96, normalisation="imagenet")))
    assert load_scenario(str(path)).image_size == 96
    path.write_text(yaml.safe_dump(definition(backbone="timm:vit_tiny_patch16_224", image_size=96)))
    with pytest.raises(RequestError, match=r"own\.yaml: image_size does not suit the backbone: .*224"):
        load_scenario(str(path))
    path.write_text(yaml.safe_dump(definition(backbone="timm:resnet5")))
    with pytest.raises(RequestError, match=r"own\.yaml: timm has no network 'resnet5'"):
        load_scenario(str(path))
    assert inputs_of(LITE).normalisation(3) == (HALF, HALF) and inputs_of(LITE).normalisation(1) == ((0.5,), (0.5,))


def test_it_brings_its_normalisation_to_another_scenario(tmp_path: Path) -> None:
    """The digits' own means are other numbers; the version of timm stands in the record."""
    results = tmp_path / "runs"
    words = ["--tasks", "2", "--train-limit", "60", "--epochs", "1", "--threads", "1", "--executor", "local"]
    assert main(["run", "--backbone", TINY, "--method", "ksm", *words, "--results", str(results)]) == 0
    (path,) = results.glob("*/result.json")
    record = json.loads(path.read_text())
    mean, std = inputs_of(TINY).normalisation(1)
    assert [(task["mean"], task["std"]) for task in record["spec"]["inputs"]] == [(list(mean), list(std))] * 2
    assert record["provenance"]["packages"]["timm"] == timm.__version__
    assert record["forgetting"] == 0.0


def test_the_small_imagenet_to_sketch_runs(
    shared_data: Path, shared_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/scenarios/imagenet2sketch-small.yaml as it is, beside the data: checked, then two methods for an epoch."""
    (tmp_path / "data").symlink_to(shared_data)
    (tmp_path / "weights").symlink_to(shared_weights)
    scenario = tmp_path / "imagenet2sketch-small.yaml"
    scenario.write_text((ROOT / "docs/scenarios/imagenet2sketch-small.yaml").read_text())
    assert main(["check", "--scenario", str(scenario)]) == 0
    said = capsys.readouterr().out
    for counts in ("23      690      673", "196    4,671    1,960", "102    2,040    6,149", "344    6,880    1,720"):
        assert counts in said
    results = tmp_path / "runs"
    words = ["--epochs", "1", "--threads", "1", "--selection", "last", "--test-limit", "50", "--executor", "local"]
    words += ["--results", str(results), "--scenario", str(scenario)]
    assert main(["run", "--method", "piggyback", "--train-limit", "64", *words]) == 0
    assert main(["run", "--method", "head-only", "--tasks", "1", "--train-limit", "350", *words]) == 0
    found = [json.loads(path.read_text()) for path in results.glob("*/result.json")]
    records = {record["spec"]["method"]: record for record in found}
    assert [row["classes"] for row in records["piggyback"]["tasks"]] == [23, 196, 102, 134, 344]
    assert {tuple(task["mean"]) for task in records["piggyback"]["spec"]["inputs"]} == {HALF}
    assert records["piggyback"]["forgetting"] == 0.0
    # ImageNet's features tell 23 kinds of birds apart, even after one epoch of 350 photographs: guessing gives 4 %
    assert records["head-only"]["tasks"][0]["accuracy"] > 0.1
