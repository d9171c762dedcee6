"""From clocks, progress and counts to the rows of a record."""

from __future__ import annotations

import errno
import math
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmark.execute.resume import Done
from benchmark.measure.clock import RUN
from benchmark.plan.spec import RunSpec
from methods.engine.parts import MaskCount
from methods.registry import METHODS
from results import metrics
from results.schema import (
    FAILED,
    FINISHED,
    TRAINING_PHASES,
    CurvePoint,
    MaskStatistic,
    NetworksFrom,
    RunRecord,
    Size,
    TaskRow,
)


def curve_points(curve: Sequence[Mapping[str, Any]], selection: str) -> tuple[CurvePoint, ...]:
    """A strategy's curve with its selection accuracy under the name it has in the record."""
    name = "test" if selection == "legacy-test" else "validation"
    return tuple(
        CurvePoint(
            point["phase"],
            point["epoch"],
            point["lr"],
            point["loss"] if math.isfinite(point["loss"]) else None,  # a record holds no NaN
            point["train"],
            **{name: point["selection"]},
        )
        for point in curve
    )


def task_rows(done: Done, clock: Mapping[str, Any], selection: str) -> tuple[TaskRow, ...]:
    """All rows in the order of learning. ``clock``: ``Stopwatch.state``."""
    rows = []
    for row, progress, at_end in zip(done.rows, done.progresses, done.matrix[-1], strict=True):
        assert at_end is not None
        rows.append(task_row(row, clock, at_end, selection, progress))
    return tuple(rows)


def task_row(
    row: Mapping[str, Any],
    clock: Mapping[str, Any],
    accuracy_at_end: float,
    selection: str,
    progress: Mapping[str, Any],
) -> TaskRow:
    """One task's row. ``row``: index, name, classes, counts, accuracy, status; ``progress``: ``Progress.to_json``."""
    name = row["name"]
    seconds = dict(clock["seconds"].get(name, {}))
    readings = clock["readings"].get(name, {})
    training = sum(seconds.get(phase, 0.0) for phase in TRAINING_PHASES)
    epochs, images = progress.get("epochs", 0), progress.get("images", 0)
    done = progress.get("done", {})
    goal, met = done.get("goal"), done.get("goal met")
    peaks = [
        value
        for phase in TRAINING_PHASES
        for key, value in readings.get(phase, {}).items()
        if key in ("peak_rss_bytes", "peak_allocated_bytes")
    ]
    joules = [readings[phase]["joules"] for phase in TRAINING_PHASES if "joules" in readings.get(phase, {})]
    return TaskRow(
        **row,
        accuracy_at_end=accuracy_at_end,
        epochs=epochs,
        seconds=seconds,
        seconds_per_epoch=training / epochs if epochs else None,
        images_per_second=images / training if images and training else None,
        peak_memory_bytes=int(max(peaks)) if peaks else None,
        energy_joules=sum(joules) if joules else None,
        goal=goal,
        goal_met=met if goal is not None else None,
        curve=curve_points(progress.get("curve", ()), selection),
        peak_memory=peaks_by_phase(readings),
    )


def peaks_by_phase(readings: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, int]]:
    """Peak bytes by phase and kind of one task, or of what lies outside any."""
    return {
        phase: bytes_by_kind
        for phase, values in readings.items()
        if (bytes_by_kind := {key: int(value) for key, value in values.items() if key.startswith("peak")})
    }


def joules_of_run(clock: Mapping[str, Any]) -> float | None:
    """Joules of all phases of a run, training or not; None where the device does not tell."""
    found = [
        values["joules"] for phases in clock["readings"].values() for values in phases.values() if "joules" in values
    ]
    return sum(found) if found else None


#: by how much the device's own clock may differ from the host's, of the time of all phases
CLOCKS_AGREE = 0.02


def cuda_seconds(clock: Mapping[str, Any]) -> float | None:
    """Seconds of all training phases by CUDA events, the check on the host's clock; None without them.

    Of training phases only: before the first of them the host also waits for the driver, in nobody's event.
    """
    found = [
        values["cuda_seconds"]
        for phases in clock["readings"].values()
        for phase, values in phases.items()
        if phase in TRAINING_PHASES and "cuda_seconds" in values
    ]
    return sum(found) if found else None


