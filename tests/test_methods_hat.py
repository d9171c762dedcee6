"""HAT: equations worked out by hand, units found in every backbone, gates where they belong, nothing forgotten."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import run_here, small_options, small_spec
from tiny import learn, make_strategy, tiny_net, tiny_stream
from torch import Tensor, nn
from torch.func import functional_call

from benchmark.backbones.builder import build
from methods.engine.parts import tensors_of
from methods.hat import gates as equations
from methods.hat.card import HAT
from methods.hat.unit_graph import UnknownUnits, units_of

#: the largest scale of the default settings
LARGEST = 400.0


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


def backbone(name: str, width: float = 0.0625) -> nn.Module:
    """A narrow backbone for images of one channel, with fixed initial weights; BN is not at its initial values."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build(name, width, 1)
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0.0, 0.3)
        return made


class Enlarged(nn.Module):
    """Any backbone behind a magnifying glass: for networks that pool more often than tiny images allow."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.feature_dim = network.feature_dim

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(nn.functional.interpolate(images, scale_factor=4.0))
        return features


# ------------------------------------------------------------------ equations


@pytest.mark.parametrize("scale", [1 / LARGEST, 3.0, 8.0])
def test_compensated_gradient_of_a_gate_does_not_depend_on_the_annealing(scale: float) -> None:
    embedding = torch.tensor([-1.0, 0.0, 0.7], dtype=torch.float64, requires_grad=True)
    equations.gates_of(embedding, scale).sum().backward()
    assert embedding.grad is not None
    with torch.no_grad():
        found = embedding.grad * equations.compensation(embedding, scale, LARGEST)
        expected = LARGEST * torch.sigmoid(embedding) * (1 - torch.sigmoid(embedding))
    torch.testing.assert_close(found, expected)
    assert [round(value, 3) for value in found.tolist()] == [78.645, 100.0, 88.685]


def test_derivative_of_the_sigmoid_is_that_of_the_compensation() -> None:
    x = torch.linspace(-6, 6, 25, dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(x) * (1 - torch.sigmoid(x)), 1 / (2 * (torch.cosh(x) + 1)))


def test_gates_steepen_within_an_epoch_from_nearly_flat() -> None:
    steps = [equations.annealed(iteration, 4, LARGEST) for iteration in range(4)]
    assert steps == pytest.approx([0.0025, 100.001875, 200.00125, 300.000625])
    assert equations.gates_of(torch.tensor([-6.0, 6.0]), steps[0]).tolist() == pytest.approx(
        [0.49625, 0.50375], abs=1e-6
    )


def test_finished_gates_are_bits_or_the_steepest_sigmoid() -> None:
    embedding = torch.tensor([-0.001, 0.0, 0.001, 2.0])
    assert equations.finished_gates(embedding, LARGEST, True).tolist() == [0, 0, 1, 1]
    expected = [0.401312, 0.5, 0.598688, 1.0]
    assert equations.finished_gates(embedding, LARGEST, False).tolist() == pytest.approx(expected, abs=1e-6)


def test_regulariser_by_hand() -> None:
    assert equations.regulariser(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 0.0])) == 1
    gates = torch.tensor([0.25, 0.5, 0.9])
    assert equations.regulariser(gates, torch.zeros(3)) == pytest.approx(float(gates.mean()))
    assert equations.regulariser(gates, torch.ones(3)) == 0


def test_a_weight_is_frozen_between_two_used_units_only() -> None:
    before, both = torch.tensor([1.0, 0.0]), torch.tensor([0, 1])
    assert equations.weight_factor(before, both, both, 2).tolist() == [[0, 1], [1, 1]]
    assert equations.weight_factor(before, both, both, 4).shape == (2, 2, 1, 1)
    assert equations.weight_factor(before, both, None, 2).tolist() == [[0], [1]]
    assert equations.bias_factor(before, both).tolist() == [0, 1]
    soft = torch.tensor([0.75, 0.5])
    assert equations.weight_factor(soft, both, both, 2).tolist() == [[0.25, 0.5], [0.5, 0.5]]


def test_cumulative_gates_are_the_largest_of_all_tasks() -> None:
    tasks = [tensors_of(equations.stored(torch.tensor(gates), True)) for gates in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])]
    assert equations.cumulative(3, tasks, torch.device("cpu")).tolist() == [1, 0, 1]
    tasks.append(tensors_of(equations.stored(torch.tensor([0.5, 0.25, 0.5]), False)))
    assert equations.cumulative(3, tasks, torch.device("cpu")).tolist() == [1, 0.25, 1]


# ------------------------------------------------------------------ units


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("small_cnn", 32 + 64 + 64),
        ("vgg16_bn", 4224 + 8192),
        ("resnet18", 2 * (64 + 128 + 256 + 512) + 64 + 128 + 256 + 512),
        ("resnet50", 64 + (256 + 512 + 1024 + 2048) + 2 * (3 * 64 + 4 * 128 + 6 * 256 + 3 * 512)),
        ("squeezenet1_1", 64 + 2 * (16 + 32 + 48 + 64) + 4 * (64 + 128 + 192 + 256)),
    ],
)
def test_units_of_the_backbones_are_counted_by_hand(name: str, count: int) -> None:
    assert units_of(build(name)).count == count


def test_a_stage_of_residual_blocks_shares_one_vector() -> None:
    units = units_of(build("resnet18"))
    stem, stage = units.writes["conv1"], units.writes["layer1.1.conv2"]
    assert torch.equal(stem, stage), "the first stage adds to what the stem wrote"
    assert torch.equal(units.reads["layer1.1.conv1"], stage)
    assert torch.equal(units.reads["layer1.0.conv2"], units.writes["layer1.0.conv1"])
    assert torch.equal(units.reads["layer2.0.downsample.0"], stage)
    second = units.writes["layer2.0.downsample.0"]
    assert torch.equal(second, units.writes["layer2.0.conv2"])
    assert torch.equal(second, units.writes["layer2.1.conv2"])
    assert not set(second.tolist()) & set(stage.tolist())
    assert units.reads["conv1"] is None
    assert "conv1" not in units.scaled, "BN follows: the gate acts on its scale and shift"
    assert torch.equal(units.scaled["bn1"], stem)


def test_concatenated_maps_are_read_side_by_side() -> None:
    units = units_of(build("squeezenet1_1"))
    sides = [units.writes["features.3.expand1x1"], units.writes["features.3.expand3x3"]]
    assert torch.equal(units.reads["features.4.squeeze"], torch.cat(sides))
    assert torch.equal(units.scaled["features.3.expand1x1"], sides[0]), "without BN the gate acts on the layer itself"


def test_a_depthwise_channel_reads_the_unit_of_its_own_place() -> None:
    units = units_of(build("mobilenet_v2_expanded"))
    expansion, depthwise = "features.2.conv.0.0", "features.2.conv.1.0"
    reads = units.reads[depthwise]
    assert reads is not None
    assert torch.equal(reads, units.writes[expansion][:, None])


class Flattening(nn.Module):
    feature_dim = 3

    def __init__(self, reshape: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(2 * 4, 3)
        self.reshape = reshape

    def forward(self, images: Tensor) -> Tensor:
        maps = nn.functional.max_pool2d(torch.relu(self.conv(images / 2 + 1)), 2)
        features: Tensor = self.fc(self.reshape(maps)).relu()
        return features


@pytest.mark.parametrize(
    "reshape",
    [
        nn.Flatten(),
        lambda maps: maps.flatten(1),
        lambda maps: torch.flatten(maps, start_dim=1),
        lambda maps: maps.view(maps.size(0), -1),
        lambda maps: maps.reshape(maps.shape[0], -1),
    ],
)
def test_a_flattened_channel_stands_for_all_its_positions(reshape: Any) -> None:
    units = units_of(Flattening(reshape))
    assert units.reads["fc"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert units.writes["fc"].tolist() == [2, 3, 4]


class Forward(nn.Module):
    """Two convolutions and a forward pass of one's own."""

    feature_dim = 4

    def __init__(self, forward: Any, *more: nn.Module) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.more = nn.ModuleList(more)
        self.how = forward

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.how(self, images)
        return found


