"""How long runs will take: from earlier runs on this device, else from a few timed steps. Imports no torch here.

A run's work is counted in images: those of its tasks times the epochs of all its phases. The seconds of one image come
from finished runs of the same method, network and batch size, or from steps that a child process times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.plan.device import kind_of as kind_of_device
from benchmark.plan.device import torch_name
from benchmark.plan.needed import needed_run
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Scenario
from methods.registry import METHODS
from results.schema import RunRecord

if TYPE_CHECKING:
    from benchmark.execute.executors import Executor, Job

#: what must be equal for one run's speed to tell of another's
Kind = tuple[Any, ...]

#: share of a run's time that is no training step: evaluation, loading, writing; as full-size runs have it
BESIDES = 1.25

#: seconds of a first step from which on no more are timed
SLOW = 1.0


@dataclass
class Estimates:
    """Seconds per image and epoch, by kind of run; learns from every record it is shown."""

    images: Mapping[int, int]  #: training images of a task, by its 1-based index; tasks that are not there are unknown
    rates: dict[Kind, list[float]] = field(default_factory=dict)  #: of whole runs
    guesses: dict[Kind, float] = field(default_factory=dict)  #: of single steps, where no run is known

    def learn(self, spec: RunSpec, record: RunRecord) -> None:
        """A finished run's speed."""
        images = {task.index: task.train_images for task in record.tasks}
        work = work_of(spec, images, held_out=False)  # the record's images are those that were trained on
        if record.wall_seconds and work:
            self.rates.setdefault(kind_of(spec), []).append(record.wall_seconds / work)

    def learn_step(self, spec: RunSpec, seconds: float) -> None:
        """The time of one training step."""
        self.guesses[kind_of(spec)] = BESIDES * seconds / spec.protocol.batch_size

    def step_like(self, spec: RunSpec) -> float | None:
        """The usual time of a step of other methods on the same network; None where none was timed."""
        alike = [rate for kind, rate in self.guesses.items() if kind[1:-1] == kind_of(spec)[1:-1]]
        return statistics.median(alike) * spec.protocol.batch_size / BESIDES if alike else None

    def knows(self, spec: RunSpec) -> bool:
        """Some run or step of this kind was timed, or of the kind whose networks it starts from."""
        needed = needed_run(spec)
        return self.measured(spec) or kind_of(spec) in self.guesses or (needed is not None and self.knows(needed))

    def measured(self, spec: RunSpec) -> bool:
        """Some run of this kind was timed."""
        return kind_of(spec) in self.rates

    def basis(self, specs: Sequence[RunSpec]) -> str:
        """What estimates of these runs rest on, in words."""
        runs = sum(len(self.rates[kind]) for kind in {kind_of(spec) for spec in specs if self.measured(spec)})
        steps = any(not self.measured(spec) for spec in specs)
        told = [f"{runs} earlier run{'s' if runs > 1 else ''} on this device"] if runs else []
        return " and ".join(told + (["a few timed steps"] if steps else []))

    def seconds(self, spec: RunSpec) -> float | None:
        """How long the whole run will take, about; None: not known. A run that trains nothing, none of whose kind is
        known, takes what the run that it needs takes beside its training."""
        if (needed := needed_run(spec)) is not None and not self.measured(spec):
            whole = self.seconds(needed)
            return None if whole is None else whole * (1 - 1 / BESIDES)
        work, kind = work_of(spec, self.images), kind_of(spec)
        rate = statistics.median(self.rates[kind]) if kind in self.rates else self.guesses.get(kind)
        return rate * work if rate and work else None

    def total(self, specs: Sequence[RunSpec], workers: int) -> float | None:
        """All runs, ``workers`` at a time; None where one is not known."""
        found = [self.seconds(spec) for spec in specs]
        known = [seconds for seconds in found if seconds is not None]
        if len(known) < len(found):
            return None
        return max(sum(known) / max(1, workers), max(known, default=0.0))


def kind_of(spec: RunSpec) -> Kind:
    """Method, network, arithmetic and batch size."""
    net = spec.backbone
    how = (spec.precision, spec.compile, spec.protocol.batch_size, spec.bn_policy)
    return (spec.method, net.name, net.width, net.image_size, *how)


