"""The Avalanche strategy that all methods are: one task at a time, learned in phases, evaluated with the task label."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from avalanche.training.plugins.evaluation import default_evaluator
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn

from methods.engine import batchnorm
from methods.engine.avalanche_plugins import acting
from methods.engine.experiences import class_count, task_label
from methods.engine.layers import require_no_new_state, require_usable
from methods.engine.method import Method
from methods.engine.network import TaskView
from methods.engine.parts import HEAD_BIAS, HEAD_WEIGHT, Parts, tensors_of
from methods.engine.state import EpochReport, LearningTask, Phase, Progress, TaskState, untimed
from methods.engine.streams import Streams
from methods.engine.tensor_data import Images
from methods.engine.trainer import Trainer
from methods.settings import TrainSettings

#: logit of a class that a task never saw
UNKNOWN_CLASS = -1e4

#: random streams of a task, by name
STREAMS = ("order", "augmentation", "noise")


class TaskStrategy(Method, SupervisedTemplate):
    """Base of all methods: learns each task once, in any order, and evaluates with the task label.

    Unless ``pretrained``, the first task of a method that starts from task 1's network trains that network: from where
    ``backbone`` stands, with ``scratch`` settings; its weights and BN set become the backbone of all others, and the
    task keeps its head. ``adopt`` takes such a network trained before.

    Args:
        backbone: feature extractor, images (n, c, h, w) -> features (n, d); a copy is used, yours stays as it is.
        settings: the method's knobs; None: its card's. ``train_epochs`` overrides their main phase.
        task_settings: knobs of single tasks, by task label, over ``settings``.
        bn_policy: "frozen" or "per-task" (``methods.engine.batchnorm``); None: the card's.
        scratch: settings of task 1's network; None: the defaults, scaled to ``train_epochs`` where that is given.
        seed: of all random streams (``methods.engine.streams``).
        task_count: number of tasks to come, where the method divides capacity between them.
        pretrained: True: the backbone stays as given; False: the first task trains it.
        phase: a clock, see ``methods.engine.state.Phase``.
        listener: hears an ``EpochReport`` after every epoch.
        checkpoint: called where a checkpoint may be taken: at the end of every epoch.
        precision: "bf16": the network computes under autocast; "fp32" and "tf32": it does not.
        compile_backbone: compile the backbone in place; its names and bytes stay.

    Other keyword arguments are Avalanche's.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        settings: Any = None,
        task_settings: Mapping[int, Mapping[str, Any]] | None = None,
        bn_policy: str | None = None,
        scratch: TrainSettings | None = None,
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
        self.bn_policy = self.card.bn_policy if bn_policy is None else bn_policy
        if self.bn_policy not in batchnorm.BN_POLICIES:
            known = ", ".join(batchnorm.BN_POLICIES)
            raise ValueError(f"bn_policy {self.bn_policy!r} is unknown; choose one of {known}")
        own = self.card.settings if settings is None else settings
        self.settings = own if train_epochs is None else own.with_epochs(train_epochs)
        self._settings_of_all, self._task_settings = self.settings, dict(task_settings or {})
        default = TrainSettings() if train_epochs is None else TrainSettings().with_epochs(train_epochs)
        self.scratch = default if scratch is None else scratch
        fixed = frozenset(name for name, tensor in backbone.named_parameters() if not tensor.requires_grad)
        require_usable(backbone)
        own_backbone = batchnorm.own_state(copy.deepcopy(backbone)).to(device)
        view = TaskView(own_backbone, precision, compile_backbone)
        #: a script's scheduler may change its rate, which multiplies those of every phase
        rate_handle = torch.optim.SGD([torch.zeros(1, device=device, requires_grad=True)], lr=1.0)
        super().__init__(
            model=view,
            optimizer=rate_handle,
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
        view.learned_by = self
        self.rate_handle = rate_handle
        self.fixed = fixed
        self.streams = Streams(seed)
        self.task_count = task_count
        self.pretrained = pretrained
        self.phase = phase
        self.listener = listener
        self.checkpoint = checkpoint
        self.trainer = Trainer(self)
        self.layout = None
        self.learned: dict[int, Parts] = {}
        self.state = TaskState()
        self._viewed: int | None = None

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

    def _before_training(self, **kwargs: Any) -> None:
        self.plugins: list[Any] = acting(self.plugins, type(self).__name__)
        super()._before_training(**kwargs)

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        self.learn_task(self._learning_task(experience))

    def learn_task(self, task: LearningTask) -> None:
        """Learn one task from its beginning or, after ``load_training_state``, from where the checkpoint stood."""
        state = self.state
        if self._task_settings:
            self.settings = dataclasses.replace(self._settings_of_all, **self._task_settings.get(task.label, {}))
        for name in STREAMS:
            if name not in state.generators:
                state.generators[name] = self.streams.generator(name, task.label, self.device)
        if state.progress is None:
            state.progress = Progress(task.label)
            with self.streams.initialising(task.label):
                self._begin(task)
            state.progress.trainable = self.trainable_parameters()
        buffers = [name for name, _ in self.view.backbone.named_buffers()]
        self._learn(task)
        require_no_new_state(self.view.backbone, buffers)
        with torch.no_grad():
            self.learned[task.label] = self._keep(task)
        self.state = TaskState(progress=state.progress)
        self._viewed = None

    def _learning_task(self, experience: Any) -> LearningTask:
        label = task_label(experience)
        if label in self.learned:
            raise ValueError(
                f"task {label} was already learned, and these methods learn a task once; in a class-incremental stream "
                "all experiences have label 0: give each its own (task_incremental_benchmark)"
            )
        if self.task_count is not None and len(self.learned) >= self.task_count:
            raise ValueError(
                f"{type(self).__name__} was told of {self.task_count} tasks (task_count) and has learned them all; "
                "pass the number of tasks that there will be"
            )
        if self.progress is not None and self.progress.task != label:
            self.state = TaskState()  # of a task before, finished or given up
        return LearningTask(
            label, len(self.learned) + 1, class_count(experience), getattr(experience, "task_images", None)
        )

    def _before_eval_exp(self, **kwargs: Any) -> None:
        super()._before_eval_exp(**kwargs)
        assert self.experience is not None
        self.look_at(task_label(self.experience), class_count(self.experience))

    def forward(self) -> Any:
        """Logits of the current mini-batch, through the task that is being trained or evaluated.

        In evaluation a label beyond the task's classes gets a logit that is never the highest: it counts as wrong.
        """
        logits = self.view(self.mb_x)
        if not self.view.training and (missing := int(self.mb_y.max()) + 1 - logits.shape[1]) > 0:
            return nn.functional.pad(logits, (0, missing), value=UNKNOWN_CLASS)
        return logits

    # ------------------------------------------------------------------ looking through a task

    def look_at(self, label: int, classes: int = 1) -> None:
        """Make the view that of task ``label``, in evaluation mode.

        A task that was never learned gets an all-zero head of ``classes`` outputs: chance accuracy, and nothing is
        created for it.
        """
        batchnorm.set_modes(self.view, training=False, bn_trains=False)
        written = batchnorm.loose_buffers(self.view.backbone)  # perhaps in evaluation, too: each look begins afresh
        if self._viewed == label and not written:
            return
        if label in self.learned:
            kept = tensors_of(self.learned[label])
            with torch.no_grad():
                tensors = {**written, **self.restored(kept)}
                tensors |= {name: tensors[name].clone() for name in written}
            self.view.activate(tensors, kept[HEAD_WEIGHT], kept[HEAD_BIAS])
            self._viewed = label
        elif self.progress is not None and self.progress.task == label and self.current:
            self._look_at_current()
        else:
            width = self.feature_dim
            zeros = torch.zeros(classes, width, device=self.device)
            self.view.activate({}, zeros, zeros[:, 0].clone())
            self._viewed = None

    def restored(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Replacements for the backbone's tensors that make a learned task's network (``methods.engine.restore``)."""
        return self.card.load_restore()(self.shared(), kept, self.layout)  # type: ignore[no-any-return]

    def forget_view(self) -> None:
        """What the view looks through may have changed: unpack it again when it is next asked for."""
        self._viewed = None

    def _look_at_current(self) -> None:
        with torch.no_grad():
            self.view.activate(self.current_tensors(), self.current[HEAD_WEIGHT], self.current[HEAD_BIAS])
        self._viewed = None

    @torch.no_grad()
    def correct(self, label: int, images: Images) -> int:
        """How many of ``images`` task ``label`` classifies rightly; one synchronisation at the end."""
        self.look_at(label)
        return self._count(images)

    @torch.no_grad()
    def logits(self, label: int, images: Images) -> Tensor:
        """Logits (n, classes) of task ``label``."""
        self.look_at(label)
        return torch.cat([self.view(batch) for batch, _ in images.evaluation_batches(self.eval_mb_size)])

    def _count(self, images: Images) -> int:
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

    @torch.no_grad()
    def selection_loss(self, task: LearningTask) -> float | None:
        """Mean cross-entropy of the task under way on the images to select on, None without such images."""
        if task.images is None or task.images.selection is None:
            return None
        with self.phase("eval"):
            batchnorm.set_modes(self.view, training=False, bn_trains=False)
            self._look_at_current()
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            for batch, labels in task.images.selection.evaluation_batches(self.eval_mb_size):
                total += nn.functional.cross_entropy(self.view(batch), labels, reduction="sum").double()
            return float(total) / len(task.images.selection)