@pytest.mark.parametrize(
    ("how", "more", "words"),
    [
        (lambda net, x: net.two(net.one(x)).sigmoid(), [], "operation sigmoid"),
        (lambda net, x: net.two(net.one(x)) * 2, [], "operation mul"),
        (lambda net, x: net.two(net.one(x)) + 1, [], "adds something else"),
        (lambda net, x: net.two(net.one(x)) + x, [], "adds something else"),
        (lambda net, x: net.two(net.two(net.one(x))), [], "uses its layer two twice"),
        (lambda net, x: net.two(net.more[0](net.one(x))), [nn.GroupNorm(2, 4)], r"more.0 \(GroupNorm\)"),
        (lambda net, x: net.more[0](net.two(net.one(x)).relu()), [nn.BatchNorm2d(4)], "normalises something else"),
        (lambda net, x: net.more[0](net.two(net.one(x))), [nn.BatchNorm2d(4, affine=False)], "no scale and shift"),
        (lambda net, x: net.two(net.one(x)).mean(1), [], "over something else"),
        (lambda net, x: torch.cat([net.one(x), net.two(net.one(x))], 2), [], "uses its layer one twice"),
        (lambda net, x: net.two(torch.cat([net.one(x), x], 1)), [], "concatenates something else"),
        (lambda net, x: net.two(net.one(x)) if x.sum() > 0 else x, [], "torch.fx cannot trace it"),
        (lambda net, x: x.mean((2, 3)), [], "no convolution or linear layer"),
    ],
)
def test_a_network_that_cannot_be_followed_is_refused_in_one_sentence(
    how: Any, more: list[nn.Module], words: str
) -> None:
    with pytest.raises(UnknownUnits, match=words) as refused:
        make_strategy("hat", backbone=Forward(how, *more))
    assert "\n" not in str(refused.value)


