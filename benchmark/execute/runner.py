"""One run, in the process that carries it out: learn every task, measure, checkpoint, leave a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.execute import assembly, resume
from benchmark.execute.allocator import FreedBlocks
from benchmark.execute.checkpoint import CheckpointError, header_bytes, read_tensors, write_tensors
from benchmark.execute.compiling import compiling_apart
from benchmark.execute.counted_size import size_of
from benchmark.execute.finished_networks import FinishedNetworks
from benchmark.execute.pretrained_row import pretrained_row
from benchmark.execute.promise import Promise
from benchmark.execute.record import (
    clock_caveats,
    cuda_seconds,
    failed_record,
    finished_record,
    mask_rows,
    measures_of,
    now,
)
from benchmark.execute.reference import References, epoch_event
from benchmark.execute.resume import Done
from benchmark.execute.shared_lock import ClaimLost, locked
from benchmark.execute.store import RunFolder, run_folder
from benchmark.measure import provenance
from benchmark.measure.clock import RUN, Stopwatch
from benchmark.measure.flops import forward_flops
from benchmark.measure.gauges import gauges_for
from benchmark.measure.pauses import PauseWatch
from benchmark.plan.device import torch_name
from benchmark.plan.execution import RunOptions
from benchmark.plan.planning import warnings_of
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import notes_of
from methods.engine.parts import Parts, described, tensors_of
from methods.engine.sealing import tensors_sha256
from methods.engine.state import EpochReport, Progress
from methods.registry import METHODS, reference
from results.atomic import write_json
from results.schema import TRAINING_PHASES, RunRecord
from results.seal import sealed

#: beside the tasks' names: what they share
SHARED = "(backbone)"

Emit = Callable[[dict[str, Any]], None]


def run(spec: RunSpec, options: RunOptions, emit: Emit) -> RunRecord | None:
    """Carry out ``spec``; the record is written to its folder whether the run finishes or fails.

    Returns:
        The record, or None when another process is at this run.
    """
    folder = run_folder(options.results, *spec.ids)
    started = now()
    try:
        with locked(folder.path / ".lock") as claim:
            return _run_locked(spec, options, folder, emit, started, claim.require)
    except ClaimLost as error:
        emit({"type": "message", "text": f"{error}; left to it"})
        return None
    except BlockingIOError:
        emit({"type": "message", "text": f"{folder.run_id} is being run by another process; left to it"})
        return None
    except OSError as error:
        return failed_record(spec, folder.run_id, {"started": started}, error)


def _run_locked(
    spec: RunSpec, options: RunOptions, folder: RunFolder, emit: Emit, started: str, still_ours: Callable[[], None]
) -> RunRecord:
    """``still_ours`` raises ClaimLost where another process took the run over: nothing is written then."""
    folder.sweep()
    if (other := _finished_meanwhile(folder, options)) is not None:
        emit({"type": "message", "text": f"{folder.run_id} was finished by another process meanwhile"})
        return other
    facts: dict[str, Any] = {"started": started}

    def heard(event: dict[str, Any]) -> None:
        still_ours()
        folder.append_event(event)
        emit(event)

    try:
        record = Runner(spec, options, folder, heard, still_ours).run(facts)
        still_ours()
        write_json(folder.record, sealed(record.to_json()))
        with suppress(OSError):
            tidy(folder, record, options.keep_weights)
    except ClaimLost:
        raise
    except Exception as error:  # whatever went wrong belongs into the record, unless another process disturbed this one
        still_ours()
        record = failed_record(spec, folder.run_id, facts, error)
        try:
            write_json(folder.record, sealed(record.to_json()))
        except (OSError, ValueError):
            heard({"type": "message", "text": f"the record of {folder.run_id} could not be written"})
    heard({"type": "run-end", "status": record.status, "error": (record.error or "").partition("\n")[0] or None})
    return record


def _finished_meanwhile(folder: RunFolder, options: RunOptions) -> RunRecord | None:
    """The record of a process that was faster: on the same data, and not one that is to be repeated."""
    found = folder.read_finished() if options.data_sha256 else None
    same = found is not None and found.provenance.get("data_fingerprint") == options.data_sha256
    return found if same else None


def tidy(folder: RunFolder, record: RunRecord, keep_weights: str) -> None:
    """After a finished run: drop its checkpoints, and the stored tensors that ``--keep-weights`` does not ask for."""
    whole = METHODS[record.spec["method"]].whole_networks
    if not folder.networks_wanted and (keep_weights == "none" or (keep_weights == "tasks" and whole)):
        folder.forget_tasks()
    folder.forget_checkpoints()


class Runner:
    """The state of one run under way."""

    def __init__(
        self,
        spec: RunSpec,
        options: RunOptions,
        folder: RunFolder,
        emit: Emit,
        still_ours: Callable[[], None] = lambda: None,
    ) -> None:
        self.spec, self.options, self.folder, self.emit = spec, options, folder, emit
        self.still_ours = still_ours
        self.device = torch.device(torch_name(options.device))
        self.card = METHODS[spec.method]
        self.clock = Stopwatch(self._synchronise, whole=True)
        self.clock.gauges = gauges_for(self.device, options.measure)
        self.freed = FreedBlocks()
        self._saved_at = self.clock.wall_seconds

    # ------------------------------------------------------------------ the run

    def run(self, facts: dict[str, Any]) -> RunRecord:
        """Learn all tasks and return the record; goes on from a checkpoint where there is one.

        Args:
            facts: provenance so far; what is learned on the way is added, for the record of a failed run, too.
        """
        compiles, watch = self.spec.compile != "off", PauseWatch()
        self.clock.pauses = watch.seconds
        with watch, assembly.precision_of(self.spec), compiling_apart(self.clock, compiles):
            with self.clock("load"):
                facts |= provenance.provenance(self.device, self.options, self.spec)
                self._assemble()
                facts["data_fingerprint"] = self.material.fingerprint
                if not self.material.resident:
                    facts["notes"].append("the images do not fit the GPU and were sent batch by batch")
            with self.clock("warm-up"):
                first = self.tasks[self.spec.task_indices[0]]
                assembly.warm_up(self.spec, self.strategy.view, first, self.device)
            with self.clock("load"):
                fresh = Done(self.folder.run_id, self.material.fingerprint)
                resumed = self._resume(fresh)
                self.done = resumed or fresh
                self.done.made_on.append(provenance.of_session(facts))
            self._tell({"type": "run-start", "tasks": len(self.spec.task_indices), "done": len(self.done.rows)})
            if not resumed:
                self._start()
            for index in self.spec.task_indices[len(self.done.rows) :]:
                self._learn(index)
            return self._finish(facts)

    def _assemble(self) -> None:
        options = self.options
        self.material = assembly.material(self.spec, options, self.device)
        spec = self.spec = dataclasses.replace(self.spec, inputs=self.material.inputs)
        self.tasks, self.experiences = self.material.tasks, self.material.experiences
        make_backbone = partial(assembly.backbone_of, spec, options)
        self.references = References(
            spec,
            options.results,
            self.device,
            make_backbone,
            self._synchronise,
            self._tell,
            options.checkpoint_seconds if options.resume else None,
            self._give_back,
        )
        self.networks: FinishedNetworks | None = None
        if self.card.needs.networks_of is not None:
            images = {index: prepared.images for index, prepared in self.tasks.items()}
            self.networks = FinishedNetworks(spec, options.results, self.material.fingerprint, images)
        self.strategy = assembly.strategy_of(
            spec,
            make_backbone,
            self.device,
            self._goal,
            self.networks,
            phase=self.clock,
            listener=self._heard_epoch,
            checkpoint=self._epoch_over,
        )
        if self.networks is not None and not self.card.starts_from_task1(spec.backbone.pretrained):
            self.networks.require_start(self.strategy.view.backbone)
        tests = {index: prepared.test for index, prepared in self.tasks.items()}
        names = {index: prepared.task.name for index, prepared in self.tasks.items()}
        self.promise = Promise(self.card, self.strategy, tests, names)

    def _goal(self, task: Any) -> float:
        index = task.label + 1
        return self.references.goal(self.experiences[index], self.tasks[index])

    def _start(self) -> None:
        """The task-1 network, where this method starts from it."""
        if not self.card.starts_from_task1(self.spec.backbone.pretrained):
            return
        index = self.spec.initial_task
        self._tell({"type": "task-start", "name": self.tasks[index].task.name, "position": 1})
        with self.clock("task-1 network"):
            if self.networks is not None:
                network = self.networks.initial()
            else:
                network = self.references.initial_network(self.experiences[index], self.tasks[index])
            self.strategy.adopt(index - 1, network.backbone, network.head)
            self.done.initial = network.facts
        self.done.progresses.append({})
        self._measure(index, "task-1 network")

    def _learn(self, index: int) -> None:
        """One task: train, then measure it and every task before it, then save."""
        name = self.tasks[index].task.name
        self.clock.task = name
        self._tell({"type": "task-start", "name": name, "position": len(self.done.rows) + 1})
        if self.device.type == "cpu":
            with self.clock("load"):
                self.freed.give_back()  # the task's peak memory is its own
        with self.clock("train"):
            self.strategy.train(self.experiences[index], eval_streams=[])
        progress: Progress = self.strategy.progress
        self.done.progresses.append(progress.to_json())
        met = progress.done.get("goal met", True)
        sets_goals = self.card is reference(pretrained=False) and not self.spec.backbone.pretrained
        if sets_goals and self.spec.selection != "last":
            with self.clock("save"):
                self.references.keep_goal(self.tasks[index], progress, self.folder.run_id)
        self._measure(index, "learned" if met else "goal missed")

    def _measure(self, index: int, status: str) -> None:
        prepared, done = self.tasks[index], self.done
        name = prepared.task.name
        self.clock.task = name
        with self.clock("eval"):
            accuracies = [self._accuracy(other) for other in [*(row["index"] for row in done.rows), index]]
            self.promise.note(index)
            done.logits = self.promise.noted()
        padding: list[float | None] = [None] * (len(self.spec.task_indices) - len(accuracies))
        done.matrix.append([*accuracies, *padding])
        done.rows.append(
            {
                "index": index,
                "name": name,
                "classes": len(prepared.task.class_names),
                "train_images": len(prepared.images.train),
                "test_images": len(prepared.test),
                "accuracy": accuracies[-1],
                "status": status,
            }
        )
        with self.clock("save"):
            for other in [row["index"] for row in done.rows] if self.strategy.kept_changes else [index]:
                self._save_task(other)
            self._save(None)
            seconds = self.clock.seconds[name]
            self.emit(
                {
                    "type": "task-end",
                    "name": name,
                    "position": len(done.rows),
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
        """What the task adds; with the first task the shared tensors, where these will not change any more."""
        task = self.tasks[index].task
        metadata = {
            "name": task.name,
            "class_names": task.class_names,
            "mean": task.mean,
            "std": task.std,
            "resize": {"how": task.resize, "size": task.stored_side},
        }
        learned = self.strategy.learned[index - 1]
        self._write(self.folder.task(index), learned, metadata)
        self.done.learned_sha256[task.name] = tensors_sha256(tensors_of(learned))
        if not self.strategy.shared_changes and len(self.done.rows) == 1:
            self._write(self.folder.backbone, self.strategy.stored_shared(), {})

    def _write(self, path: Path, parts: Parts, metadata: dict[str, Any]) -> None:
        self.still_ours()
        write_tensors(path, tensors_of(parts), {**metadata, "parts": described(parts)})
        self.done.written[path.name] = path.stat().st_size
        self.done.headers[path.name] = header_bytes(path)

    def _vouch(self) -> None:
        """What lies on the disk is what was learned; a file that was damaged since is written anew.

        Raises:
            RuntimeError: a file is damaged again as soon as it is written.
        """
        for index, name in [(row["index"], row["name"]) for row in self.done.rows]:
            for attempt in range(2):
                try:
                    tensors, _ = read_tensors(self.folder.task(index))
                    if tensors_sha256(tensors) == self.done.learned_sha256[name]:
                        break
                    fault = "it holds something else than was learned"
                except CheckpointError as error:
                    fault = str(error)
                if attempt:
                    raise RuntimeError(f"what task {name} learned cannot be kept: {fault}; look at the disk")
                self._say(f"{fault}; writing it again")
                self._save_task(index)

    def _finish(self, facts: dict[str, Any]) -> RunRecord:
        spec, strategy, done = self.spec, self.strategy, self.done
        with self.clock("eval"):
            self.promise.hold()
            row = pretrained_row(spec, self.options, strategy, self._say)
            last = done.rows[-1]["index"]
            flops = forward_flops(strategy, last - 1, self.tasks[last].test)
        with self.clock("save"):
            if strategy.shared_changes:
                self._write(self.folder.backbone, strategy.stored_shared(), {})
            self._vouch()
            names = {index - 1: prepared.task.name for index, prepared in self.tasks.items()}
            masks = strategy.mask_statistics()
            done.learned_sha256[SHARED] = tensors_sha256(strategy.shared())
            size = size_of(spec, strategy.storage(), names, strategy.view.backbone, masks, done)
            images = min(len(prepared.images.train) for prepared in self.tasks.values())
        clock = self.clock.state()
        facts |= provenance.afterwards(self.device, facts, self.clock.session_seconds)
        facts["notes"] = provenance.notes_of_sessions(done.made_on, facts["notes"]) + clock_caveats(clock)
        facts |= {"finished": now(), "sessions": done.sessions}
        facts["earlier_sessions"] = done.made_on[:-1]
        facts |= {"repeated_seconds": clock["repeated"], "cuda_seconds": cuda_seconds(clock)}
        facts["paused_seconds"] = clock["paused"]
        warnings = (*notes_of(prepared.task for prepared in self.tasks.values()), *warnings_of(spec, images))
        rows, measures = mask_rows(masks, names), measures_of(spec.method, strategy.measures())
        told = None if self.networks is None else self.networks.told(facts)
        record = finished_record(spec, self.folder.run_id, facts, done, clock, size, rows, measures, warnings, told)
        return dataclasses.replace(record, pretrained_row=row, forward_flops=flops)

    # ------------------------------------------------------------------ checkpoints

    def _save(self, progress: Progress | None) -> None:
        self.still_ours()
        resume.save(self.folder, self.done, self.strategy, self.clock, progress)
        self._saved_at = self.clock.wall_seconds

    def _give_back(self) -> None:
        """At the end of an epoch: no peak grows from phase to phase."""
        if self.device.type == "cpu" and self.freed.are_many():
            with self.clock("save"):
                self.freed.give_back()

    def _epoch_over(self) -> None:
        """Within a task, at the end of an epoch: a checkpoint at most every so many seconds."""
        self._give_back()
        if self.clock.wall_seconds - self._saved_at >= self.options.checkpoint_seconds:
            with self.clock("save"):
                self._save(self.strategy.progress)
            self._give_back()

    def _resume(self, fresh: Done) -> Done | None:
        """Go on from a checkpoint; without one that can be used, clear the folder for a fresh start."""
        if self.options.resume:
            found = resume.resume(self.folder, fresh, self.strategy, self.clock, self.device, self._say)
            if found is not None:
                self.done = found
                for row in found.rows if self.strategy.kept_changes else ():
                    self._save_task(row["index"])  # a killed process may have been further
                self.promise.go_on([row["index"] for row in found.rows], found.logits)
                self._saved_at = self.clock.wall_seconds
                self._say(f"going on after {len(found.rows)} finished tasks")
                return found
            if self.folder.checkpoint.exists() or self.folder.inner_checkpoint.exists():
                self._say("no checkpoint can be used; the run starts afresh")
        self.still_ours()
        self.folder.begin_afresh()
        self.folder.forget_tasks()
        return None

    # ------------------------------------------------------------------ telling

    def _heard_epoch(self, report: EpochReport) -> None:
        self._tell(epoch_event(report, self.tasks[report.task + 1].task.name))

    def _say(self, text: str) -> None:
        self._tell({"type": "message", "text": text})

    def _tell(self, event: dict[str, Any]) -> None:
        """Progress goes to a file and to whoever watches; that is no training time."""
        with self.clock("save"):
            self.emit(event)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
