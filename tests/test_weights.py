"""Reading weights: what loads, what is refused and with which words, and the real ImageNet weights."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.backbones import build
from benchmark.backbones.weights import file_sha256, load_weights
from benchmark.errors import RequestError

DATA_ROOT = Path(os.environ.get("BENCHMARK_DATA_ROOT", Path(__file__).parents[1] / ".." / "shared" / "data"))
SQUEEZENET = "squeezenet1_1_imagenet.safetensors"
MOBILENET = "mobilenet_v2_imagenet_backbone.safetensors"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Malicious:
    """Unpickling this would make a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def source() -> nn.Module:
    """A thin network with weights of its own."""
    torch.manual_seed(1)
    return build("resnet18", width=0.125)


@pytest.fixture
def target() -> nn.Module:
    """The same network with other weights."""
    torch.manual_seed(2)
    return build("resnet18", width=0.125)


def assert_same(first: nn.Module, second: nn.Module) -> None:
    left, right = first.state_dict(), second.state_dict()
    assert list(left) == list(right)
    assert all(torch.equal(left[name], right[name]) for name in left)


def refusal(target: nn.Module, path: Path) -> str:
    """The sentence with which ``path`` is refused; the backbone must stay as it was."""
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(RequestError) as caught:
        load_weights(target, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def test_safetensors_with_torchvisions_head(source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    state = source.state_dict() | {"fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}
    save_file(state, tmp_path / "weights.safetensors")
    load_weights(target, tmp_path / "weights.safetensors")
    assert_same(source, target)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_state_dict_whatever_its_name(source: nn.Module, target: nn.Module, tmp_path: Path, zipped: bool) -> None:
    torch.save(source.state_dict(), tmp_path / "weights", _use_new_zipfile_serialization=zipped)
    load_weights(target, tmp_path / "weights")
    assert_same(source, target)


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module._orig_mod.", "_orig_mod.module."])
def test_wrapped_checkpoint(source: nn.Module, target: nn.Module, tmp_path: Path, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({"epoch": 90, "state_dict": state}, tmp_path / "checkpoint.pth")
    load_weights(target, tmp_path / "checkpoint.pth")
    assert_same(source, target)


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


HEAD = {"weight": torch.zeros(2, 64), "bias": torch.zeros(2)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"net": state},
        lambda state: {"network": prefixed(state, "module."), "acc": 91.2, "epoch": 7},
        lambda state: {"model_ema": state, "epoch": 1},
        lambda state: {"checkpoint": {"student": {"state": prefixed(state, "module.backbone.")}}},
        lambda state: {"optimizer": {"state": {0: {"momentum": torch.zeros(3)}}}, "net": state},
        lambda state: {"model": state, "model_ema": {name: tensor + 1 for name, tensor in state.items()}},
        lambda state: {"state_dict": state, "model": {name: tensor + 1 for name, tensor in state.items()}},
    ],
)
def test_keys_around_the_weights(wrap: Any, source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    torch.save(wrap(source.state_dict()), tmp_path / "checkpoint.pth")
    load_weights(target, tmp_path / "checkpoint.pth")
    assert_same(source, target)


@pytest.mark.parametrize("prefix", ["net.", "network.", "encoder.", "a.b.c.", "module.model.backbone._orig_mod.", "0."])
@pytest.mark.parametrize("head", ["fc.", "head.", "head.fc1.", "classifier.1.", "criterion.", ""])
def test_prefixes_and_heads(prefix: str, head: str, source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    """The head lies beside the backbone or within its prefix."""
    for place in (head, prefix + head):
        extra = prefixed(HEAD, place) if head else {}
        save_file(prefixed(source.state_dict(), prefix) | extra, tmp_path / "w.safetensors")
        load_weights(target, tmp_path / "w.safetensors")
        assert_same(source, target)


def test_averaged_models_carry_a_counter(source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(source)
    averaged.update_parameters(source)
    assert "n_averaged" in averaged.state_dict()
    torch.save(averaged.state_dict(), tmp_path / "swa.pth")
    load_weights(target, tmp_path / "swa.pth")
    assert torch.equal(source.state_dict()["conv1.weight"], target.state_dict()["conv1.weight"])


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda s: prefixed(s, "encoder_q.") | prefixed(s, "encoder_k."), "under 'encoder_q.', 'encoder_k.'; save the"),
        (lambda s: {"student": s, "teacher": prefixed(s, "module.")}, "under 'student', 'teacher: module.'; save the"),
        (lambda s: {"model": s | prefixed(s, "ema.")}, "several times, under 'model', 'model: ema.'; save the"),
    ],
)
def test_weights_that_are_there_twice_are_not_guessed(wrap: Any, told: str, target: nn.Module, tmp_path: Path) -> None:
    torch.save(wrap(target.state_dict()), tmp_path / "w.pth")
    assert told in refusal(target, tmp_path / "w.pth")


def test_what_remains_is_named_with_its_prefixes(source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    """Never half loaded: one tensor lacks, or there is one more that is no head's."""
    state = prefixed(source.state_dict(), "module.backbone.") | prefixed(HEAD, "module.head.")
    torch.save(state | {"normalize.mean": torch.zeros(3), "queue": torch.zeros(3)}, tmp_path / "more.pth")
    told = refusal(target, tmp_path / "more.pth")
    assert "another network than the backbone: 2 unexpected (such as normalize.mean)" in told
    assert "its names begin with module, normalize, queue, those of the backbone with 'module.backbone.'" in told
    del state["module.backbone.layer3.0.conv1.weight"]
    torch.save({"net": state}, tmp_path / "less.pth")
    told = refusal(target, tmp_path / "less.pth")
    assert "1 of 100 tensors missing (such as layer3.0.conv1.weight)" in told and "unexpected" not in told


@pytest.mark.parametrize("network", ["small_cnn", "vgg16_bn", "squeezenet1_1", "mobilenet_v2", "resnet50"])
def test_every_backbone_is_found_under_a_prefix(network: str, tmp_path: Path) -> None:
    first, second = build(network, width=0.125), build(network, width=0.125)
    torch.save({"net": prefixed(first.state_dict(), "encoder.") | prefixed(HEAD, "fc.")}, tmp_path / "w.pth")
    load_weights(second, tmp_path / "w.pth")
    assert_same(first, second)


def test_tensors_without_plain_values_are_refused(source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    state = source.state_dict()
    torch.save({name: tensor.to("meta") for name, tensor in state.items()}, tmp_path / "meta.pth")
    assert "holds only the shapes of its tensors" in refusal(target, tmp_path / "meta.pth")
    weight = state["layer1.0.conv1.weight"]
    torch.save(state | {"layer1.0.conv1.weight": weight.to_sparse()}, tmp_path / "sparse.pth")
    assert "layer1.0.conv1.weight is sparse or quantised" in refusal(target, tmp_path / "sparse.pth")
    quantised = torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)
    torch.save(state | {"layer1.0.conv1.weight": quantised}, tmp_path / "quantised.pth")
    assert "layer1.0.conv1.weight is sparse or quantised" in refusal(target, tmp_path / "quantised.pth")


def test_archives_that_are_no_weights_are_called_by_their_name(target: nn.Module, tmp_path: Path) -> None:
    scripted = torch.jit.trace(target.eval(), torch.zeros(1, 3, 32, 32))  # type: ignore[no-untyped-call]
    torch.jit.save(scripted, tmp_path / "script.pt")  # type: ignore[no-untyped-call]
    told = refusal(target, tmp_path / "script.pt")
    assert "is a TorchScript archive" in told and "torch.save(torch.jit.load(path).state_dict(), 'weights.pth')" in told
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as archive:
        archive.writestr("other/archive_format", "pt2")
    assert "is a zip archive, but not of torch.save" in refusal(target, tmp_path / "other.pt2")


def test_files_without_bn_counters_load(source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in source.state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "weights.safetensors")
    load_weights(target, tmp_path / "weights.safetensors")
    assert_same(source, target)


def test_half_precision_is_read_as_float(source: nn.Module, target: nn.Module, tmp_path: Path) -> None:
    torch.save(source.half().state_dict(), tmp_path / "half.pth")
    load_weights(target, tmp_path / "half.pth")
    assert_same(source.float(), target)


def test_absent_file_and_folder(target: nn.Module, tmp_path: Path) -> None:
    assert "does not exist" in refusal(target, tmp_path / "absent.pth")
    assert "cannot be read (it is no ordinary file)" in refusal(target, tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>404 Not Found</html>", b"\x89PNG\r\n\x1a\n0000"])
def test_other_files_are_no_weights(target: nn.Module, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    assert "is no weights file" in refusal(target, tmp_path / "weights.pth")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated_files(source: nn.Module, target: nn.Module, tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "weights"
    if kind == "safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged or cut short" in refusal(target, path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_pickle_with_code_is_refused_and_never_run(target: nn.Module, tmp_path: Path, kind: str) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "proof"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious(proof)))
    else:
        torch.save({"conv1.weight": Malicious(proof)}, path, _use_new_zipfile_serialization=kind == "zip")
    assert "could run code, so it is never loaded" in refusal(target, path)
    assert not proof.exists()


def test_a_whole_pickled_model_is_refused_by_name(target: nn.Module, tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    sentence = refusal(target, tmp_path / "model.pth")
    assert "(torch.nn.modules.linear.Linear)" in sentence
    assert "torch.save(model.state_dict(), path)" in sentence


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(2)], {"a": torch.zeros(1), "b": 1}])
def test_a_file_of_something_else_is_no_state_dict(target: nn.Module, tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert "holds no state dict" in refusal(target, tmp_path / "other.pth")


def test_another_networks_weights(target: nn.Module, tmp_path: Path) -> None:
    torch.save(build("squeezenet1_1", width=0.125).state_dict(), tmp_path / "squeezenet.pth")
    sentence = refusal(target, tmp_path / "squeezenet.pth")
    # 20 convolutions and 20 BN layers of 4 tensors each; 26 convolutions with bias, of which the classifier is dropped
    assert "100 of 100 tensors missing (such as conv1.weight)" in sentence
    assert "50 unexpected (such as features.0.weight)" in sentence


def test_a_deeper_networks_weights_are_unexpected(target: nn.Module, tmp_path: Path) -> None:
    state = target.state_dict() | {"layer5.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "deeper.pth")
    sentence = refusal(target, tmp_path / "deeper.pth")
    assert "1 unexpected (such as layer5.weight)" in sentence
    assert "missing" not in sentence


def test_another_width(target: nn.Module, tmp_path: Path) -> None:
    torch.save(build("resnet18", width=0.25).state_dict(), tmp_path / "wide.pth")
    assert "conv1.weight has shape 16x3x7x7, the backbone needs 8x3x7x7" in refusal(target, tmp_path / "wide.pth")


def test_another_number_of_channels(target: nn.Module, tmp_path: Path) -> None:
    torch.save(build("resnet18", width=0.125, channels=1).state_dict(), tmp_path / "grey.pth")
    sentence = refusal(target, tmp_path / "grey.pth")
    assert "input channels" in sentence
    assert "conv1.weight has shape 8x1x7x7, the backbone needs 8x3x7x7" in sentence


@pytest.mark.parametrize(
    ("value", "fault"),
    [(float("nan"), "not finite"), (float("inf"), "not finite"), (1, "type torch.int64, not torch.float32")],
)
def test_values_that_cannot_be_weights(target: nn.Module, tmp_path: Path, value: float, fault: str) -> None:
    state = target.state_dict()
    torch.save(state | {"bn1.bias": torch.full_like(state["bn1.bias"], 0).to(torch.int64) + value}, tmp_path / "w.pth")
    sentence = refusal(target, tmp_path / "w.pth")
    assert "bn1.bias" in sentence
    assert fault in sentence


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"abc")
    assert file_sha256(tmp_path / "weights") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(RequestError, match="does not exist"):
        file_sha256(tmp_path / "absent")


def real(name: str) -> Path:
    """A file of real ImageNet weights, beside the data root."""
    path = DATA_ROOT.resolve().parent / "weights" / name
    if not path.exists():
        pytest.skip(f"the ImageNet weights {name} are not beside the data root {DATA_ROOT}")
    return path


def art(count: int) -> tuple[Tensor, Tensor]:
    """``count`` real 96-pixel paintings of seven classes: normalised images (n, 3, 96, 96) and labels (n,)."""
    folder = DATA_ROOT / "multidomain" / "pacs_art"
    files = sorted(folder.glob("**/*train*.parquet"))
    if not files:
        pytest.skip(f"no real images in {folder}")
    table = pyarrow.parquet.read_table(files[0], columns=["image", "label"])
    rows = table.take(list(range(0, table.num_rows, table.num_rows // count))[:count]).to_pylist()
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    images = []
    for row in rows:
        image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
        pixels = torchvision.transforms.functional.center_crop(image, [96, 96])
        images.append((torchvision.transforms.functional.to_tensor(pixels) - mean) / std)
    return torch.stack(images), torch.tensor([row["label"] for row in rows])


def nearest_mean_accuracy(features: Tensor, labels: Tensor) -> float:
    """Accuracy on every second image of the nearest class mean (cosine) of the others, after standardising."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    means = torch.stack([features[0::2][labels[0::2] == number].mean(0) for number in range(7)])
    similarity = torch.cosine_similarity(features[1::2, None], means[None], dim=2)
    return float((similarity.argmax(1) == labels[1::2]).double().mean())


def test_real_squeezenet_gives_torchvisions_features() -> None:
    path = real(SQUEEZENET)
    theirs = torchvision.models.squeezenet1_1()
    theirs.load_state_dict(load_file(path))
    mine = build("squeezenet1_1")
    load_weights(mine, path)
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(mine(images), theirs.features(images).mean(dim=(2, 3)))


def test_real_mobilenet_is_refused_by_torchvisions_architecture() -> None:
    sentence = refusal(build("mobilenet_v2"), real(MOBILENET))
    assert "holds weights of another network" in sentence
    assert "unexpected (such as features.1.conv." in sentence


def test_real_mobilenet_statistics_fit_real_images() -> None:
    """What reaches each BN layer must look like what it saw on ImageNet. This pins the normalisation of the images
    (scaled to [-1, 1] the stem's variances are 4 times too small) and BN's eps (with 1e-3 the spreads add up to 1.28).
    """
    backbone = build("mobilenet_v2_expanded").eval()
    load_weights(backbone, real(MOBILENET))
    images, _ = art(70)
    shifts, spreads = [], []

    def compare(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        shift = (inputs[0].mean(dim=(0, 2, 3)) - norm.running_mean) / norm.running_var.sqrt()
        shifts.append(shift.abs().mean().item())
        spreads.append((inputs[0].var(dim=(0, 2, 3)) / norm.running_var).log().median().item())

    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(compare)
    with torch.no_grad():
        backbone(images)
    assert len(shifts) == 53
    assert sum(shifts) / 53 < 0.35
    assert abs(spreads[0]) < 0.25  # the stem sees the normalised images themselves
    assert sum(abs(spread) for spread in spreads) / 53 < 0.6


@pytest.mark.parametrize(("name", "file"), [("squeezenet1_1", SQUEEZENET), ("mobilenet_v2_expanded", MOBILENET)])
def test_real_weights_see_more_in_paintings_than_random_ones(name: str, file: str) -> None:
    path = real(file)
    images, labels = art(140)
    torch.manual_seed(0)
    backbone = build(name).eval()
    with torch.no_grad():
        random = nearest_mean_accuracy(backbone(images), labels)
        load_weights(backbone, path)
        trained = nearest_mean_accuracy(backbone(images), labels)
    assert trained > random + 0.15


# ---------------------------------------------------------------------- values and archives that cannot be meant


def refused_when_changed(tmp_path: Path, **changes: torch.Tensor) -> str:
    """What is said of a network's own weights with some tensors changed."""
    backbone = build("small_cnn")
    path = tmp_path / "changed.pth"
    torch.save({**backbone.state_dict(), **changes}, path)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(RequestError) as caught:
        load_weights(backbone, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())
    return str(caught.value)


def test_values_that_the_backbones_type_cannot_hold(tmp_path: Path) -> None:
    name, tensor = next((name, item) for name, item in build("small_cnn").state_dict().items() if item.dim() == 4)
    assert "not finite as torch.float32" in refused_when_changed(tmp_path, **{name: tensor.double().fill_(1e300)})


def test_variances_are_not_negative(tmp_path: Path) -> None:
    state = build("small_cnn").state_dict()
    name = next(name for name in state if name.endswith("running_var"))
    assert f"{name} holds negative variances" in refused_when_changed(tmp_path, **{name: -state[name]})


def test_an_archive_that_unpacks_to_more_than_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("bomb/data/0", bytes(200 * 2**20))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    with pytest.raises(RequestError, match=r"compressed archive of 200 MiB"):
        load_weights(build("small_cnn"), path)
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["pipe", "link to /dev/zero", "folder"])
def test_weights_are_an_ordinary_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    for read in (lambda: load_weights(build("small_cnn"), path), lambda: file_sha256(path)):
        with pytest.raises(RequestError, match="no ordinary file"):
            read()