def test_a_weight_of_two_layers_is_refused() -> None:
    net = Forward(lambda net, x: net.more[0](net.two(net.one(x))), nn.Conv2d(4, 4, 3, padding=1))
    net.more[0].weight = net.two.weight
    with pytest.raises(UnknownUnits, match=r"two.weight and more.0.weight are one tensor"):
        units_of(net)


# ------------------------------------------------------------------ gates in the network


def gated_at_the_readers(network: nn.Module, gates: Tensor, images: Tensor) -> Tensor:
    """Features of a network whose layers see gated units, by hooks: written apart from the gates' own code."""
    units = units_of(network)
    hooks = []
    for name, reads in units.reads.items():
        if reads is None:
            continue
        layer = network.get_submodule(name)
        own = gates[reads.flatten()]  # depthwise: one input a channel
        own = own if isinstance(layer, nn.Linear) else own.view(-1, 1, 1)
        hooks.append(layer.register_forward_pre_hook(lambda _, args, own=own: (args[0] * own,)))
    features: Tensor = network(images)
    for hook in hooks:
        hook.remove()
    return features


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", ["small_cnn", "vgg16_bn", "resnet18", "resnet50", "squeezenet1_1", "mobilenet_v2"])
def test_gates_in_scale_and_shift_are_gates_behind_the_activation(name: str, binary: bool) -> None:
    """Every reader of a unit sees it times its gate, residual streams included; ReLU6 lets only 0 and 1 pass."""
    if name == "mobilenet_v2" and not binary:
        pytest.skip("a bounded activation: for binary gates only")
    network = backbone(name).eval().double().requires_grad_(False)
    units = units_of(network)
    generator = torch.Generator().manual_seed(1)
    gates = torch.rand(units.count, generator=generator, dtype=torch.float64)
    gates = (gates > 0.15).double() if binary else 0.5 + gates / 2
    images = torch.randn(2, 1, 32, 32, generator=generator, dtype=torch.float64)
    folded = equations.gated(dict(network.named_parameters()), gates, units.scaled)
    found = functional_call(network, folded, (images,))
    last = {"small_cnn": "features.7", "vgg16_bn": "hidden.2", "resnet18": "layer4.1.conv2"}
    last |= {"resnet50": "layer4.2.conv3", "mobilenet_v2": "features.18.0"}
    ends = [last[name]] if name in last else ["features.12.expand1x1", "features.12.expand3x3"]
    outputs = torch.cat([gates[units.writes[end]] for end in ends])
    expected = gated_at_the_readers(network, gates, images) * outputs
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_what_a_binary_gate_shuts_out_may_change_without_a_bit_of_the_output(name: str) -> None:
    """Weights that are not between two open gates are drawn anew: the network answers the same."""
    network = backbone(name, 0.25).eval().requires_grad_(False)
    units = units_of(network)
    generator = torch.Generator().manual_seed(2)
    gates = (torch.rand(units.count, generator=generator) > 0.15).float()
    images = torch.randn(3, 1, 32, 32, generator=generator)

    def answer() -> Tensor:
        folded = equations.gated(dict(network.named_parameters()), gates, units.scaled)
        return torch.as_tensor(functional_call(network, folded, (images,)))

    before, changed = answer(), 0
    for layer, writes in units.writes.items():
        module = network.get_submodule(layer)
        free = equations.weight_factor(gates, writes, units.reads[layer], module.weight.dim()).expand_as(module.weight)
        changed += int((free == 1).sum())
        module.weight.copy_(torch.where(free == 1, torch.randn(free.shape, generator=generator), module.weight))
        if module.bias is not None:
            module.bias.add_(equations.bias_factor(gates, writes))
    assert changed > 0
    assert before.abs().max() > 0
    assert torch.equal(answer(), before)