def work_of(spec: RunSpec, images: Mapping[int, int], *, held_out: bool = True) -> float | None:
    """Images times epochs of the whole run; None where a task's images are not known.

    ``held_out``: the images to select on are still among ``images``.
    """
    counts = [images.get(index) for index in spec.task_indices]
    if not counts or None in counts:
        return None
    seen = [min(count, spec.train_limit or count) for count in counts if count is not None]
    if spec.selection == "validation" and held_out:
        seen = [count - count // 10 for count in seen]
    card = METHODS[spec.method]
    epochs = [spec.settings.all_epochs] * len(seen)
    if card.starts_from_task1(spec.backbone.pretrained):
        epochs[0] = spec.scratch.epochs
    if card.needs.networks_of is not None:  # its images are looked at, and none is trained on
        epochs = [1] * len(seen)
    if card.needs.goal:
        epochs = [own + spec.scratch.epochs for own in epochs]
    return float(sum(count * own for count, own in zip(seen, epochs, strict=True)))


def estimates(
    results: Path, device: str, threads: int, scenario: Scenario, images: Mapping[int, int] | None = None
) -> Estimates:
    """What the records below ``results`` tell of runs on this device; of "cuda" without an index on any card.

    Args:
        images: of each task, where they are known.
    """
    records = list(_records(results))
    found = Estimates(images if images is not None else _images(scenario, records))
    for spec, record in records:
        if _same_device(record, device, threads):
            found.learn(spec, record)
    return found


def _records(results: Path) -> Iterable[tuple[RunSpec, RunRecord]]:
    from results.reader import read_runs

    if not results.is_dir():
        return
    for record in read_runs(results).records:
        try:
            spec = RunSpec.from_json(record.spec)
        except (TypeError, ValueError, KeyError):
            continue
        if record.finished:
            yield spec, record


def _images(scenario: Scenario, records: Sequence[tuple[RunSpec, RunRecord]]) -> dict[int, int]:
    """Training images by task, as the scenario's source or an earlier run of it without limit has them."""
    found: dict[int, int] = {}
    for spec, record in records:
        if spec.scenario == scenario.name and spec.train_limit is None:
            held_out = 10 / 9 if spec.selection == "validation" else 1
            found |= {task.index: round(task.train_images * held_out) for task in record.tasks}
    return found | {index: train for index, (train, _) in enumerate(scenario.images, start=1)}


def _same_device(record: RunRecord, device: str, threads: int) -> bool:
    about = record.provenance.get("device") or {}
    if about.get("type") != kind_of_device(device):
        return False
    if device != "cuda" and about.get("name") != device_name(device):
        return False
    return (
        kind_of_device(device) != "cpu"
        or not threads
        or (record.provenance.get("host") or {}).get("threads") == threads
    )


def device_name(device: str) -> str | None:
    """What records call the processor or the card; None: not to be found out without its driver's library."""
    if kind_of_device(device) == "cpu":
        from benchmark.measure.provenance import cpu_name

        return cpu_name()
    models = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        models += [line.partition(":")[2].strip() for line in path.read_text().splitlines() if line.startswith("Model")]
    index = int(device.partition(":")[2] or 0)
    return models[index] if index < len(models) else None


def different_cards(devices: Sequence[str]) -> list[str]:
    """A line where the devices are cards of several models, whose times no table mixes."""
    models = {name: model for name in devices if (model := device_name(name)) is not None}
    if len(set(models.values())) < 2:
        return []
    told = ", ".join(f"{name} is a {model}" for name, model in models.items())
    return [f"{told}: the report shows times of each model apart, and averages none of them together"]


def time_steps(found: Estimates, executor: Executor, jobs: Sequence[Job], budget: float = 20.0) -> None:
    """A few steps of every kind of run that is not known yet.

    When ``budget`` seconds are spent, the other methods on a network are taken to be as fast as those that were timed.
    """
    started = time.monotonic()
    for job in jobs:
        if found.knows(job.spec):
            continue
        spec = needed_run(job.spec) or job.spec
        timed = type(job)(spec, job.options)
        seconds = executor.seconds_per_step(timed) if time.monotonic() - started < budget else found.step_like(spec)
        if isinstance(seconds, float):
            found.learn_step(spec, seconds)


def seconds_per_step(job: Job, steps: int = 4) -> float:
    """Seconds of one training step of the run's method on noise of its images' shape. Imports torch."""
    import torch

    from benchmark.perf.contenders import session
    from benchmark.perf.workload import Workload, noise

    spec, device = job.spec, torch.device(torch_name(job.options.device))
    net, batch = spec.backbone, spec.protocol.batch_size
    pixels = noise(net.image_size, net.channels, 2, batch * steps, device)
    for count in (1, steps):
        workload = Workload(pixels, spec, device, batch, count)
        one_pass = session(workload)
        workload.synchronise()
        started = time.perf_counter()
        one_pass()
        workload.synchronise()
        seconds = (time.perf_counter() - started) / count
        if seconds > SLOW:
            break
    return seconds


def in_words(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for size, unit in ((86400, "days"), (3600, "h")):
        if seconds >= 2 * size or (size == 3600 and seconds >= 5400):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds)):d} s"
