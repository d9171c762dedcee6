"""The first table of the page: every method of a panel in one line, best mean accuracy first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from reports import soundness, tuning
from reports.configuration import TASK_1_NETWORK, Configuration
from reports.grouping import Panel
from reports.hardware import Hardware
from reports.naming import plural
from reports.setting import incomparable, published_mean
from reports.statistics import Difference, Interval, mean_interval, paired_difference
from reports.tables.grid import per_seed_mean
from reports.tables.model_size import MIB
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry, missing, points_entry
from reports.timing_caveats import caveats_in_brief
from reports.validation import REMARK, mean_validation, task1_curve
from results.schema import FROM_SCRATCH, RunRecord


@dataclass(frozen=True)
class Ranked:
    """A configuration's standing. Accuracies and their differences are fractions, times seconds, sizes bytes."""

    configuration: Configuration
    accuracy: Interval
    best: bool  #: no other has a better mean
    behind_best: Difference | None  #: this minus the best, paired; None for the best itself or without shared seeds
    validation: Interval | None  #: accuracy of the kept epochs on validation images; see ``reports.validation``
    last_epoch: Interval | None  #: accuracy without choosing an epoch on the test set; see ``without_choosing``
    forgetting: Interval | None
    backward_transfer: Interval | None
    transfer: Difference | None  #: accuracy when learned minus scratch's; None where scratch was not run
    seconds: Interval | None  #: training seconds in total on the panel's main hardware
    networks: Interval | None  #: those of the runs whose networks it starts from, there; None: it trains by itself
    in_all: Interval | None  #: both together
    with_tuning: Interval | None  #: the same and what the method's trials took; None for untuned settings
    size: Interval | None  #: itemised bytes
    parameters: int | None
    paper: float | None = None  #: the published mean over the same tasks, in percent
    away: str = ""  #: why the published number cannot agree: "other setting"


def main_hardware(panel: Panel) -> Hardware | None:
    """The hardware that most configurations, then most runs, were timed on."""

    def weight(hardware: Hardware) -> tuple[int, int, Hardware]:
        runs = [len(item.on(hardware)) for item in panel.configurations]
        return -sum(1 for count in runs if count), -sum(runs), hardware

    return min(panel.hardware, key=weight) if panel.hardware else None


@lru_cache(maxsize=4)
def ranking(panel: Panel) -> tuple[Ranked, ...]:
    """Every main configuration, best mean accuracy first."""
    tasks = [task.index for task in panel.tasks]
    means = {item.label: mean_interval(per_seed_mean(item.accuracy, tasks).values()) for item in panel.configurations}
    order = sorted(
        (item for item in panel.configurations if means[item.label]), key=lambda item: -_mean(means[item.label])
    )
    hardware = main_hardware(panel)
    references = [item.method for item in panel.configurations if item.facts.reference == FROM_SCRATCH]
    scratch = panel.of(references[0])[0] if references else None
    found = []
    for item in order:
        accuracy = means[item.label]
        assert accuracy is not None
        found.append(
            Ranked(
                configuration=item,
                accuracy=accuracy,
                best=item is order[0],
                behind_best=None if item is order[0] else paired_difference(item.accuracy, order[0].accuracy),
                validation=mean_interval(_by_seed(item.runs, mean_validation).values()),
                last_epoch=without_choosing(item) if panel.setting.get("selection") == "legacy-test" else None,
                forgetting=over_seeds(item, "forgetting"),
                backward_transfer=over_seeds(item, "backward_transfer"),
                transfer=_transfer(item, scratch),
                seconds=over_seeds(item, "training_seconds_total", hardware),
                networks=mean_interval(item.networks_seconds(hardware).values()) if hardware else None,
                in_all=mean_interval(item.seconds_in_all(hardware).values()) if hardware else None,
                with_tuning=mean_interval(with_tuning(item, hardware).values()),
                size=mean_interval(sizes(item).values()),
                parameters=next((run.trainable_parameters for run in item.runs if run.trainable_parameters), None),
                paper=published_mean(panel, item.method),
                away=incomparable(panel, item),
            )
        )
    return tuple(found)