# ------------------------------------------------------------------ learning


def test_open_gates_without_regulariser_are_fine_tuning_in_sequence_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, stream: tuple[list[Any], list[Any]]
) -> None:
    from methods.hat.strategy import HardAttention

    settings = dataclasses.replace(HAT.settings.with_epochs(2), sparsity=0.0, clip=None)
    other = make_strategy("finetune-sequential", pretrained=True)
    plain = dataclasses.replace(
        other.settings.with_epochs(2), lr=settings.lr, momentum=settings.momentum, nesterov=False, weight_decay=0.0,
        milestones=settings.milestones,
    )  # fmt: skip
    sequential = make_strategy("finetune-sequential", settings=plain, pretrained=True)
    monkeypatch.setattr(HardAttention, "head_std", sequential.head_std)
    monkeypatch.setattr(HardAttention, "used", lambda self: torch.zeros(self.units.count))
    monkeypatch.setattr(equations, "gates_of", lambda embedding, scale: torch.ones_like(embedding))
    strategy = make_strategy("hat", settings=settings, pretrained=True)
    start = {name: item.clone() for name, item in strategy.view.backbone.state_dict().items()}
    monkeypatch.setattr(equations, "finished_gates", lambda embedding, *rest: torch.ones_like(embedding))
    for experience in stream[0][:2]:
        learn(strategy, [experience])
        learn(sequential, [experience])
    end = sequential.view.backbone.state_dict()
    assert not torch.equal(end["conv2.weight"], start["conv2.weight"])
    for name, tensor in strategy.view.backbone.state_dict().items():
        assert torch.equal(tensor, end[name]), name
    assert torch.equal(strategy.logits(1, stream[1][1]), sequential.logits(1, stream[1][1]))


def test_where_every_unit_is_in_use_no_weight_moves(
    monkeypatch: pytest.MonkeyPatch, stream: tuple[list[Any], list[Any]]
) -> None:
    settings = dataclasses.replace(HAT.settings.with_epochs(2), weight_decay=0.1)
    strategy = make_strategy("hat", settings=settings)
    learn(strategy, stream[0][:1])
    monkeypatch.setattr(type(strategy), "used", lambda self: torch.ones(self.units.count))
    layers = [f"{layer}.{kind}" for layer in strategy.units.writes for kind in ("weight", "bias")]
    before = {name: item.clone() for name, item in strategy.view.backbone.state_dict().items()}
    learn(strategy, stream[0][1:2])
    after = strategy.view.backbone.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in layers if name in before)
    assert not torch.equal(after["bn1.weight"], before["bn1.weight"]), "BN is the task's own"


