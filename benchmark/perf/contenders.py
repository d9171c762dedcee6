"""Our methods as contenders: the strategy at the start of a task's main phase, one pass over the images at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.perf.workload import Workload
from benchmark.plan.spec import RunSpec
from methods.engine.listeners import Events
from methods.engine.state import LearningTask, PhaseResult, Plan
from methods.engine.task_strategy import TaskStrategy
from methods.engine.tensor_data import TaskImages
from methods.registry import METHODS, reference
from methods.settings import TrainSettings

#: trains one pass over the workload's images
OnePass = Callable[[], object]


class NotAvailable(Exception):
    """A contender cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Contender:
    """Something that trains, ready to be made.

    Attributes:
        name: as the table shows it.
        optimizer: "adam" or "sgd"; ratios are to fine-tuning with the same one.
        kind: "method" or "peer".
        make: builds it for a workload. Raises NotAvailable.
        epochs: epochs that one pass of it really trains.
    """

    name: str
    optimizer: str
    kind: str
    make: Callable[[Workload], OnePass]
    workload: Workload
    epochs: int = 1


class _Ready(Exception):
    """Carries the plan of the first phase out of ``learn``."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


@dataclass
class Session:
    """A strategy that stands at the beginning of its main phase."""

    strategy: TaskStrategy
    task: LearningTask
    plan: Plan
    events: Events

    def __call__(self) -> object:
        """One pass."""
        return self.strategy.trainer.one_pass(self.task, self.plan, 0, self.events)


def session(workload: Workload) -> Session:
    """The spec's method on a finished backbone, a task begun, ready to train.

    PackNet and CPG stand at their second task: half of the backbone is another task's.
    """
    spec = workload.spec
    card = METHODS[spec.method]
    extra: dict[str, Any] = {}
    if (mask := spec.mask) is not None:
        extra["mask"] = mask
    from avalanche.training.plugins import EvaluationPlugin

    strategy: TaskStrategy = card.load()(
        backbone=workload.backbone(),
        settings=spec.settings,
        bn_policy=spec.bn_policy,
        task_count=20,
        pretrained=True,
        train_mb_size=workload.batch_size,
        device=workload.device,
        evaluator=EvaluationPlugin(),
        precision=spec.precision,
        compile_backbone=spec.compile == "backbone",
        **extra,
    )
    task = LearningTask(0, 1, workload.pixels.classes, TaskImages(workload.train_images()))

    def capture(task: LearningTask, key: str, make_plan: Callable[[], Plan]) -> PhaseResult:
        raise _Ready(make_plan())

    strategy.fit = capture  # type: ignore[method-assign]
    try:
        strategy.learn_task(task)
    except _Ready as ready:
        return Session(strategy, task, ready.plan, strategy.trainer.events())
    raise RuntimeError(f"{spec.method} learned its task without a training phase")


def labels(specs: Sequence[RunSpec]) -> dict[str, RunSpec]:
    """Specs by the names that tables call them: the method's, with its BN policy where both are measured."""
    methods = [spec.method for spec in specs]
    return {
        f"{spec.method}, BN {spec.bn_policy}" if methods.count(spec.method) > 1 else spec.method: spec for spec in specs
    }


def method(workload: Workload, name: str) -> Contender:
    """The spec's method under its own optimizer."""
    return Contender(name, optimizer_of(workload.spec), "method", session, workload)


def optimizer_of(spec: RunSpec) -> str:
    """The optimizer that most of the method's numbers go through."""
    if isinstance(spec.settings, TrainSettings):
        return spec.settings.optimizer
    return "adam" if spec.mask is not None else "sgd"


def fine_tuning(workload: Workload, optimizer: str) -> Contender:
    """Full fine-tuning, the yardstick: every number is trained, with this optimizer and no weight decay."""
    settings = TrainSettings(optimizer=optimizer, lr=1e-4, weight_decay=0.0, schedule="constant")
    card = reference(pretrained=True)
    spec = dataclasses.replace(workload.spec, method=card.name, settings=settings, mask=None, bn_policy=card.bn_policy)
    return Contender(f"{card.name} ({optimizer})", optimizer, "method", session, workload.with_spec(spec))
