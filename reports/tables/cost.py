"""Epochs, seconds per epoch and total seconds together: most of the published gap between CPG and KSM is epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reports.configuration import Configuration, own_training_seconds
from reports.grouping import Panel
from reports.hardware import Hardware
from reports.naming import slug
from reports.statistics import Interval, mean_interval
from reports.tables.model_size import MIB
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry, missing
from reports.tables.training_time import ON_TOP
from reports.timing_caveats import timing_caveats
from results.schema import RunRecord

KILOJOULE = 1000.0


@dataclass(frozen=True)
class Spent:
    """What one run spent on the tasks that it trained itself."""

    run: RunRecord
    tasks: int
    epochs: int
    seconds: float
    throughput: float | None  #: images per second, mean over tasks


def goals_met(runs: Iterable[RunRecord]) -> tuple[int, int]:
    """How many tasks of all runs met the accuracy goal that their method had for them, and how many had one."""
    rows = [row for run in runs for row in run.tasks if row.goal is not None]
    return sum(bool(row.goal_met) for row in rows), len(rows)


def costs(panel: Panel) -> tuple[Sheet, ...]:
    """One table per hardware."""
    alone = len(panel.hardware) == 1
    return tuple(
        _sheet(panel, hardware, alone)
        for hardware in panel.hardware
        if any(item.training_seconds(hardware) for item in panel.configurations)
    )


def _sheet(panel: Panel, hardware: Hardware, alone: bool) -> Sheet:
    items = [item for item in panel.configurations if item.training_seconds(hardware)]
    energy = any(row.energy_joules is not None for item in items for run in item.on(hardware) for row in run.tasks)
    goals = any(row.goal is not None for item in items for run in item.on(hardware) for row in run.tasks)
    headings = [
        Heading("Method", numeric=False),
        Heading("Tasks trained"),
        *([Heading("Goals met", "over all seeds")] if goals else []),
        Heading("Epochs", "all tasks"),
        Heading("Per epoch", "seconds"),
        Heading("Total", "seconds"),
        Heading("Throughput", "images per second"),
        Heading("Peak memory", "MiB"),
        *([Heading("Energy", "kJ")] if energy else []),
        Heading("Wall", "seconds"),
    ]
    return Sheet(
        key=f"{panel.slug}-cost" + ("" if alone else f"-{slug(hardware.label)}"),
        title="What training costs" + ("" if alone else f", {hardware.label}"),
        caption=f"On {hardware.label}, mean ± 95 % t-interval over seeds, over the tasks that a method trained itself. "
        "Wall is the whole run with loading and evaluation.",
        headings=tuple(headings),
        lines=tuple(_line(item, hardware, energy, goals) for item in items),
        remarks=(*([] if all(item.trains for item in items) else [ON_TOP]), *timing_caveats(panel, hardware)),
    )


def _line(item: Configuration, hardware: Hardware, energy: bool, goals: bool) -> Line:
    spent = [_spent(run) for run in item.on(hardware)]

    def over(value: Callable[[Spent], float | None]) -> Interval | None:
        by_seed = {one.run.spec["seed"]: value(one) for one in spent}
        return mean_interval(number for number in by_seed.values() if number is not None)

    entries = [
        interval_entry(over(lambda one: one.tasks), decimals=0),
        *([_goals(item.on(hardware))] if goals else []),
        interval_entry(over(lambda one: one.epochs), decimals=0),
        interval_entry(over(lambda one: one.seconds / one.epochs if one.epochs else None)),
        interval_entry(over(lambda one: one.seconds)),
        interval_entry(over(lambda one: one.throughput)),
        interval_entry(over(lambda one: _largest(one.run, "peak_memory_bytes", MIB))),
        *([interval_entry(over(lambda one: _energy(one.run)))] if energy else []),
        interval_entry(over(lambda one: one.run.wall_seconds)),
    ]
    return Line(Entry(item.label), tuple(entries))


def _spent(run: RunRecord) -> Spent:
    rows = [(row, seconds) for row in run.tasks if (seconds := own_training_seconds(row)) is not None]
    rates = [row.images_per_second for row, _ in rows if row.images_per_second is not None]
    return Spent(
        run=run,
        tasks=len(rows),
        epochs=sum(row.epochs for row, _ in rows),
        seconds=sum(seconds for _, seconds in rows),
        throughput=sum(rates) / len(rates) if rates else None,
    )


def _largest(run: RunRecord, name: str, unit: float) -> float | None:
    values = [value for row in run.tasks if (value := getattr(row, name)) is not None]
    return max(values) / unit if values else None


def _energy(run: RunRecord) -> float | None:
    values = [row.energy_joules for row in run.tasks if row.energy_joules is not None]
    return sum(values) / KILOJOULE if values else None


def _goals(runs: Sequence[RunRecord]) -> Entry:
    met, goals = goals_met(runs)
    return Entry(f"{met} of {goals}") if goals else missing()