def test_a_step_has_the_regulariser_and_the_gradients_of_the_equations(stream: tuple[list[Any], list[Any]]) -> None:
    """One step of the second task, gradients against autograd on a network that is gated by the equations alone."""
    strategy = make_strategy("hat", epochs=1)
    learn(strategy, stream[0][:1])
    seen: dict[str, Any] = {}
    correct = strategy._correct_gradients

    def noting() -> None:
        if not seen:
            current = {name: item.detach().clone() for name, item in strategy.current.items()}
            raw = {name: item.grad.clone() for name, item in strategy.current.items() if item.grad is not None}
            seen.update(current=current, raw=raw, scale=strategy._scale, loss=float(strategy.loss.detach()))
            seen.update(logits=strategy.mb_output.detach(), labels=strategy.mb_y)
            correct()
            seen["corrected"] = {name: strategy.current[name].grad.clone() for name in raw}
        else:
            correct()

    strategy._correct_gradients = noting
    before = strategy.used()
    assert 0 < before.sum() < len(before)
    learn(strategy, stream[0][1:2])
    embedding = seen["current"]["embedding"]
    assert seen["scale"] == 1 / LARGEST
    gates = torch.sigmoid(embedding / LARGEST)
    free = 1 - before
    expected = nn.functional.cross_entropy(seen["logits"], seen["labels"]) + 0.75 * (gates * free).sum() / free.sum()
    assert seen["loss"] == pytest.approx(float(expected), abs=1e-6)
    raw, corrected = seen["raw"], seen["corrected"]
    first, second = before[strategy.units.writes["conv1"]], before[strategy.units.writes["conv2"]]
    factor = torch.tensor([[1 - min(float(i), float(j)) for j in first] for i in second])
    assert torch.equal(corrected["override.conv2.weight"], raw["override.conv2.weight"] * factor[:, :, None, None])
    assert torch.equal(
        corrected["override.conv1.weight"], raw["override.conv1.weight"] * (1 - first)[:, None, None, None]
    )
    hidden = before[strategy.units.writes["hidden"]]
    assert torch.equal(corrected["override.hidden.bias"], raw["override.hidden.bias"] * (1 - hidden))
    assert torch.equal(corrected["override.bn1.weight"], raw["override.bn1.weight"])
    assert torch.equal(corrected["head.weight"], raw["head.weight"])
    inner = (torch.cosh(embedding / LARGEST) + 1) / (torch.cosh(embedding) + 1)
    torch.testing.assert_close(corrected["embedding"], raw["embedding"] * LARGEST * LARGEST * inner)


def test_embeddings_stay_within_their_bound(stream: tuple[list[Any], list[Any]]) -> None:
    settings = dataclasses.replace(HAT.settings.with_epochs(4), sparsity=100.0, gate_rate=200.0)
    strategy = make_strategy("hat", settings=settings)
    largest: list[float] = []
    original = strategy.training_tensors

    def noting() -> dict[str, Tensor]:
        largest.append(float(strategy.current["embedding"].detach().abs().max()))
        return dict(original())

    strategy.training_tensors = noting
    learn(strategy, stream[0][:1])
    assert max(largest) == 6
    assert strategy.used().sum() == 0, "the regulariser shuts every gate"


NETWORKS = {
    "small_cnn": lambda: backbone("small_cnn", 0.25),
    "resnet18": lambda: backbone("resnet18"),
    "squeezenet1_1": lambda: Enlarged(backbone("squeezenet1_1", 0.25)),
    "mobilenet_v2_expanded": lambda: backbone("mobilenet_v2_expanded", 0.125),
}


