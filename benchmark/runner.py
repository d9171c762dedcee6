"""One run, in the process that carries it out: learn every task, measure, checkpoint, leave a record."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark import provenance, rows
from benchmark.backbones.registry import build
from benchmark.backbones.weights import load_weights
from benchmark.checkpoint import CheckpointError, read_tensors, write_tensors
from benchmark.clock import RUN, Stopwatch, gauges_for
from benchmark.plan import mask_settings, resolved_settings, scratch_settings, warnings_of
from benchmark.reference import References, epoch_event, write_goal
from benchmark.scenarios.contract import silent
from benchmark.scenarios.registry import load_scenario
from benchmark.spec import RunOptions, RunSpec
from benchmark.store import RunFolder, cache_path, locked, run_folder
from benchmark.tensors import PreparedTask, experiences, prepare
from methods.fitting import EpochReport, Progress
from methods.registry import METHODS
from methods.streams import Streams
from results import metrics
from results.atomic import write_json
from results.schema import FAILED, FINISHED, TRAINING_PHASES, RunRecord

Emit = Callable[[dict[str, Any]], None]

WARM_UP_STEPS = 3


def run(spec: RunSpec, options: RunOptions, emit: Emit) -> RunRecord | None:
    """Carry out ``spec``; the record is written to its folder whether the run finishes or fails.

    Returns:
        The record, or None when another process is at this run.
    """
    folder = run_folder(Path(options.results), spec.run_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder.path / ".lock"):
            return _run_locked(spec, options, folder, emit)
    except BlockingIOError:
        emit({"type": "message", "text": f"{spec.run_id} is being run by another process; left to it"})
        return None


def _run_locked(spec: RunSpec, options: RunOptions, folder: RunFolder, emit: Emit) -> RunRecord:
    started = datetime.now(UTC)
    folder.sweep()
    device = torch.device(options.device)
    facts: dict[str, Any] = {"started": started.isoformat(timespec="seconds")}

    def heard(event: dict[str, Any]) -> None:
        folder.append_event(event)
        emit(event)

    try:
        facts |= provenance.provenance(device, options.command) | {"options": options.to_json()}
        record = Runner(spec, options, folder, device, heard).run(facts)
    except Exception as error:  # noqa: BLE001  whatever went wrong belongs into the record
        record = RunRecord(
            run_id=spec.run_id,
            status=FAILED,
            spec=spec.to_json(),
            provenance=facts | {"finished": datetime.now(UTC).isoformat(timespec="seconds")},
            error=f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}",
        )
    write_json(folder.record, record.to_json())
    if record.finished:
        folder.checkpoint.unlink(missing_ok=True)
    heard({"type": "run-end", "status": record.status, "error": (record.error or "").partition("\n")[0] or None})
    return record


class Runner:
    """The state of one run under way."""

    def __init__(self, spec: RunSpec, options: RunOptions, folder: RunFolder, device: torch.device, emit: Emit) -> None:
        self.spec, self.options, self.folder, self.device, self.emit = spec, options, folder, device, emit
        self.info = METHODS[spec.method]
        self.clock = Stopwatch(self._synchronise, gauges_for(device, options.measure))
        self.rows: list[dict[str, Any]] = []  # one a learned task, in the order of learning
        self.progresses: list[dict[str, Any]] = []
        self.matrix: list[list[float | None]] = []
        self.initial_facts: dict[str, Any] | None = None
        self.written: dict[str, int] = {}
        self.sittings = 1
        self.tasks: dict[int, PreparedTask] = {}
        self.experiences: dict[int, Any] = {}
        self.strategy: Any = None
        self._last_checkpoint = self.clock.wall_seconds

    # ------------------------------------------------------------------ the run

    def run(self, facts: dict[str, Any]) -> RunRecord:
        """Learn all tasks and return the record; goes on from a checkpoint where there is one."""
        with self._precision():
            with self.clock("load"):
                self._load_data(facts)
                self.references = References(
                    self.spec, Path(self.options.results), self.device, self._backbone, self._synchronise, self.emit
                )
                self.strategy = self._make_strategy()
                resumed = self._resume()
            self.emit({"type": "run-start", "tasks": len(self.spec.task_indices), "done": len(self.rows)})
            with self.clock("warm-up"):
                self._warm_up()
            if not resumed:
                self._start()
            for index in self.spec.task_indices[len(self.rows) :]:
                self._learn(index)
            return self._finish(facts)

    def _load_data(self, facts: dict[str, Any]) -> None:
        scenario = load_scenario(self.options.scenario_source)
        root = Path(self.options.data_root) if self.options.data_root else None
        data = scenario.read(root, sorted(self.spec.task_indices), silent)
        facts["data_fingerprint"] = data.fingerprint
        for task in data.tasks:
            self.tasks[task.index] = prepare(self.spec, task, self.device)
        for experience, index in zip(experiences(list(self.tasks.values())), self.tasks, strict=True):
            self.experiences[index] = experience

    def _backbone(self) -> nn.Module:
        """A freshly initialised backbone (from torch's global generator), or the pretrained one."""
        chosen = self.spec.backbone
        backbone = build(chosen["name"], width=chosen["width"], channels=chosen["channels"])
        if self.options.weights:
            load_weights(backbone, self.options.weights)
        return backbone

    def _make_strategy(self) -> Any:
        from avalanche.training.plugins import EvaluationPlugin

        spec = self.spec
        extra: dict[str, Any] = {}
        if (mask := mask_settings(spec)) is not None:
            extra["mask"] = mask
        if self.info.starts_from_task1:
            extra["scratch"] = scratch_settings(spec)
        if spec.method == "scratch":
            extra["make_backbone"] = self._backbone
        if spec.method == "cpg":
            extra["goal_for"] = self._goal
        with Streams(spec.seed).initialising(spec.initial_task - 1):
            backbone = self._backbone()
        return self.info.load()(
            backbone=backbone,
            settings=resolved_settings(spec),
            bn_policy=spec.bn_policy,
            seed=spec.seed,
            task_count=len(spec.task_indices),
            pretrained=spec.backbone["pretrained"],
            train_mb_size=spec.protocol["batch_size"],
            eval_mb_size=spec.protocol["eval_batch_size"],
            device=self.device,
            evaluator=EvaluationPlugin(),
            phase=self.clock,
            listener=self._heard_epoch,
            checkpoint=self._maybe_checkpoint,
            **extra,
        )

    def _goal(self, task: Any) -> float:
        index = task.label + 1
        return self.references.goal(self.experiences[index], self.tasks[index])

    def _start(self) -> None:
        """The task-1 network, where this method starts from it."""
        if not self.info.starts_from_task1 or self.spec.backbone["pretrained"]:
            return
        index = self.spec.initial_task
        with self.clock("task-1 network"):
            self.emit({"type": "task-start", "name": self.tasks[index].task.name, "position": 1})
            network = self.references.initial_network(self.experiences[index], self.tasks[index])
            self.strategy.adopt(index - 1, network.backbone, network.head)
            self.initial_facts = network.facts
        self.progresses.append({})
        self._measure(index, "task-1 network")

    def _learn(self, index: int) -> None:
        """One task: train, then measure it and every task before it, then save."""
        task = self.tasks[index].task
        self.emit({"type": "task-start", "name": task.name, "position": len(self.rows) + 1})
        self.clock.task = task.name
        self.strategy.train(self.experiences[index], eval_streams=[])
        progress: Progress = self.strategy.progress
        self.progresses.append(progress.to_json())
        met = progress.done.get("goal met", True)
        self._measure(index, "learned" if met else "goal missed")
        if self.spec.method == "scratch" and self.spec.selection != "last":
            accuracy = progress.done["train"]["selection"]
            write_goal(
                cache_path(Path(self.options.results), f"goals/{self.spec.goal_key(index)}.json"),
                accuracy,
                self.spec.run_id,
            )

    def _measure(self, index: int, status: str) -> None:
        prepared = self.tasks[index]
        self.clock.task = prepared.task.name
        with self.clock("eval"):
            learned = [row["index"] for row in self.rows] + [index]
            accuracies = [self._accuracy(other) for other in learned]
        padding: list[float | None] = [None] * (len(self.spec.task_indices) - len(accuracies))
        self.matrix.append([*accuracies, *padding])
        self.rows.append(
            {
                "index": index,
                "name": prepared.task.name,
                "classes": len(prepared.task.class_names),
                "train_images": len(prepared.images.train),
                "test_images": len(prepared.test),
                "accuracy": accuracies[-1],
                "status": status,
            }
        )
        with self.clock("save"):
            self._save_task(index)
            self._checkpoint(None)
        seconds = self.clock.seconds[prepared.task.name]
        self.emit(
            {
                "type": "task-end",
                "name": prepared.task.name,
                "position": len(self.rows),
                "accuracy": accuracies[-1],
                "seconds": sum(seconds.get(phase, 0.0) for phase in TRAINING_PHASES),
            }
        )
        self.clock.task = RUN

    def _accuracy(self, index: int) -> float:
        test = self.tasks[index].test
        return float(self.strategy.correct(index - 1, test) / len(test))

    # ------------------------------------------------------------------ what is written

    def _save_task(self, index: int) -> None:
        """What the task adds, and the shared tensors once they will not change any more."""
        task = self.tasks[index].task
        path = self.folder.task(index)
        write_tensors(path, self.strategy.learned[index - 1], {"label": index - 1, "name": task.name})
        self.written[path.name] = path.stat().st_size
        if not self.strategy.shared_changes and not self.folder.backbone.exists():
            self._save_shared()

    def _save_shared(self) -> None:
        path = self.folder.backbone
        write_tensors(path, self.strategy.stored_shared(), {})
        self.written[path.name] = path.stat().st_size

    def _finish(self, facts: dict[str, Any]) -> RunRecord:
        spec, strategy = self.spec, self.strategy
        with self.clock("save"):
            self._save_shared()
            self._discard_networks()
        names = {index - 1: prepared.task.name for index, prepared in self.tasks.items()}
        masks = strategy.mask_statistics()
        final = self.matrix[-1]
        finished_rows = []
        for row, progress, accuracy in zip(self.rows, self.progresses, final, strict=True):
            assert accuracy is not None
            finished_rows.append(rows.task_row(row, self.clock, accuracy, spec.selection, progress))
        images = min(len(prepared.images.train) for prepared in self.tasks.values())
        classes = [row["classes"] for row in self.rows]
        size = rows.size_of(
            spec, strategy.storage(), names, strategy.view.backbone, classes, masks, sum(self.written.values())
        )
        return RunRecord(
            run_id=spec.run_id,
            status=FINISHED,
            spec=spec.to_json(),
            provenance=facts | {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "sittings": self.sittings},
            tasks=tuple(finished_rows),
            accuracy_matrix=tuple(tuple(row) for row in self.matrix),
            mean_accuracy=metrics.mean_accuracy(self.matrix),
            forgetting=metrics.forgetting(self.matrix),
            backward_transfer=metrics.backward_transfer(self.matrix),
            training_seconds_total=sum(row.training_seconds for row in finished_rows),
            trainable_parameters=max((progress.get("trainable", 0) for progress in self.progresses), default=0),
            size=size,
            mask_statistics=rows.mask_rows(masks, names),
            task1_network=self.initial_facts,
            seconds=self.clock.seconds.get(RUN, {}),
            wall_seconds=self.clock.wall_seconds,
            warnings=tuple(warnings_of(spec, images)),
        )

    def _discard_networks(self) -> None:
        """Drop stored tensors that ``--keep-weights`` does not ask for; their bytes were counted."""
        keep = self.options.keep_weights
        if keep == "all" or (keep == "tasks" and not self.info.whole_networks):
            return
        for path in self.folder.backbone.parent.glob("*.safetensors"):
            path.unlink()

    # ------------------------------------------------------------------ checkpoints

    def _maybe_checkpoint(self) -> None:
        """Within a task, at the end of an epoch: a checkpoint at most every so many seconds."""
        if self.clock.wall_seconds - self._last_checkpoint >= self.options.checkpoint_seconds:
            with self.clock("save"):
                self._checkpoint(self.strategy.progress)

    def _checkpoint(self, progress: Progress | None) -> None:
        state = {
            "run_id": self.spec.run_id,
            "rows": self.rows,
            "progresses": self.progresses,
            "matrix": self.matrix,
            "initial": self.initial_facts,
            "written": self.written,
            "sittings": self.sittings,
            "trainable": self.strategy.trainable_names(),
            "progress": progress.to_json() if progress else None,
            "clock": self.clock.state(),
        }
        write_tensors(self.folder.checkpoint, self.strategy.state(), state)
        self._last_checkpoint = self.clock.wall_seconds

    def _resume(self) -> bool:
        """Go on from the folder's checkpoint; False where there is none that can be used."""
        if not self.options.resume or not self.folder.checkpoint.exists():
            return False
        try:
            tensors, state = read_tensors(self.folder.checkpoint)
            if state.get("run_id") != self.spec.run_id:
                raise CheckpointError(f"{self.folder.checkpoint} belongs to another run")
            learned = {row["index"]: read_tensors(self.folder.task(row["index"]))[0] for row in state["rows"]}
            shared = {}
            if not self.strategy.shared_changes and self.folder.backbone.exists():
                shared = read_tensors(self.folder.backbone)[0]
        except CheckpointError as error:
            self.emit({"type": "message", "text": f"starting {self.spec.run_id} afresh: {error}"})
            return False
        strategy = self.strategy
        if shared:
            strategy.load_shared({name: tensor.to(self.device) for name, tensor in shared.items()})
        for index, found in learned.items():
            strategy.learned[index - 1] = {name: tensor.to(self.device) for name, tensor in found.items()}
        progress = Progress.from_json(state["progress"]) if state["progress"] else None
        strategy.load_state(tensors, state["trainable"], progress)
        self.rows, self.progresses, self.matrix = state["rows"], state["progresses"], state["matrix"]
        self.initial_facts, self.written = state["initial"], state["written"]
        self.sittings = state["sittings"] + 1
        self.clock.load_state(state["clock"])
        self._last_checkpoint = self.clock.wall_seconds
        self.emit({"type": "message", "text": f"going on after {len(self.rows)} finished tasks"})
        return True

    # ------------------------------------------------------------------ around it

    def _heard_epoch(self, report: EpochReport) -> None:
        self.emit(epoch_event(report, self.tasks[report.task + 1].task.name))

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _warm_up(self) -> None:
        """A few steps of a throw-away copy on random labels: first-use costs fall here, not into the first task."""
        prepared = self.tasks[self.spec.task_indices[0]]
        count = min(self.spec.protocol["batch_size"], len(prepared.images.train))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            copied = copy.deepcopy(self.strategy.view.backbone).requires_grad_(True).train()
            images, _ = next(prepared.images.train.evaluation_batches(count))
            for _ in range(WARM_UP_STEPS):
                features = copied(images)
                labels = torch.randint(features.shape[1], (len(images),), device=self.device)
                nn.functional.cross_entropy(features, labels).backward()

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """TensorFloat-32 on where asked for, off otherwise; the process's settings are put back."""
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32 = cudnn.allow_tf32 = self.spec.precision == "tf32"
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before