def without_choosing(item: Configuration) -> Interval | None:
    """Mean test accuracy that each task's last epoch had, where the epoch kept was chosen on the test set.

    None for a method that goes back to an earlier phase (CPG's pruning): its last epoch is of a network that it drops.
    The shared task-1 network counts with its own last epoch.
    """
    means = {}
    for run in item.runs:
        ends = []
        for row in run.tasks:
            if any(point.phase == "prune" for point in row.curve):
                return None
            if row.status == TASK_1_NETWORK:
                ends.append((task1_curve(run) or [{}])[-1].get("selection"))
            else:
                ends.append(row.curve[-1].test if row.curve else None)
        known = [end for end in ends if isinstance(end, int | float)]
        if len(known) < len(ends):
            return None
        means[run.spec["seed"]] = sum(known) / len(known)
    return mean_interval(means.values())


def ranking_sheet(panel: Panel) -> Sheet:
    """The ranking as a table, in percent, points, seconds and MiB."""
    ranked = ranking(panel)
    hardware = main_hardware(panel)
    has_scratch = any(item.transfer for item in ranked)
    has_last = any(item.last_epoch for item in ranked)
    has_validation = any(item.validation for item in ranked)
    has_tuning = any(item.with_tuning for item in ranked)
    has_paper = any(item.paper for item in ranked)
    has_forgetting = not all(_nothing(item.forgetting) and _nothing(item.backward_transfer) for item in ranked)
    has_seeds = len({len(item.configuration.seeds) for item in ranked}) > 1
    headings = [
        Heading("Method", numeric=False),
        Heading("Accuracy", "percent"),
        *([Heading("Paper", "percent")] if has_paper else []),
        *([Heading("Validation", "percent")] if has_validation else []),
        *([Heading("Last epoch", "percent")] if has_last else []),
        Heading("vs. best", "points"),
        *([Heading("Forgetting", "points"), Heading("Backward transfer", "points")] if has_forgetting else []),
        *([Heading("vs. scratch", "points")] if has_scratch else []),
        Heading("Training", "seconds"),
        *([Heading("With tuning", "seconds")] if has_tuning else []),
        Heading("Size", "MiB"),
        Heading("Trainable", "parameters"),
        *([Heading("Seeds")] if has_seeds else []),
    ]
    remarks = (
        [
            "* not told apart from the best: one of the two 95 % intervals (over seeds; bootstrap over task and seed) "
            "reaches zero, or they share one seed only."
        ]
        if any(_tied(panel, item) for item in ranked)
        else []
    )
    if has_paper:
        name = panel.paper.accuracy.printed.name if panel.paper.accuracy.printed else ""
        away = " In grey: the runs here were trained otherwise." if any(item.away for item in ranked) else ""
        remarks.append(f"Paper: {name}, mean over the tasks shown.{away}")
    if not has_forgetting:
        remarks.append("Forgetting and backward transfer are 0.0 everywhere: no accuracy changed after its task.")
    if has_validation:
        remarks.append(REMARK)
    if has_last:
        remarks.append(
            "Last epoch: what each task had without choosing its epoch on the test set; the network that it started "
            "from may still have been chosen so."
        )
    if hardware:
        remarks.append(
            f"Training seconds: all tasks that the method trained itself, on {hardware.label}; "
            "the shared task-1 network apart" + caveats_in_brief(panel.configurations, hardware) + "."
        )
    if not all(item.configuration.trains for item in ranked):
        remarks.append(
            "(+ …): what the networks of another run took, from which the method starts; it trains nothing itself. A "
            "question mark: they were trained on other hardware."
        )
    if has_tuning:
        remarks.append(
            "With tuning: training and all trials of the method, evaluation and loading included; trials are paid for "
            "once, whatever the number of seeds."
        )
    columns = (has_paper, has_validation, has_last, has_forgetting, has_scratch, has_tuning, has_seeds)
    shown = dict(
        zip(("paper", "validation", "last", "forgetting", "transfer", "tuning", "seeds"), columns, strict=True)
    )
    counts = {len(item.configuration.seeds) for item in ranked}
    over = f"over {plural(counts.pop(), 'seed')}" if len(counts) == 1 else "over seeds"
    return Sheet(
        key=f"{panel.slug}-ranking",
        title="Ranking",
        caption=f"{panel.title}: {panel.describe()}. Mean ± 95 % t-interval {over}. {tuning.in_words(panel)}",
        headings=tuple(headings),
        lines=tuple(_line(panel, item, shown) for item in ranked),
        remarks=(*soundness.remarks(panel, [item.configuration for item in ranked]), *remarks),
    )


