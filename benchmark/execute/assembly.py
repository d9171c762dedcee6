"""What a run is put together from: tasks on the device, the backbone, the strategy; and the device made ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmark.backbones.builder import build
from benchmark.backbones.weights import load_weights
from benchmark.execute.tensors import PreparedTask, experiences, fits, prepare
from benchmark.plan.execution import RunOptions
from benchmark.plan.planning import augmentation_of
from benchmark.plan.run_parts import Inputs
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Task, silent
from benchmark.scenarios.loader import load_scenario
from methods.card import AS_GIVEN, FROM_SCRATCH
from methods.engine.backbones import INITIAL
from methods.engine.network import TaskView
from methods.engine.streams import Streams
from methods.registry import METHODS
from results.schema import TASK_1_SETTINGS

WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Material:
    """A run's tasks by their 1-based index in the scenario: tensors, and what Avalanche sees of them."""

    tasks: dict[int, PreparedTask]
    experiences: dict[int, Any]
    inputs: tuple[Inputs, ...]  #: what the network sees of each task, in the order of learning
    fingerprint: str
    resident: bool  #: the images live on the device, see ``benchmark.execute.tensors.fits``


def material(spec: RunSpec, options: RunOptions, device: torch.device) -> Material:
    """Read the data and put them on the device. Raises RequestError: not there, or not as they should be."""
    scenario = load_scenario(options.scenario_source, spec.backbone.name, spec.synthetic)
    data = scenario.read(options.data_root, sorted(spec.task_indices), silent)
    resident = fits(data.tasks, device, options.workers)
    tasks = {task.index: prepare(spec, task, device, resident=resident) for task in data.tasks}
    seen = {task.index: inputs_of(spec, task) for task in data.tasks}
    inputs = tuple(seen[index] for index in spec.task_indices)
    learnable = dict(zip(tasks, experiences(list(tasks.values())), strict=True))
    return Material(tasks, learnable, inputs, data.sha256, resident)


def inputs_of(spec: RunSpec, task: Task) -> Inputs:
    """How a run's network sees a task's images."""
    resize = f"{task.resize}, whole" if task.whole else task.resize
    return Inputs(task.name, resize, task.mean, task.std, augmentation_of(spec, task.augmentation))


def backbone_of(spec: RunSpec, options: RunOptions) -> nn.Module:
    """A freshly initialised backbone (from torch's global generator), or the pretrained one; scratch has none."""
    chosen = spec.backbone
    backbone = build(chosen.name, width=chosen.width, channels=chosen.channels)
    if options.weights and METHODS[spec.method].reference != FROM_SCRATCH:
        load_weights(backbone, options.weights)
    return backbone


def strategy_of(
    spec: RunSpec,
    make_backbone: Callable[[], nn.Module],
    device: torch.device,
    goal_for: Callable[[Any], float | None],
    networks: Any = None,
    **hooks: Any,
) -> Any:
    """The method, ready for its first task.

    Args:
        goal_for: gives CPG its accuracy goals.
        networks: of a finished run, where the method starts from those (``methods.engine.merging.TaskNetworks``).
        hooks: ``phase``, ``listener`` and ``checkpoint`` of ``methods.engine.task_strategy.TaskStrategy``.
    """
    from avalanche.training.plugins import EvaluationPlugin

    card = METHODS[spec.method]
    extra: dict[str, Any] = {}
    if (mask := spec.mask) is not None:
        extra["mask"] = mask
    if card.needs.task1_network:
        extra[TASK_1_SETTINGS] = spec.scratch
    if card.needs.fresh_backbone:
        extra["make_backbone"] = make_backbone
    if card.needs.goal:
        extra["goal_for"] = goal_for
    if card.needs.networks_of is not None:
        extra["networks"] = networks
    if own := {
        index - 1: knobs
        for index, name in zip(spec.task_indices, spec.task_names, strict=True)
        if (knobs := spec.of_task(name, "settings"))
    }:
        extra["task_settings"] = own
    with Streams(spec.seed).initialising(spec.initial_task - 1):
        backbone = make_backbone()
    INITIAL[card.needs.backbone](backbone, Streams(spec.seed).generator("backbone", 0, torch.device("cpu")))
    return card.load()(
        backbone=backbone,
        settings=spec.settings,
        bn_policy=spec.bn_policy,
        seed=spec.seed,
        task_count=len(spec.task_indices),
        pretrained=spec.backbone.pretrained or card.needs.backbone != AS_GIVEN,
        train_mb_size=spec.protocol.batch_size,
        eval_mb_size=spec.protocol.eval_batch_size,
        device=device,
        evaluator=EvaluationPlugin(),
        precision=spec.precision,
        compile_backbone=spec.compile == "backbone",
        **hooks,
        **extra,
    )


def warm_up(spec: RunSpec, view: TaskView, prepared: PreparedTask, device: torch.device) -> None:
    """A few steps on random labels: first-use and compile costs fall here, not into the first task.

    They go through copies of all tensors, so the backbone keeps its bytes, and torch's generators their state.
    """
    count = min(spec.protocol.batch_size, len(prepared.images.train))
    images, _ = next(prepared.images.train.evaluation_batches(count))
    copies = {name: tensor.clone().requires_grad_() for name, tensor in view.backbone.named_parameters()}
    copies |= {name: tensor.clone() for name, tensor in view.backbone.named_buffers()}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        width: Any = view.backbone.feature_dim
        head = torch.zeros(2, width, device=device)
        labels = torch.randint(2, (len(images),), device=device)
        view.activate(copies, head, head[:, 0])
        for _ in range(WARM_UP_STEPS):
            view.train()
            loss: Any = nn.functional.cross_entropy(view(images), labels)
            loss.backward()
            view.eval()
            with torch.no_grad():
                view(images)
        view.activate({}, head, head[:, 0])  # the copies and their gradients are not needed any more


@contextmanager
def precision_of(spec: RunSpec) -> Iterator[None]:
    """TensorFloat-32 on where asked for, off otherwise; the process's settings are put back."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = spec.precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
