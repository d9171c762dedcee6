"""The training loop waits for the device at the end of a pass only, and calls only plugins that listen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.backbones.builder import build
from methods.engine.augment import Augmenting
from methods.engine.pruning import threshold_by_sorting
from methods.engine.state import LearningTask, PhaseResult, Plan
from methods.engine.tensor_data import TaskImages, TensorImages
from methods.engine.trainer import Tally
from methods.registry import METHODS

BATCH = 8

#: operations whose result the host waits for, or whose output size does
SYNCHRONISING = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten._unique2",
    "aten.is_nonzero",
    "aten.equal",
    "aten.bincount",
)


class _Counter(TorchDispatchMode):
    """Counts synchronising operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket._qualified_op_name.replace("::", ".")
        indexed_by_bool = name == "aten.index" and any(
            item is not None and item.dtype in (torch.bool, torch.uint8) for item in args[1]
        )
        if name in SYNCHRONISING or indexed_by_bool:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


class _Captured(Exception):
    plan: Plan


def _images(steps: int, device: str = "cpu") -> TensorImages:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (steps * BATCH, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.randint(3, (steps * BATCH,), generator=generator)
    augmenting = Augmenting(8, crop_padding=1, flip=True, cutout=2)
    return TensorImages(images.to(device), labels.to(device), (0.5,) * 3, (0.5,) * 3, augmenting)


def _ready(
    method: str, steps: int, device: str = "cpu", phase: str = "", **arguments: Any
) -> tuple[Any, LearningTask, Plan]:
    """A strategy that has begun a task on a finished backbone, and the plan of its first phase with such a name."""
    info = METHODS[method]
    extra = {"mask": info.mask} if info.mask else {}
    torch.manual_seed(0)
    strategy = info.load()(
        backbone=build("small_cnn", width=0.25),
        settings=info.settings.with_epochs(10),
        bn_policy=info.bn_policy,
        task_count=3,
        pretrained=True,
        train_mb_size=BATCH,
        device=device,
        evaluator=None,
        **extra,
        **arguments,
    )

    fit = strategy.fit

    def capture(task: LearningTask, key: str, make_plan: Any) -> PhaseResult:
        if not key.startswith(phase):
            return fit(task, key, make_plan)  # type: ignore[no-any-return]
        captured = _Captured()
        captured.plan = make_plan()
        raise captured

    strategy.fit = capture
    task = LearningTask(0, 1, 3, TaskImages(_images(steps, device)))
    with pytest.raises(_Captured) as caught:
        strategy.learn_task(task)
    return strategy, task, caught.value.plan


def _synchronisations(method: str, steps: int, phase: str = "") -> list[str]:
    strategy, task, plan = _ready(method, steps, phase=phase)
    with _Counter() as counter:
        strategy.trainer.one_pass(task, plan, 0, strategy.trainer.events())
    return counter.found


@pytest.mark.parametrize("method", [name for name, card in METHODS.items() if card.needs.networks_of is None])
def test_loop_synchronises_as_often_for_many_steps_as_for_few(method: str) -> None:
    # twice a pass: its loss and its right answers
    assert _synchronisations(method, 2) == _synchronisations(method, 7) == ["aten._local_scalar_dense"] * 2


@pytest.mark.parametrize(
    ("method", "phase"), [("packnet", "retrain"), ("cpg", "prune"), ("cpg", "retrain"), ("xma2", "tier 2")]
)
def test_loop_of_later_phases_synchronises_no_more_often(
    method: str, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the thresholds as a GPU finds them; in ten epochs CPG cuts after every step of its prune phase
    monkeypatch.setattr("methods.engine.pruning.threshold_by_selection", threshold_by_sorting)
    assert _synchronisations(method, 2, phase) == _synchronisations(method, 7, phase)
    assert set(_synchronisations(method, 2, phase)) == {"aten._local_scalar_dense"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: the CPU's counter above stands in")
@pytest.mark.parametrize("method", ["finetune", "ksm", "piggyback", "packnet", "cpg"])
def test_loop_on_a_gpu_never_waits_between_two_steps(method: str) -> None:
    strategy, task, plan = _ready(method, 4, "cuda")
    events = strategy.trainer.events()
    strategy.trainer.one_pass(task, plan, 0, events)
    read = Tally.result

    def allowed(self: Tally) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        return read(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tally, "result", allowed)
        torch.cuda.set_sync_debug_mode("error")
        try:
            strategy.trainer.one_pass(task, plan, 0, events)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_loop_counter_sees_what_it_must() -> None:
    with _Counter() as counter:
        tensor = torch.arange(3.0)
        tensor.sum().item()
        tensor[tensor > 1]
    assert counter.found[0] == "aten._local_scalar_dense"
    assert "aten.index" in counter.found


def test_tally_adds_up_over_blocks() -> None:
    tally = Tally(torch.device("cpu"))
    steps = Tally.BLOCK + 2
    for step in range(steps):
        size = 2 if step else 3
        right = torch.nn.functional.one_hot(torch.zeros(size, dtype=torch.int64), 2).float()
        tally.add(torch.tensor(float(step)), right, torch.tensor([0, 1, 1][:size]))
    result = tally.result()
    images = 2 * steps + 1
    assert (result.steps, result.images) == (steps, images)
    assert result.accuracy == pytest.approx(steps / images)  # one image of each batch is of class 0
    assert result.loss == pytest.approx(2 * sum(range(steps)) / images)  # the batch of three has loss 0


def test_tally_of_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="no training images"):
        Tally(torch.device("cpu")).result()


def test_loop_calls_only_plugins_that_override_a_callback() -> None:
    from avalanche.core import SupervisedPlugin

    class Listener(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.heard = 0

        def after_update(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self.heard += 1

    listener = Listener()
    strategy, task, plan = _ready("ksm", 3, plugins=[SupervisedPlugin(), listener])
    events = strategy.trainer.events()
    strategy.trainer.one_pass(task, plan, 0, events)
    assert listener.heard == 3
    assert [getattr(callback, "__self__", None) for callback in events.callbacks("after_update")] == [listener]
    assert events.callbacks("before_forward") == []


def test_backbone_has_its_own_tensors_between_two_steps() -> None:
    strategy, task, plan = _ready("ksm", 2)
    backbone = strategy.view.backbone
    before = {name: (id(tensor), tensor.clone()) for name, tensor in backbone.named_parameters()}
    state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    strategy.trainer.one_pass(task, plan, 0, strategy.trainer.events())
    assert {name: id(tensor) for name, tensor in backbone.named_parameters()} == {
        name: number for name, (number, _) in before.items()
    }
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbone.state_dict().items())


def test_backbone_gets_its_tensors_back_when_the_forward_pass_fails() -> None:
    strategy, _, _ = _ready("ksm", 2)
    view = strategy.view
    weight = view.backbone.features[0].weight
    view.activate(strategy.training_tensors(), torch.zeros(3, 16), torch.zeros(3))
    with pytest.raises(RuntimeError):
        view(torch.zeros(2, 5, 8, 8))  # five channels where the first convolution takes three
    assert view.backbone.features[0].weight is weight


def test_replacing_an_unknown_tensor_is_refused() -> None:
    strategy, _, _ = _ready("ksm", 2)
    strategy.view.activate({"features.0.wieght": torch.zeros(1)}, torch.zeros(3, 16), torch.zeros(3))
    with pytest.raises(KeyError, match="wieght"):
        strategy.view(torch.zeros(2, 3, 8, 8))