def _line(panel: Panel, item: Ranked, shown: Mapping[str, bool]) -> Line:
    entries = [
        _accuracy(panel, item),
        *([_paper(panel, item)] if shown["paper"] else []),
        *([interval_entry(item.validation, 100, 1)] if shown["validation"] else []),
        *([interval_entry(item.last_epoch, 100, 1)] if shown["last"] else []),
        _behind(panel, item),
        *([interval_entry(item.forgetting, 100, 1)] if shown["forgetting"] else []),
        *([interval_entry(item.backward_transfer, 100, 1)] if shown["forgetting"] else []),
        *([points_entry(item.transfer)] if shown["transfer"] else []),
        _seconds(item),
        *([interval_entry(item.with_tuning)] if shown["tuning"] else []),
        interval_entry(item.size, 1 / MIB),
        missing() if item.parameters is None else Entry(f"{item.parameters:,}", item.parameters),
        *([Entry(str(seeds := len(item.configuration.seeds)), seeds)] if shown["seeds"] else []),
    ]
    return Line(Entry(item.configuration.label), tuple(entries))


def _nothing(interval: Interval | None) -> bool:
    """Exactly nothing, in every seed."""
    return interval is not None and interval.mean == 0 and not interval.half_width


def _seconds(item: Ranked) -> Entry:
    """Its own training seconds, and where it starts from another run's networks those of that run."""
    entry = interval_entry(item.seconds)
    if item.configuration.trains:
        return entry
    of_networks = f"{item.networks.mean:.3g}" if item.networks else "?"
    return replace(entry, text=f"{entry.text} (+ {of_networks})", hint="on top of the networks that it starts from")


def _accuracy(panel: Panel, item: Ranked) -> Entry:
    """The mean accuracy, with the signs of what is wrong with it."""
    entry, of = interval_entry(item.accuracy, 100, 1), item.configuration
    text = f"{entry.text} {soundness.signs(panel, of)}".rstrip()
    return replace(entry, text=text, hint=soundness.hint(panel, of), mark=soundness.names(panel, of))


def _behind(panel: Panel, item: Ranked) -> Entry:
    if item.best:
        return Entry("best", 0.0)
    if item.behind_best is None:
        return missing("no seed in common with the best")
    return points_entry(item.behind_best, mark="*" if _tied(panel, item) else "")


def _tied(panel: Panel, item: Ranked) -> bool:
    """Statistics do not tell it from the best; where the whole panel has one seed they say nothing at all."""
    return item.behind_best is not None and not panel.one_seed and not item.behind_best.below(0)


def _paper(panel: Panel, item: Ranked) -> Entry:
    if item.paper is None:
        return missing("no published number")
    return Entry(
        f"{item.paper:.{panel.paper.decimals}f}", item.paper, kind="missing" if item.away else "", hint=item.away
    )


def over_seeds(item: Configuration, name: str, hardware: Hardware | None = None) -> Interval | None:
    """Mean of a number of the record over the seeds, those timed on ``hardware`` only where it is given."""
    runs = item.runs if hardware is None else item.on(hardware)
    return mean_interval(_by_seed(runs, lambda run: getattr(run, name)).values())


def _by_seed(runs: Iterable[RunRecord], value: Callable[[RunRecord], float | None]) -> dict[int, float]:
    return {run.spec["seed"]: number for run in runs if (number := value(run)) is not None}


def with_tuning(item: Configuration, hardware: Hardware | None) -> dict[int, float]:
    """Training seconds of a run on ``hardware`` and those of its method's trials, by seed; empty if not both known."""

    def total(run: RunRecord) -> float | None:
        trials, training = tuning.tuning_seconds(run), run.training_seconds_total
        return None if trials is None or training is None else training + trials

    return _by_seed(item.runs if hardware is None else item.on(hardware), total)


def sizes(item: Configuration) -> Mapping[int, float]:
    """Itemised bytes by seed."""
    return {
        run.spec["seed"]: float(size)
        for run in item.runs
        if run.size is not None and (size := run.size.rules.get("itemised")) is not None
    }


def _transfer(item: Configuration, scratch: Configuration | None) -> Difference | None:
    if scratch is None or item is scratch:
        return None
    return paired_difference(item.accuracy_when_learned, scratch.accuracy_when_learned)


def _mean(interval: Interval | None) -> float:
    return interval.mean if interval else 0.0
