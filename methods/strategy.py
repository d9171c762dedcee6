"""The Avalanche strategy that all methods share: one task at a time, learned in phases, kept as that task's tensors.

A method says what a task trains (``begin``), how (``learn``), and what must be kept of it (``keep``). Training
loops, selection of the epoch, evaluation with the task label, progress and resuming live here, once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.training.plugins.evaluation import default_evaluator
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn

from methods import batchnorm
from methods.contract import MaskCount, Phase, StoredItem, untimed
from methods.fitting import EpochReport, Fitted, Plan, Progress, Snapshot
from methods.network import TaskView
from methods.streams import Streams
from methods.tensor_data import TaskImages, TensorImages
from methods.training_loop import HEAD_BIAS, HEAD_WEIGHT, run_phase

#: prefix, in a task's tensors, of what replaces the backbone's tensor of that name
OVERRIDE = "override."

SELECTIONS = ("validation", "last", "legacy-test")


@dataclass(frozen=True)
class LearningTask:
    """The task under way."""

    label: int  #: Avalanche's task label
    position: int  #: how many tasks were learned before it, plus one
    classes: int
    images: TaskImages | None  #: None: the images come through Avalanche's own loader


class TaskStrategy(SupervisedTemplate):
    """Base of all methods: learns each task once, in any order, and evaluates with the task label.

    Args:
        backbone: feature extractor, images (n, c, h, w) -> features (n, d); a copy is used, yours stays as it is.
        settings: the method's knobs (``methods.settings``); ``train_epochs`` overrides their main phase.
        bn_policy: "frozen" or "per-task" (``methods.batchnorm``).
        seed: of all random streams (``methods.streams``).
        task_count: number of tasks to come, where the method divides capacity between them.
        pretrained: True: the backbone stays as given; False: the first task trains it from where it stands.
        phase: a clock, see ``methods.contract``.
        listener: hears an ``EpochReport`` after every epoch.
        checkpoint: called where a checkpoint may be taken: at the end of every epoch.
        precision: "bf16": the network computes under autocast; "fp32" and "tf32": it does not.
        compile_backbone: compile the backbone in place; its names and bytes stay.

    Other keyword arguments are Avalanche's.
    """

    #: logits of earlier tasks never change
    promises_no_forgetting = True
    #: standard deviation of a fresh head's weights (CPG: 0.01); None: ``nn.Linear``'s default
    head_std: float | None = None
    #: the backbone or other shared tensors change with every task, so every checkpoint holds them
    shared_changes = False
    #: attributes that hold a snapshot which a checkpoint must keep (``methods.training_state``)
    snapshots: tuple[str, ...] = ("best",)

    def __init__(
        self,
        *,
        backbone: nn.Module,
        settings: Any,
        bn_policy: str = batchnorm.PER_TASK,
        seed: int = 0,
        task_count: int | None = None,
        pretrained: bool = False,
        train_mb_size: int = 32,
        train_epochs: int | None = None,
        eval_mb_size: int = 100,
        device: str | torch.device = "cpu",
        criterion: Any = None,
        plugins: Sequence[Any] | None = None,
        evaluator: Any = default_evaluator,
        eval_every: int = -1,
        phase: Phase = untimed,
        listener: Callable[[EpochReport], None] | None = None,
        checkpoint: Callable[[], None] | None = None,
        precision: str = "fp32",
        compile_backbone: bool = False,
    ) -> None:
        if bn_policy not in batchnorm.POLICIES:
            raise ValueError(f"bn_policy {bn_policy!r} is unknown; choose one of {', '.join(batchnorm.POLICIES)}")
        self.settings = settings if train_epochs is None else settings.with_epochs(train_epochs)
        view = TaskView(copy.deepcopy(backbone).to(device), precision, compile_backbone)
        super().__init__(
            model=view,
            optimizer=torch.optim.SGD([torch.zeros(1, device=device, requires_grad=True)], lr=0.0),
            criterion=nn.CrossEntropyLoss() if criterion is None else criterion,
            train_mb_size=train_mb_size,
            train_epochs=self.settings.epochs,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=plugins,
            evaluator=evaluator,
            eval_every=eval_every,
        )
        self.view = view
        self.bn_policy = bn_policy
        self.streams = Streams(seed)
        self.task_count = task_count
        self.pretrained = pretrained
        self.phase = phase
        self.listener = listener
        self.checkpoint = checkpoint
        self.learned: dict[int, Snapshot] = {}
        self.current: Snapshot = {}
        self.progress: Progress | None = None
        self.generators: dict[str, torch.Generator] = {}
        self.best: Snapshot = {}
        self.resumed_optimizer: Snapshot | None = None
        self._viewed: int | None = None

    # ------------------------------------------------------------------ what a method defines

    def begin(self, task: LearningTask) -> None:
        """Put the tensors that ``task`` starts from into ``self.current`` (head included)."""
        raise NotImplementedError

    def learn(self, task: LearningTask) -> None:
        """Train: a sequence of ``self.fit`` and ``self.progress.once`` steps, each with its own key."""
        raise NotImplementedError

    def training_tensors(self) -> dict[str, Tensor]:
        """Replacements for the backbone's tensors in a training step, differentiable in what is trained."""
        return self.overrides(self.current)

    def current_tensors(self) -> dict[str, Tensor]:
        """Replacements for evaluating the task under way as it would be kept."""
        return self.training_tensors()

    def keep(self, task: LearningTask) -> Snapshot:
        """What must be stored of the finished task, by name; packed, detached, on the training device."""
        return {
            name: tensor.detach().clone()
            for name, tensor in self.current.items()
            if not name.endswith(batchnorm.COUNTER)
        }

    def restored_tensors(self, learned: Snapshot, label: int) -> dict[str, Tensor]:
        """Replacements for the backbone's tensors that make a learned task's network."""
        return self.overrides(learned)

    def mutable(self) -> Snapshot:
        """Every tensor that training may change: what the best epoch and a checkpoint must hold."""
        return self.current

    def shared(self) -> Snapshot:
        """What all tasks share, by name: the backbone's parameters and buffers."""
        state = self.view.backbone.state_dict()
        return {f"backbone.{name}": item for name, item in state.items() if not name.endswith(batchnorm.COUNTER)}

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Put ``shared`` tensors back."""
        state = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
        self.view.backbone.load_state_dict(state, strict=False)
        self._viewed = None

    def stored_shared(self) -> Snapshot:
        """``shared`` as it is stored: packed, and without what no learned task needs."""
        return self.shared()

    @property
    def bn_trains(self) -> bool:
        """BN learns in the phase under way."""
        return self.bn_policy == batchnorm.PER_TASK

    # ------------------------------------------------------------------ the answers for a runner

    def storage(self) -> list[StoredItem]:
        """What must be stored so that every learned task can be restored, nothing else."""
        shared = sum(tensor.numel() for tensor in self.shared().values())
        items = [StoredItem("backbone", None, shared, 32, "float32", "the weights and BN set that all tasks share")]
        for label, tensors in self.learned.items():
            items += self._items(label, tensors)
        return items

    def _items(self, label: int, tensors: Snapshot) -> Iterator[StoredItem]:
        kinds = {"head": 0, "own tensors": 0}
        for name, tensor in tensors.items():
            if name.startswith("head."):
                kinds["head"] += tensor.numel()
            elif name.startswith(OVERRIDE):
                kinds["own tensors"] += tensor.numel()
        if kinds["head"]:
            yield StoredItem("head", label, kinds["head"], 32, "float32", "the task's classifier")
        if kinds["own tensors"]:
            yield StoredItem("own tensors", label, kinds["own tensors"], 32, "float32", self._own_purpose())

    def _own_purpose(self) -> str:
        return "the task's own BN set" if self.bn_trains else "the task's own biases"

    def mask_statistics(self) -> list[MaskCount]:
        """Ones, soft values and zeros per layer of every learned task's mask; empty without masks."""
        return []

    def trainable_parameters(self) -> int:
        """Numbers that a step of the task under way updates."""
        return sum(tensor.numel() for tensor in self.current.values() if tensor.requires_grad)

    # ------------------------------------------------------------------ Avalanche's side

    def check_model_and_optimizer(self, **kwargs: Any) -> None:
        """Nothing to adapt: heads and optimizers belong to the task's phases."""

    def model_adaptation(self, model: nn.Module | None = None) -> nn.Module:
        """The view itself; evaluation never creates a head."""
        return self.view

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Avalanche's loader, unless the experience brings its images as device tensors (``task_images``)."""
        self.dataloader: Any = []
        if getattr(self.experience, "task_images", None) is None:
            super().make_train_dataloader(**kwargs)

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        task = self._learning_task(experience)
        self.learn_task(task)

    def learn_task(self, task: LearningTask) -> None:
        """Learn one task from its beginning or, after ``load_state``, from where the checkpoint stood."""
        for name in ("order", "augmentation", "noise"):
            if name not in self.generators:
                self.generators[name] = self.streams.generator(name, task.label, self.device)
        if self.progress is None:
            self.progress = Progress(task.label)
            with self.streams.initialising(task.label):
                self.begin(task)
            self.progress.trainable = self.trainable_parameters()
        self.learn(task)
        with torch.no_grad():
            self.learned[task.label] = self.keep(task)
        self.current, self.best, self.generators = {}, {}, {}
        self._viewed = None

    def _learning_task(self, experience: Any) -> LearningTask:
        label = int(experience.task_label)
        if label in self.learned:
            raise ValueError(f"task {label} was already learned; these methods learn a task once")
        if self.progress is not None and self.progress.task != label:
            self.progress = None
        classes = max(int(item) for item in experience.classes_in_this_experience) + 1
        return LearningTask(label, len(self.learned) + 1, classes, getattr(experience, "task_images", None))

    def _before_eval_exp(self, **kwargs: Any) -> None:
        super()._before_eval_exp(**kwargs)
        assert self.experience is not None
        self.look_at(int(self.experience.task_label), max(self.experience.classes_in_this_experience) + 1)

    def forward(self) -> Any:
        """Logits of the current mini-batch, through the task that is being trained or evaluated."""
        return self.view(self.mb_x)

    # ------------------------------------------------------------------ looking through a task

    @staticmethod
    def overrides(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The entries that replace a tensor of the backbone, by its name there."""
        return {name[len(OVERRIDE) :]: item for name, item in tensors.items() if name.startswith(OVERRIDE)}

    def look_at(self, label: int, classes: int = 1) -> None:
        """Make the view that of task ``label``, in evaluation mode.

        A task that was never learned gets an all-zero head of ``classes`` outputs: chance accuracy, and nothing is
        created for it.
        """
        batchnorm.set_modes(self.view, training=False, bn_trains=False)
        if self._viewed == label:
            return
        if label in self.learned:
            learned = self.learned[label]
            with torch.no_grad():
                tensors = self.restored_tensors(learned, label)
            self.view.look_through(tensors, learned[HEAD_WEIGHT], learned[HEAD_BIAS])
            self._viewed = label
        elif self.progress is not None and self.progress.task == label and self.current:
            self._look_at_current()
        else:
            width = self.feature_dim
            self.view.look_through(
                {},
                torch.zeros(classes, width, device=self.device),
                torch.zeros(classes, device=self.device),
            )
            self._viewed = None

    def forget_view(self) -> None:
        """What the view looks through may have changed: unpack it again when it is next asked for."""
        self._viewed = None

    def _look_at_current(self) -> None:
        with torch.no_grad():
            self.view.look_through(self.current_tensors(), self.current[HEAD_WEIGHT], self.current[HEAD_BIAS])
        self._viewed = None

    @property
    def feature_dim(self) -> int:
        """Width of the backbone's output: its ``feature_dim``, or the width of a learned head."""
        width = getattr(self.view.backbone, "feature_dim", None)
        if width is None:
            raise ValueError("the backbone needs an attribute feature_dim: the number of features it returns per image")
        return int(width)

    @torch.no_grad()
    def correct(self, label: int, images: TensorImages) -> int:
        """How many of ``images`` task ``label`` classifies rightly; one synchronisation at the end."""
        self.look_at(label)
        return self._count(images)

    @torch.no_grad()
    def logits(self, label: int, images: TensorImages) -> Tensor:
        """Logits (n, classes) of task ``label``."""
        self.look_at(label)
        return torch.cat([self.view(batch) for batch, _ in images.evaluation_batches(self.eval_mb_size)])

    def _count(self, images: TensorImages) -> int:
        total = torch.zeros((), dtype=torch.int64, device=self.device)
        for batch, labels in images.evaluation_batches(self.eval_mb_size):
            total += (self.view(batch).argmax(1) == labels).sum()
        return int(total)

    @torch.no_grad()
    def selection_accuracy(self, task: LearningTask) -> float | None:
        """Accuracy of the task under way on the images to select on, None without such images."""
        if task.images is None or task.images.selection is None:
            return None
        with self.phase("eval"):
            batchnorm.set_modes(self.view, training=False, bn_trains=False)
            self._look_at_current()
            return self._count(task.images.selection) / len(task.images.selection)

    # ------------------------------------------------------------------ tensors a task starts from

    def new_head(self, classes: int) -> Snapshot:
        """A fresh linear head, trainable; drawn from the global CPU generator."""
        head = nn.Linear(self.feature_dim, classes)
        if self.head_std is not None:
            nn.init.normal_(head.weight, 0.0, self.head_std)
            nn.init.zeros_(head.bias)
        return {
            HEAD_WEIGHT: head.weight.detach().to(self.device).requires_grad_(),
            HEAD_BIAS: head.bias.detach().to(self.device).requires_grad_(),
        }

    @staticmethod
    def own_copies(tensors: Mapping[str, Tensor]) -> Snapshot:
        """Copies to override the backbone's tensors with; floating-point parameters are trainable, statistics not."""
        return {
            OVERRIDE + name: tensor.detach().clone().requires_grad_(isinstance(tensor, nn.Parameter))
            for name, tensor in tensors.items()
        }

    # ------------------------------------------------------------------ the loop

    def fit(self, task: LearningTask, key: str, make_plan: Callable[[], Plan]) -> Fitted:
        """Run one phase (once, also over a resume) and leave the chosen epoch's tensors in place."""
        assert self.progress is not None
        return Fitted(**self.progress.once(key, lambda: run_phase(self, task, key, make_plan()).__dict__))

    # ------------------------------------------------------------------ best epoch

    @torch.no_grad()
    def snapshot(self) -> Snapshot:
        """Copies of every tensor that training may change."""
        return {name: tensor.detach().clone() for name, tensor in self.mutable().items()}

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back, in place."""
        for name, tensor in self.mutable().items():
            tensor.copy_(snapshot[name])