def clock_caveats(clock: Mapping[str, Any]) -> list[str]:
    """In sentences: the process was stopped; CUDA events and the host's clock do not tell the same time of training."""
    paused = clock.get("paused", 0.0)
    found = [f"the process was stopped for {paused:.0f} s, which no time here counts"] if paused else []
    device = cuda_seconds(clock)
    host = sum(
        seconds for phases in clock["seconds"].values() for phase, seconds in phases.items() if phase in TRAINING_PHASES
    )
    if device is None or not host or abs(device / host - 1) <= CLOCKS_AGREE:
        return found
    return [
        *found,
        f"the clocks disagree: training took {host:.2f} s by the host's clock, {device:.2f} s by CUDA events",
    ]


def mask_rows(counts: Sequence[MaskCount], names: Mapping[int, str]) -> tuple[MaskStatistic, ...]:
    """Mask counts with task names."""
    return tuple(
        MaskStatistic(names[count.task], count.layer, count.units, count.ones, count.soft, count.zeros)
        for count in counts
    )


def measures_of(method: str, numbers: Mapping[str, float]) -> dict[str, float]:
    """The method's own numbers, in the order of its card; some may not be there yet.

    Raises:
        ValueError: one that the card does not name, or that is no finite number.
    """
    names = [measure.name for measure in METHODS[method].measures]
    if beyond := [name for name in numbers if name not in names]:
        raise ValueError(
            f"the strategy of {method} reports the measure {beyond[0]}, and its card names {', '.join(names) or 'none'}"
        )
    names = [name for name in names if name in numbers]
    for name in names:
        if not math.isfinite(numbers[name]):
            raise ValueError(f"{method} reports {numbers[name]} as its measure {name}, which is no finite number")
    return {name: float(numbers[name]) for name in names}


def finished_record(
    spec: RunSpec,
    run_id: str,
    facts: dict[str, Any],
    done: Done,
    clock: Mapping[str, Any],
    size: Size,
    masks: tuple[MaskStatistic, ...],
    measures: dict[str, float],
    warnings: tuple[str, ...],
    networks: NetworksFrom | None = None,
) -> RunRecord:
    """The record of a run that learned all its tasks.

    Args:
        run_id: the name of its folder.
        facts, clock: provenance, and ``Stopwatch.state``.
        networks: what the run started from, where those are another run's.
    """
    rows = task_rows(done, clock, spec.selection)
    return RunRecord(
        run_id=run_id,
        status=FINISHED,
        method=METHODS[spec.method].facts(spec.settings),
        spec=spec.to_json(),
        provenance=facts,
        tasks=rows,
        accuracy_matrix=tuple(tuple(row) for row in done.matrix),
        mean_accuracy=metrics.mean_accuracy(done.matrix),
        forgetting=metrics.forgetting(done.matrix),
        backward_transfer=metrics.backward_transfer(done.matrix),
        training_seconds_total=sum(row.training_seconds for row in rows),
        trainable_parameters=max((progress.get("trainable", 0) for progress in done.progresses), default=0),
        size=size,
        mask_statistics=masks,
        measures=measures,
        learned_sha256=dict(done.learned_sha256),
        task1_network=done.initial,
        networks_from=networks,
        seconds=clock["seconds"].get(RUN, {}),
        peak_memory=peaks_by_phase(clock["readings"].get(RUN, {})),
        energy_joules=joules_of_run(clock),
        wall_seconds=clock["wall"],
        warnings=warnings,
    )


#: what a folder that cannot take a file says
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def failed_record(spec: RunSpec, run_id: str, facts: dict[str, Any], error: Exception) -> RunRecord:
    """The record of a run that ended in an error; ``facts``: provenance as far as it is known."""
    sentence = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        sentence = (
            f"The results folder cannot be written ({error.strerror}); make room and give the same command again: "
            "finished tasks are kept."
        )
    return RunRecord(
        run_id=run_id,
        status=FAILED,
        spec=spec.to_json(),
        method=METHODS[spec.method].facts(spec.settings),
        provenance={key: fact for key, fact in facts.items() if key != "counters"} | {"finished": now()},
        error=f"{sentence}\n\n{''.join(traceback.format_exception(error))}",
    )


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