@pytest.mark.parametrize("policy", ["per-task", "frozen"])
@pytest.mark.parametrize(
    ("network", "pretrained"),
    [("small_cnn", False), ("resnet18", False), ("squeezenet1_1", True), ("mobilenet_v2_expanded", True)],
)
def test_nothing_is_forgotten_and_everything_comes_back_on_every_kind_of_network(
    network: str, pretrained: bool, policy: str, stream: tuple[list[Any], list[Any]]
) -> None:
    experiences, test = stream
    settings = dataclasses.replace(HAT.settings.with_epochs(3), weight_decay=1e-3)
    made = {"backbone": NETWORKS[network](), "settings": settings, "bn_policy": policy, "pretrained": pretrained}
    strategy = make_strategy("hat", **made)
    answers, weights = [], []
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        answers.append(strategy.logits(label, test[label]))
        weights.append({name: item.clone() for name, item in strategy.view.backbone.state_dict().items()})
    layer = next(iter(strategy.units.writes))
    assert not torch.equal(weights[0][f"{layer}.weight"], weights[1][f"{layer}.weight"])
    assert 0 < strategy.measures()["units_used"] <= 1
    assert strategy.measures()["weight_drift"] == 0
    shared = tensors_of(strategy.stored_shared())
    for label, expected in enumerate(answers):
        assert torch.equal(strategy.logits(label, test[label]), expected), f"task {label} was forgotten"
        kept = tensors_of(strategy.learned[label])
        fresh = make_strategy("hat", **made)
        restored = equations.gated_network(shared, kept, None)
        own = {name.removeprefix("backbone."): item for name, item in shared.items() if name.startswith("backbone.")}
        fresh.view.backbone.load_state_dict(own | restored, strict=False)
        fresh.view.activate({}, kept["head.weight"], kept["head.bias"])
        fresh.view.eval()
        with torch.no_grad():
            again = torch.cat([fresh.view(batch) for batch, _ in test[label].evaluation_batches(100)])
        assert torch.equal(again, expected), f"task {label} comes back otherwise"


def test_a_task_stores_a_bit_for_each_unit_and_counts_what_it_uses(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("hat")
    learn(strategy, stream[0][:2])
    count = 4 + 8 + 8 + 6
    kept = strategy.learned[1]
    assert kept["gates.bits"].numbers == count
    assert kept["gates.bits"].width == 1
    assert len(kept["gates.bits"].tensor) == 4
    assert not any(name.startswith("override.conv") for name in kept)
    rows = strategy.mask_statistics()
    assert [row.layer for row in rows[:4]] == ["conv1.weight", "conv2.weight", "conv3.weight", "hidden.weight"]
    assert [row.units for row in rows] == [4, 8, 8, 6] * 2
    used = torch.stack([equations.stored_gates(tensors_of(parts), count) for parts in strategy.learned.values()])
    assert [sum(row.ones for row in rows if row.task == label) for label in (0, 1)] == used.sum(1).int().tolist()
    assert strategy.measures()["units_used"] == pytest.approx(float(used.amax(0).mean()))


def test_gates_of_the_original_drift_and_say_by_how_much(stream: tuple[list[Any], list[Any]], tmp_path: Path) -> None:
    experiences, test = stream
    settings = dataclasses.replace(HAT.settings.with_epochs(4), binarise=False, scale=20.0)
    strategy = make_strategy("hat", settings=settings)
    learn(strategy, experiences[:1])
    before = strategy.logits(0, test[0])
    assert strategy.measures()["weight_drift"] == 0
    learn(strategy, experiences[1:])
    moved = (strategy.logits(0, test[0]) - before).abs().max()
    assert moved > 0
    assert 0 < strategy.measures()["weight_drift"] < 1
    kept = strategy.learned[0]["gates.values"]
    assert (kept.width, kept.numbers) == (32, 26)
    drift = strategy.training_state()["shared.drift"]
    again = make_strategy("hat", settings=settings)
    again.load_shared({name.removeprefix("shared."): item for name, item in strategy.training_state().items()})
    assert torch.equal(again._drift, drift)


def test_a_run_with_the_originals_gates_promises_nothing_and_finishes(tmp_path: Path) -> None:
    spec = small_spec("hat", overrides={"hat.binarise": False, "hat.scale": 20.0})
    record, _ = run_here(spec, small_options(tmp_path))
    assert record.finished, record.error
    assert record.method["no_forgetting"] is False
    assert HAT.facts()["no_forgetting"] is True
    assert any(row.soft for row in record.mask_statistics)


def test_biases_of_layers_without_bn_are_shared_and_protected() -> None:
    units = units_of(tiny_net())
    assert set(units.scaled) == {"bn1", "bn2", "conv3", "hidden"}
