"""Every method with tuned settings beside the same method without: what tuning was worth, and whether ranks moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.naming import key_title, value_title
from reports.specification import flatten
from reports.statistics import Difference, Interval, mean_interval, paired_difference
from reports.tables.grid import per_seed_mean
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry, missing, points_entry
from reports.tuning import in_words, searched, tuning_of

#: ends a difference that may be none
DOUBT = "*"


@dataclass(frozen=True)
class Pair:
    """A method's tuned configuration, and the untuned one that differs from it in nothing but what was searched."""

    untuned: Configuration
    tuned: Configuration
    rivals: int  #: other untuned configurations of which the same is true

    @cached_property
    def difference(self) -> Difference | None:
        """Tuned minus untuned, a fraction, over the (task, seed) pairs of both; None without a seed in common."""
        return paired_difference(self.tuned.accuracy, self.untuned.accuracy)


def pairs(untuned: Panel, tuned: Panel) -> list[Pair]:
    """A pair for every tuned configuration that has a twin, best tuned mean accuracy first."""
    found = []
    for item in tuned.configurations:
        twins = [other for other in untuned.of(item.method) if _same_but_searched(item, other)]
        if twins:
            most = max(twins, key=lambda other: len(set(other.seeds) & set(item.seeds)))
            found.append(Pair(most, item, len(twins) - 1))
    return sorted(found, key=lambda pair: -_mean(pair.tuned))


def _same_but_searched(tuned: Configuration, untuned: Configuration) -> bool:
    """They agree in all that both say, what the trials varied apart; a knob that does nothing is said by neither."""
    a, b = flatten(tuned.spec), flatten(untuned.spec)
    ignored = {*searched(tuned), *(key for key in a if key.startswith("tuning."))}
    return tuned.initial_task == untuned.initial_task and all(
        a[key] == b[key] for key in (a.keys() & b.keys()) - ignored
    )


def tuned_beside_untuned(untuned: Panel, tuned: Panel) -> Sheet | None:
    """The table, in percent and points; None where no method was run both ways."""
    found = pairs(untuned, tuned)
    if not found:
        return None
    alone = [item.label for item in tuned.configurations if all(pair.tuned is not item for pair in found)]
    remarks = []
    if any(pair.difference and not _sure(pair.difference) for pair in found):
        remarks.append(
            f"{DOUBT} cannot be told apart from zero: one of the two 95 % intervals (over seeds; bootstrap over task "
            "and seed) reaches it, or there is one seed only."
        )
    if any(pair.rivals for pair in found):
        remarks.append("Of several untuned settings of a method, the one with most seeds in common stands here.")
    if alone:
        remarks.append(f"Without an untuned run that differs in the searched settings alone: {', '.join(alone)}.")
    return Sheet(
        key=f"{tuned.slug}-tuned-beside-untuned",
        title="Tuned beside untuned",
        caption=f"{in_words(tuned)} Mean accuracy in percent ± 95 % t-interval over seeds; tuned minus untuned in "
        "points, paired over task and seed. Ranks are among the methods of this table.",
        headings=(
            Heading("Method", numeric=False),
            Heading("Untuned", "percent"),
            Heading("Tuned", "percent"),
            Heading("Difference", "points"),
            Heading("Rank untuned"),
            Heading("Rank tuned"),
            Heading("Settings found", "untuned → tuned", numeric=False),
        ),
        lines=tuple(
            _line(pair, [pair.untuned for pair in found], [pair.tuned for pair in found]) for pair in found
        ),
        remarks=tuple(remarks),
    )  # fmt: skip


def _line(pair: Pair, untuned: Sequence[Configuration], tuned: Sequence[Configuration]) -> Line:
    before, after = _rank(pair.untuned, untuned), _rank(pair.tuned, tuned)
    difference = pair.difference
    mark = DOUBT if difference and not _sure(difference) else ""
    entries = (
        interval_entry(_interval(pair.untuned), 100, 1),
        interval_entry(_interval(pair.tuned), 100, 1),
        points_entry(difference, mark=mark) if difference else missing("no seed in common"),
        Entry(str(before), before),
        Entry(str(after), after),
        Entry(_changes(pair), kind="words"),
    )
    return Line(Entry(pair.tuned.label), entries)


def _sure(difference: Difference) -> bool:
    return difference.above(0) or difference.below(0)


def _changes(pair: Pair) -> str:
    """``lr 0.001 → 0.0034, schedule step → cosine``."""
    if tuning_of(pair.tuned)["trial"] == 0:
        return "trial 0: the protocol's own"
    own, found = flatten(pair.untuned.spec), flatten(pair.tuned.spec)
    return ", ".join(
        f"{key_title(key)} {value_title(own.get(key))} → {value_title(found.get(key))}"
        for key in searched(pair.tuned)
        if own.get(key) != found.get(key)
    )


def _rank(item: Configuration, among: Sequence[Configuration]) -> int:
    """One plus the number of others with a better mean; equal means share a rank."""
    others = {id(other): _mean(other) for other in among}
    return 1 + sum(mean > _mean(item) for mean in others.values())


def _interval(item: Configuration) -> Interval | None:
    return mean_interval(per_seed_mean(item.accuracy, sorted({task for task, _ in item.accuracy})).values())


def _mean(item: Configuration) -> float:
    interval = _interval(item)
    return interval.mean if interval else 0.0
