"""Backbones and scripts that other people bring: nothing forgets silently, nothing is ignored silently."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_net, tiny_stream
from torch import Tensor, nn

from methods.engine.avalanche_plugins import PluginLeftOut
from methods.engine.layers import UnmaskedWeights, unmasked_weights, weight_layers
from methods.engine.layout import layout_of
from methods.registry import METHODS

#: methods that follow a network's units, and so refuse a layer that they do not know
OF_KNOWN_LAYERS = ["hat"]
UNFORGETTING = [name for name, card in METHODS.items() if card.promises.no_forgetting and name not in OF_KNOWN_LAYERS]
METHODS_OF_EACH_KIND = ["finetune", "packnet", "cpg", "ksm"]


@pytest.fixture(scope="module")
def stream() -> tuple[list[Any], list[Any]]:
    return tiny_stream(3)


class Norm(nn.Module):
    """A running mean, kept in one of the ways that are seen: a buffer written in place, a buffer that is replaced, or a
    tensor in a plain attribute that is replaced."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
        if kind == "attribute":
            self.mean = torch.zeros(1, 4, 1, 1)
        else:
            self.register_buffer("mean", torch.zeros(1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            found = images.detach().mean((0, 2, 3), keepdim=True)
            if self.kind == "in place":
                self.mean.lerp_(found, 0.2)
            else:
                self.mean = self.mean + 0.2 * (found - self.mean)
        return (images - self.mean) * self.scale


class WritesAlways(nn.Module):
    """Counts the batches that it has seen, evaluation included, and lets it be seen; a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        self.seen += 1
        return images * (1 + 0.01 * self.seen)


class Net(nn.Module):
    """A convolution, some layer, a convolution: 1 channel in, six features out."""

    feature_dim = 6

    def __init__(self, *between: nn.Module, second: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.between = nn.Sequential(*between)
        self.second = nn.Conv2d(4, 6, 3, padding=1) if second is None else second

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.between(self.first(images))))).mean((2, 3))


def net(*between: nn.Module, second: nn.Module | None = None) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(*between, second=second)


@pytest.mark.parametrize("policy", ["frozen", "per-task"])
@pytest.mark.parametrize("kind", ["in place", "replaced", "attribute"])
@pytest.mark.parametrize("name", UNFORGETTING)
def test_state_that_a_layer_writes_in_training_belongs_to_the_task(
    name: str, kind: str, policy: str, stream: tuple[list[Any], list[Any]]
) -> None:
    experiences, test = stream
    strategy = make_strategy(name, epochs=2, backbone=net(Norm(kind), nn.BatchNorm2d(4)), bn_policy=policy)
    before = []
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        before.append(strategy.logits(label, test[label]))
    assert all(torch.equal(strategy.logits(label, test[label]), logits) for label, logits in enumerate(before))
    own = [key for key in strategy.learned[2] if key.endswith(".mean")]
    if policy == "per-task" and METHODS[name].needs.task1_network:
        assert own == ["override.between.0.mean"]  # it trained, so the task has its own
    assert strategy.view.backbone.between[0].mean.abs().sum() > 0 or not METHODS[name].needs.task1_network


@pytest.mark.parametrize("name", ["ksm", "head-only"])
def test_a_buffer_that_did_not_change_is_not_stored(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    constant = nn.Module()
    constant.register_buffer("table", torch.arange(3.0))
    constant.forward = lambda images: images  # type: ignore[method-assign]
    strategy = make_strategy(name, epochs=1, backbone=net(constant))
    learn(strategy, stream[0][:2])
    assert not [key for key in strategy.learned[1] if "table" in key]


@pytest.mark.parametrize("name", ["ksm", "finetune", "packnet", "finetune-sequential"])
def test_a_buffer_that_evaluation_writes_and_nobody_saves(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    experiences, test = stream
    strategy = make_strategy(name, epochs=2, backbone=net(WritesAlways()))
    learn(strategy, experiences[:1])
    before = strategy.logits(0, test[0])
    assert torch.equal(strategy.logits(0, test[0]), before)  # looking changes nothing
    assert (
        strategy.view.backbone.between[0].seen == 12 or name == "packnet"
    )  # two epochs: five batches, and one to select on
    learn(strategy, experiences[1:])
    if name != "finetune-sequential":
        assert torch.equal(strategy.logits(0, test[0]), before)


def test_state_that_no_task_can_have_for_itself_is_refused() -> None:
    class Listed(nn.Identity):
        def __init__(self) -> None:
            super().__init__()
            self.history = [torch.zeros(3)]

    with pytest.raises(ValueError, match=r"between\.0\.history holds tensors in a list"):
        make_strategy("ksm", backbone=net(Listed()))

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", None)

        def forward(self, images: Tensor) -> Tensor:
            if self.mean is None:
                self.mean = images.detach().mean()
            return images - self.mean

    experiences, _ = tiny_stream(1)
    with pytest.raises(ValueError, match=r"made between\.0\.mean in its first pass"):
        learn(make_strategy("ksm", epochs=1, backbone=net(Late())), experiences)

    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            self.seen = torch.cat([self.seen, self.seen[:1]])
            return images

    with pytest.raises(ValueError, match="changes the shape of its state"):
        learn(make_strategy("ksm", epochs=1, backbone=net(Growing())), experiences)


def test_a_task_that_was_given_up_leaves_nothing_to_the_next(stream: tuple[list[Any], list[Any]]) -> None:
    experiences, test = stream
    interrupted, calm = make_strategy("cpg", epochs=2), make_strategy("cpg", epochs=2)
    learn(interrupted, experiences[:1])
    learn(calm, experiences[:1])

    def stop(report: Any) -> None:
        if report.key == "retrain":
            raise KeyboardInterrupt

    before = interrupted.snapshot() | {"owner": interrupted.owner.clone()}
    interrupted.listener = stop
    with pytest.raises(KeyboardInterrupt):
        learn(interrupted, experiences[1:2])
    interrupted.listener = None
    with torch.no_grad():  # its shared weights are as the aborted task left them; only the state is looked at here
        interrupted.weights.copy_(before["weights"])
        interrupted.owner.copy_(before["owner"])
    learn(interrupted, experiences[2:])
    learn(calm, experiences[2:])
    assert torch.equal(interrupted.logits(2, test[2]), calm.logits(2, test[2]))


def test_buffers_of_other_types_are_sized_by_their_own_bits(stream: tuple[list[Any], list[Any]]) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(3, dtype=torch.int64))

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                self.seen += 1
            return images

    strategy = make_strategy("head-only", epochs=1, backbone=net(Counts()), bn_policy="per-task")
    learn(strategy, stream[0][:2])
    (item,) = [item for item in strategy.storage() if item.task == 1 and item.dtype == "int64"]
    assert (item.count, item.bits) == (3, 64)


def test_spectral_normalisations_vectors_belong_to_the_task(stream: tuple[list[Any], list[Any]]) -> None:
    normed = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 6, 3, padding=1))
    strategy = make_strategy("finetune", epochs=2, backbone=net(second=normed))
    learn(strategy, stream[0][:1])
    before = strategy.logits(0, stream[1][0])
    learn(strategy, stream[0][1:])
    assert torch.equal(strategy.logits(0, stream[1][0]), before)


# ------------------------------------------------------------------ layers that are masked, and those that are not


def tied() -> Net:
    first, second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    second.weight = first.weight
    return net(first, second)


@pytest.mark.parametrize("name", METHODS_OF_EACH_KIND)
def test_a_weight_of_two_layers_is_masked_once(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    experiences, test = stream
    strategy = make_strategy(name, epochs=3, backbone=tied())
    if strategy.layout is not None:
        assert sorted(strategy.layout.names) == ["between.0.weight", "first.weight", "second.weight"]
        assert strategy.layout.elements == 36 + 144 + 216
    learn(strategy, experiences[:1])
    before = strategy.logits(0, test[0])
    learn(strategy, experiences[1:])
    assert torch.equal(strategy.logits(0, test[0]), before)


@pytest.mark.parametrize(
    "made",
    [
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3, padding=1)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 6, 3, padding=1)),
        lambda: nn.utils.parametrizations.orthogonal(nn.Conv2d(4, 6, 3, padding=1)),
    ],
)
@pytest.mark.parametrize("name", ["ksm", "piggyback", "packnet", "cpg"])
def test_a_computed_weight_is_refused_by_the_layers_name(name: str, made: Any) -> None:
    with pytest.raises(ValueError, match="the weight of second is worked out from other tensors"):
        make_strategy(name, backbone=net(second=made()))


@pytest.mark.parametrize("name", METHODS_OF_EACH_KIND)
def test_weights_of_hooks_and_lazy_layers_are_refused_at_construction(name: str) -> None:
    import torch.nn.utils.prune as prune

    pruned = prune.l1_unstructured(nn.Conv2d(4, 6, 3, padding=1), "weight", 0.5)
    with pytest.raises(ValueError, match=r"second\.weight is computed from other tensors by a hook"):
        make_strategy(name, backbone=net(second=pruned))
    with pytest.raises(ValueError, match=r"second\.weight has no shape yet"):
        make_strategy(name, backbone=net(second=nn.LazyConv2d(6, 3, padding=1)))


def test_unmasked_layers_of_a_mixed_network_are_named() -> None:
    mixed = net(nn.ConvTranspose2d(4, 4, 3, padding=1))
    with pytest.warns(UnmaskedWeights, match=r"between\.0\.weight; they stay as the backbone has them"):
        make_strategy("ksm", backbone=mixed)
    with pytest.warns(UnmaskedWeights, match="every task keeps its own"):
        make_strategy("packnet", backbone=mixed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnmaskedWeights)
        make_strategy("ksm")  # every weight of the tiny net is masked; BN and biases are not meant


def test_a_network_without_any_layer_to_mask_says_what_it_has() -> None:
    body = nn.Sequential(nn.Flatten(2), nn.Conv1d(1, 6, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    body.feature_dim = 6  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"no convolution or linear layer to mask; 1\.weight"):
        make_strategy("ksm", backbone=body)


class TinyViT(nn.Module):
    """A vision transformer of two blocks on 6 x 6 images in patches of 3."""

    feature_dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 12, 3, stride=3)
        self.position = nn.Parameter(torch.zeros(1, 4, 12))
        layer = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(12)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        return self.norm(self.blocks(tokens)).mean(1)


@pytest.mark.parametrize("name", METHODS_OF_EACH_KIND)
def test_a_vision_transformer_gets_masks_where_it_has_linear_layers(
    name: str, stream: tuple[list[Any], list[Any]]
) -> None:
    torch.manual_seed(0)
    vit = TinyViT()
    layers = [layer for layer, _ in weight_layers(vit)]
    assert "blocks.layers.0.self_attn.out_proj.weight" in layers and "blocks.layers.1.linear2.weight" in layers
    assert unmasked_weights(vit, layers) == [
        "position", "blocks.layers.0.self_attn.in_proj_weight", "blocks.layers.1.self_attn.in_proj_weight",
    ]  # fmt: skip
    experiences, test = stream
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnmaskedWeights)
        strategy = make_strategy(name, epochs=3, backbone=vit)
    before = []
    for label, experience in enumerate(experiences):
        learn(strategy, [experience])
        before.append(strategy.logits(label, test[label]))
    assert all(torch.equal(strategy.logits(label, test[label]), logits) for label, logits in enumerate(before))
    if name == "ksm":
        counts = [row for row in strategy.mask_statistics() if row.task == 2]
        assert sum(row.ones for row in counts) < sum(row.units for row in counts) == layout_of(vit, "kernel").units


# ------------------------------------------------------------------ in a script of one's own


@pytest.mark.parametrize("name", METHODS)
def test_state_dict_of_the_model_is_all_that_was_learned(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    experiences, test = stream
    strategy = make_strategy(name, epochs=2)
    learn(strategy, experiences[:2])
    fresh = make_strategy(name, epochs=2, backbone=tiny_net(5))
    fresh.model.load_state_dict(copy.deepcopy(strategy.model.state_dict()))
    for label in (0, 1):
        assert torch.equal(fresh.logits(label, test[label]), strategy.logits(label, test[label]))
    assert fresh.storage() == strategy.storage()
    learn(fresh, experiences[2:])  # and it goes on from there
    learn(strategy, experiences[2:])
    assert torch.equal(fresh.logits(2, test[2]), strategy.logits(2, test[2]))


def test_state_dict_of_another_method_is_refused(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("packnet", epochs=1)
    learn(strategy, stream[0][:1])
    with pytest.raises(ValueError, match="the state is of packnet or of other masks, the strategy is ksm"):
        make_strategy("ksm", epochs=1).model.load_state_dict(strategy.model.state_dict())
    masked = make_strategy("ksm", epochs=1)
    learn(masked, stream[0][:2])
    with pytest.raises(ValueError, match="the strategy is piggyback"):
        make_strategy("piggyback", epochs=1).model.load_state_dict(masked.model.state_dict())
    nameless = {name: item for name, item in masked.model.state_dict().items() if name != "about"}
    with pytest.raises(ValueError, match="no method that says its name"):
        masked.model.load_state_dict(nameless)
    assert list(masked.learned) == [0, 1]


def test_a_state_put_back_can_learn_the_task_again_that_it_lacks(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("ksm", epochs=2)
    learn(strategy, stream[0][:1])
    after_one = copy.deepcopy(strategy.model.state_dict())
    learn(strategy, stream[0][1:2])
    expected = strategy.logits(1, stream[1][1])
    strategy.model.load_state_dict(after_one)
    assert list(strategy.learned) == [0]
    learn(strategy, stream[0][1:2])
    assert torch.equal(strategy.logits(1, stream[1][1]), expected)


@pytest.mark.parametrize("name", METHODS_OF_EACH_KIND)
def test_a_copy_of_the_model_is_the_network_as_it_looks(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy(name, epochs=2)
    learn(strategy, stream[0][:2])
    expected = strategy.logits(1, stream[1][1])
    copied = copy.deepcopy(strategy.model)
    strategy.look_at(0)
    with torch.no_grad():
        again = torch.cat([copied(batch) for batch, _ in stream[1][1].evaluation_batches(100)])
    assert torch.equal(again, expected)


@pytest.mark.parametrize("name", ["finetune", "scratch", "packnet", "cpg"])
def test_parameters_that_the_backbone_has_frozen_stay(name: str, stream: tuple[list[Any], list[Any]]) -> None:
    backbone = tiny_net()
    backbone.conv1.requires_grad_(False)
    backbone.bn1.bias.requires_grad_(False)
    strategy = make_strategy(name, epochs=2, backbone=backbone)
    learn(strategy, stream[0][:2])
    strategy.look_at(1)
    seen = strategy.view._replaced
    for key, own in (("conv1.weight", backbone.conv1.weight), ("bn1.bias", backbone.bn1.bias)):
        assert torch.equal(seen.get(key, strategy.view.backbone.get_parameter(key)), own)
    assert not torch.equal(seen["conv2.weight"], backbone.conv2.weight)


def test_early_stopping_keeps_the_best_and_trains_no_further() -> None:
    from avalanche.core import SupervisedPlugin
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EarlyStoppingPlugin, EvaluationPlugin

    class Heard(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.accuracies: list[float] = []
            self.late = 0

        def after_eval(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            found = [value for key, value in strategy.evaluator.get_last_metrics().items() if "Acc_Stream" in key]
            self.accuracies += found[-1:]

        def after_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self.late += strategy._stop_training

    experiences, _ = tiny_stream(1, fast=False)
    heard = Heard()
    strategy = make_strategy(
        "finetune", epochs=40, eval_every=1, plugins=[EarlyStoppingPlugin(2, "train_stream"), heard],
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True)), scratch=None,
    )  # fmt: skip
    strategy.scratch = strategy.scratch.with_epochs(40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy.train(experiences[0], eval_streams=[experiences])
        result = strategy.eval(experiences)
    assert strategy.progress.epochs < 40
    assert heard.late == 0
    assert next(value for key, value in result.items() if "Acc_Stream" in key) == max(heard.accuracies)


def test_a_scripts_scheduler_acts_on_top_of_the_settings(stream: tuple[list[Any], list[Any]]) -> None:
    from avalanche.training.plugins import LRSchedulerPlugin

    rates: list[float] = []
    strategy = make_strategy("head-only", epochs=3, pretrained=True)
    scheduler = torch.optim.lr_scheduler.StepLR(strategy.optimizer, 1, 0.5)
    strategy.plugins.insert(0, LRSchedulerPlugin(scheduler))
    strategy.listener = lambda report: rates.append(strategy.optimizer.param_groups[0]["lr"])
    strategy.settings = strategy.settings.__class__(epochs=3, lr=0.08, schedule="constant")
    learn(strategy, stream[0][:1])
    assert rates == pytest.approx([0.08, 0.04, 0.02])


def test_plugins_that_need_one_model_for_all_tasks_are_left_out_by_name() -> None:
    from avalanche.training.plugins import EWCPlugin, ReplayPlugin

    experiences, _ = tiny_stream(2, fast=False)
    strategy = make_strategy("ksm", epochs=1, plugins=[ReplayPlugin(20), EWCPlugin(1.0)])
    with pytest.warns(PluginLeftOut) as caught:
        learn(strategy, experiences[:1])
    assert [str(item.message).split()[0] for item in caught if item.category is PluginLeftOut] == [
        "ReplayPlugin", "EWCPlugin",
    ]  # fmt: skip
    assert not any(isinstance(plugin, ReplayPlugin | EWCPlugin) for plugin in strategy.plugins)


def test_more_tasks_than_announced_are_refused_before_training(stream: tuple[list[Any], list[Any]]) -> None:
    strategy = make_strategy("packnet", epochs=1, task_count=2)
    learn(strategy, stream[0][:2])
    before = strategy.weights.detach().clone()
    with pytest.raises(ValueError, match="was told of 2 tasks"):
        learn(strategy, stream[0][2:])
    assert torch.equal(strategy.weights.detach(), before)


def test_a_class_that_training_lacks_counts_as_wrong() -> None:
    from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark
    from avalanche.benchmarks.utils import as_classification_dataset
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin
    from torch.utils.data import TensorDataset

    def dataset(classes: int) -> Any:
        labels = torch.arange(30) % classes
        images = torch.zeros(30, 1, 6, 6)
        images[torch.arange(30), 0, labels] = 1.0
        data = TensorDataset(images, labels)
        data.targets = labels.tolist()  # type: ignore[attr-defined]
        return as_classification_dataset(data)

    # without a timeline of classes: they are read off the labels
    built = task_incremental_benchmark(benchmark_from_datasets(train=[dataset(2)], test=[dataset(3)]))
    strategy = make_strategy("finetune", epochs=30, evaluator=EvaluationPlugin(accuracy_metrics(stream=True)))
    for experience in built.streams["train"]:
        strategy.train(experience, eval_streams=[])
    assert strategy.learned[0]["head.weight"].tensor.shape == (2, 6)
    (accuracy,) = [value for key, value in strategy.eval(built.streams["test"]).items() if "Acc_Stream" in key]
    assert accuracy <= 20 / 30


def test_rates_of_masks_and_bn_default_to_lr_and_can_differ(stream: tuple[list[Any], list[Any]]) -> None:
    import dataclasses

    own = {5e-3: 5, 1e-2: 2}  # scores and four tensors of BN at lr; the head's two at its own
    apart = {4e-3: 1, 1e-3: 4, 1e-2: 2}
    for changes, expected in (({}, own), ({"mask_lr": 4e-3, "bn_lr": 1e-3}, apart)):
        plans: list[Any] = []
        strategy = make_strategy("ksm", epochs=1, pretrained=True)
        strategy.settings = dataclasses.replace(strategy.settings, **changes)
        run = strategy.trainer.run
        strategy.trainer.run = lambda task, key, plan, run=run, plans=plans: plans.append(plan) or run(task, key, plan)
        learn(strategy, stream[0][:1])
        assert {group.lr: len(group.tensors) for group in plans[0].optimizers.groups} == expected
