"""From 5 to 200 tasks: time per task and memory should stay flat, stored bytes grow by what a task adds."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import itertools
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.plan.spec import RunSpec
from methods.registry import METHODS
from results.atomic import replacing, write_text
from results.units import in_units

#: images, side and classes of the digits-like synthetic tasks
IMAGES, SIDE, CLASSES, BATCH = 128, 8, 2, 32

#: tasks before this one warm up; the comparison is of the tasks from here with as many at the end
FIRST, COMPARED = 5, 20


@dataclass(frozen=True)
class Point:
    """One learned task of one method."""

    method: str
    task: int  #: from 1
    seconds: float  #: to learn it: training, evaluation of its epochs, packing
    evaluation_seconds: float  #: to evaluate it afterwards
    process_bytes: int  #: resident memory of the process, or what it allocated on a GPU; all methods together
    stored_bytes: int  #: what this and all earlier tasks added, packed


def run_scale(specs: Sequence[RunSpec], args: argparse.Namespace) -> int:
    """Measure, print, write ``scale.csv``, ``scale.png`` and ``scale.svg``; exit code 0."""
    from benchmark.perf.surroundings import made_ready, surroundings

    device = made_ready(args)
    lines = [f"{args.tasks} synthetic tasks of {IMAGES} images, {CLASSES} classes, {SIDE} x {SIDE}, one epoch each"]
    lines += surroundings(device)
    print("\n".join(lines), flush=True)
    points = list(measure_scale(specs, args.tasks, device))
    lines += ["", as_text(points)]
    print(lines[-1])
    if args.out is not None:
        write_text(args.out / "scale.txt", "\n".join(lines) + "\n")
        write_text(args.out / "scale.csv", as_csv(points))
        write_picture(points, args.out)
        print(f"written: {args.out}/scale.csv, scale.txt, scale.png, scale.svg")
    return 0


def measure_scale(specs: Sequence[RunSpec], tasks: int, device: Any) -> Iterable[Point]:
    """Every method learns task after task, in turns, so that a busy machine slows all alike."""
    import psutil
    import torch

    from benchmark.perf.contenders import labels
    from methods.engine.state import LearningTask
    from methods.engine.tensor_data import TaskImages

    strategies = {name: _strategy(spec, tasks, device) for name, spec in labels(specs).items()}
    stored = dict.fromkeys(strategies, 0)
    process = psutil.Process()
    on_gpu = device.type == "cuda"

    def now() -> float:
        if on_gpu:
            torch.cuda.synchronize(device)
        return time.perf_counter()

    for number in range(tasks):
        train, test = _images(2 * number, device), _images(2 * number + 1, device)
        for method, strategy in strategies.items():
            task = LearningTask(number, number + 1, CLASSES, TaskImages(train, test))
            started = now()
            strategy.state.progress = None
            strategy.learn_task(task)
            learned = now()
            strategy.correct(number, test)
            evaluated = now()
            stored[method] += sum(part.tensor.nbytes for part in strategy.learned[number].values())
            memory = torch.cuda.memory_allocated(device) if on_gpu else process.memory_info().rss
            yield Point(method, number + 1, learned - started, evaluated - learned, memory, stored[method])


def _strategy(spec: RunSpec, tasks: int, device: Any) -> Any:
    from avalanche.training.plugins import EvaluationPlugin

    from benchmark.backbones.builder import build
    from methods.engine.streams import Streams

    mask = spec.mask
    with Streams(0).initialising(0):
        backbone = build("small_cnn", width=0.25, channels=1)
    return METHODS[spec.method].load()(
        backbone=backbone,
        settings=spec.settings.with_epochs(1),
        bn_policy=spec.bn_policy,
        task_count=tasks,
        pretrained=True,
        train_mb_size=BATCH,
        device=device,
        evaluator=EvaluationPlugin(),
        precision=spec.precision,
        compile_backbone=spec.compile == "backbone",
        **({} if mask is None else {"mask": mask}),
    )


def _images(seed: int, device: Any) -> Any:
    import torch

    from methods.engine.augment import Augmenting
    from methods.engine.tensor_data import TensorImages

    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (IMAGES, 1, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    labels = torch.arange(IMAGES) % CLASSES
    return TensorImages(images.to(device), labels.to(device), (0.5,), (0.5,), Augmenting(SIDE))


def growth(points: Sequence[Point], method: str) -> float:
    """Median seconds of the method's last tasks over those of its first ones, warm-up excluded where it can be."""
    seconds = [point.seconds for point in points if point.method == method]
    seconds = seconds[FIRST - 1 :] or seconds
    count = max(1, min(COMPARED, len(seconds) // 2))
    return statistics.median(seconds[-count:]) / statistics.median(seconds[:count])


def as_text(points: Sequence[Point]) -> str:
    """A line per method, and one for the memory of the process."""
    lines = []
    for method in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == method]
        median = statistics.median(point.seconds for point in own) * 1000
        steps = [after.stored_bytes - before.stored_bytes for before, after in itertools.pairwise(own)]
        lines.append(
            f"{method:<22} {median:8.1f} ms a task, last tasks {growth(points, method):.2f} x the first, "
            f"{in_units(min(steps, default=0))} to {in_units(max(steps, default=0))} stored per further task"
        )
    first = next((point for point in points if point.task == FIRST), points[0])
    grown = points[-1].process_bytes - first.process_bytes
    held = sum(last.stored_bytes for last in _last(points))
    lines.append(f"the process grew by {in_units(grown)} since task {FIRST}; what tasks stored is {in_units(held)}")
    return "\n".join(lines)


def _last(points: Sequence[Point]) -> list[Point]:
    return list({point.method: point for point in points}.values())


def as_csv(points: Sequence[Point]) -> str:
    """One line per method and task."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Point)])
    for point in points:
        writer.writerow(dataclasses.astuple(point))
    return text.getvalue()


def write_picture(points: Sequence[Point], folder: Path) -> None:
    """Time per task, memory of the process and stored bytes over the number of tasks; scale.png and scale.svg."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (times, memory, stored) = pyplot.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for method in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == method]
        tasks = [point.task for point in own]
        card = METHODS.get(method)
        colour = card.look.light if card and card.look else None
        times.plot(tasks, [point.seconds * 1000 for point in own], linewidth=0.8, label=method, color=colour)
        stored.plot(tasks, [point.stored_bytes / 2**20 for point in own], label=method, color=colour)
    memory.plot([point.task for point in points], [point.process_bytes / 2**20 for point in points], color="#555555")
    for panel, title, unit in (
        (times, "learning one task", "milliseconds, logarithmic"),
        (memory, "the process, all methods together", "MiB"),
        (stored, "stored by all tasks so far", "MiB"),
    ):
        panel.set(title=title, xlabel="task", ylabel=unit)
    times.set_yscale("log")
    for axis in (times.yaxis.set_major_formatter, times.yaxis.set_minor_formatter):
        axis("{x:g}")
    memory.set_ylim(0, 1.1 * max(point.process_bytes for point in points) / 2**20)
    stored.set_ylim(bottom=0)
    stored.legend(frameon=False)
    for name in ("scale.png", "scale.svg"):
        with replacing(folder / name) as path:
            figure.savefig(path, dpi=150, format=name.rpartition(".")[2])
    pyplot.close(figure)
