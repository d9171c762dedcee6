"""Numbers that say nothing of their method, or less than they seem to: each fault is defined here, once.

*Masks never moved.* The record has mask statistics, and every mask of every task keeps every unit. No score crossed
its threshold: the run is its backbone with a new head, and its soft values and sizes are those of no mask.

*At chance.* No more test images are right than guessing explains. Over the tasks that the method trained itself, with
n_t test images of c_t classes in task t, the images that guessing gets right are a sum of binomials: mean
sum n_t / c_t, variance sum n_t (1 / c_t) (1 - 1 / c_t). A run is at chance unless the one-sided test at 5 % rejects
guessing, in the normal approximation: (right - mean) / sqrt(variance) > 1.645. Source: the binomial test of
classification accuracy, Combrisson and Jerbi, Journal of Neuroscience Methods 250 (2015).

*Below the lower bound.* Over the tasks and seeds that both have, the mean accuracy is below that of the method that
its facts call a lower bound (a head on the frozen backbone) in the same panel, from the same initial task: both at the
end and when learned, so that forgetting, which no learning rate heals, is not taken for a bad rate. Training from
scratch, which never sees the backbone, is not measured by it.

A configuration has a fault when one of its runs has it, since its mean then has that run in it. The first two are
judged by no claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from reports.configuration import TASK_1_NETWORK, Configuration
from reports.grouping import Panel
from results.schema import FROM_SCRATCH, RunRecord

UNMOVED, CHANCE, LOWER = SIGNS = "†", "‡", "§"  #: what stands beside a number that has one of the three

#: the point that a standard normal variable exceeds with probability 5 %
ONE_SIDED = 1.6449

#: means that differ by less are equal but for the order in which they were summed
_ROUNDING = 1e-12

_WHY = {
    UNMOVED: "no score crossed its threshold at this rate, so what ran is the backbone with a new head; "
    "train longer or raise the learning rate",
    CHANCE: "not above guessing by more than the sampling error of the test images (one-sided binomial test, 5 %)",
    LOWER: "the learning rate was made for something else; tune it",
}
#: the same where settings were found by trials
_WHY_TUNED = _WHY | {LOWER: "in spite of tuning; more epochs, more trials or another space may help"}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a configuration's numbers, in words."""

    sign: str  #: what stands beside a number
    name: str  #: what the sign means: "masks never moved"
    detail: str  #: of this configuration: "at lr=0.0001"
    advice: str  #: what to do about it on the command line

    @property
    def judged(self) -> bool:
        """Whether a claim may rest on it all the same."""
        return self.sign == LOWER

    @property
    def brief(self) -> str:
        """``masks never moved at lr=0.0001``."""
        return " ".join(part for part in (self.name, self.detail) if part)

    @property
    def sentence(self) -> str:
        """The fault, why it is one, and what to do."""
        return f"{self.brief}: {_WHY[self.sign]}"


def masks_never_moved(run: RunRecord) -> bool:
    """Whether the run's masks could drop units by their scores and every one of them keeps every unit.

    Not where a share is kept whatever the scores are, nor where a mask says which weights a task owns or was found in
    the networks of another run.
    """
    rows, mask = run.mask_statistics, run.spec.get("mask")
    by_share = isinstance(mask, Mapping) and mask.get("keep", "threshold") != "threshold"
    if by_share or run.networks_from is not None or run.method.get("masks") is False:
        return False
    return any(row.units for row in rows) and all(row.ones == row.units and row.soft == row.zeros == 0 for row in rows)


@dataclass(frozen=True)
class Guessing:
    """A run's right answers beside those of guessing, in test images."""

    images: int
    right: float
    mean: float  #: of guessing
    variance: float  #: of guessing

    @property
    def explains(self) -> bool:
        """Whether guessing may have given that many right answers."""
        return self.right - self.mean <= ONE_SIDED * math.sqrt(self.variance)


def guessing(run: RunRecord) -> Guessing | None:
    """The run beside guessing, over the tasks that the method trained itself; None where there is nothing to guess."""
    rows = [r for r in run.tasks if r.status != TASK_1_NETWORK and r.classes > 1 and r.test_images > 0]
    if not rows:
        return None
    return Guessing(
        images=sum(row.test_images for row in rows),
        right=sum(row.test_images * row.accuracy_at_end for row in rows),
        mean=sum(row.test_images / row.classes for row in rows),
        variance=sum(row.test_images / row.classes * (1 - 1 / row.classes) for row in rows),
    )


def faults(panel: Panel, item: Configuration) -> tuple[Fault, ...]:
    """What is wrong with a configuration of the panel, in the order of the signs; nothing for a sound one."""
    return _faults(panel).get((item.label, item.initial_task), ())


def signs(panel: Panel, item: Configuration) -> str:
    """``†§``: the signs of a configuration's faults."""
    return "".join(fault.sign for fault in faults(panel, item))


def names(panel: Panel, item: Configuration) -> str:
    """``masks never moved, below head-only``: the same in words."""
    return ", ".join(fault.name for fault in faults(panel, item))


def hint(panel: Panel, item: Configuration) -> str:
    """The faults in whole sentences."""
    return "; ".join(fault.sentence for fault in faults(panel, item))


def unjudged(panel: Panel, item: Configuration) -> str:
    """Why nothing is judged by a configuration: ``masks never moved``; empty where it may be."""
    return ", ".join(fault.name for fault in faults(panel, item) if not fault.judged)


def judgeable(panel: Panel, items: Iterable[Configuration]) -> list[Configuration]:
    """Those by which a claim may be judged; all of them where there is none."""
    every = list(items)
    return [item for item in every if not unjudged(panel, item)] or every


def explained(panel: Panel, items: Sequence[Configuration], *, judged: bool = True, signed: bool = True) -> list[str]:
    """One sentence per fault that some of ``items`` have.

    Args:
        panel: theirs.
        items: each once.
        judged: also faults in spite of which claims are judged.
        signed: each sentence begins with its sign.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for item in items:
        for fault in faults(panel, item):
            if judged or not fault.judged:
                found.setdefault((fault.sign, fault.name), []).append(f"{item.label} {fault.detail}".strip())
    why = _WHY_TUNED if panel.tuned else _WHY
    return [
        f"{sign + ' ' if signed else ''}{name}: {', '.join(found[sign, name])}; {why[sign]}"
        for sign, name in sorted(found, key=lambda key: SIGNS.index(key[0]))
    ]


def remarks(panel: Panel, items: Sequence[Configuration]) -> tuple[str, ...]:
    """What the signs in a table of ``items`` mean, a line each."""
    return tuple(f"{text}." for text in explained(panel, items))


def signs_in_brief(panel: Panel, items: Sequence[Configuration]) -> tuple[str, ...]:
    """The signs in a table of ``items`` and where they are explained, in one line; none without any."""
    words = signs_in_words(panel, items)
    return (f"{words}: explained under the ranking.",) if words else ()


def signs_in_words(panel: Panel, items: Sequence[Configuration]) -> str:
    """``† masks never moved, § below head-only``: the signs in a figure of ``items``; empty without any."""
    found = {fault.sign: fault.name for item in items for fault in faults(panel, item)}
    return ", ".join(f"{sign} {found[sign]}" for sign in SIGNS if sign in found)


@lru_cache(maxsize=4)
def _faults(panel: Panel) -> Mapping[tuple[str, int], tuple[Fault, ...]]:
    return {(item.label, item.initial_task): tuple(_found(panel, item)) for item in panel.everything}


def _found(panel: Panel, item: Configuration) -> Iterator[Fault]:
    knob, rate = _rate(item)
    unmoved = sum(masks_never_moved(run) for run in item.runs)
    if unmoved:
        longer = "" if knob == "reach" else " or train longer"  # scores then travel as far in any number of steps
        advice = f"raise {item.method}.{knob}{longer}" if rate else "train longer"
        yield Fault(UNMOVED, "masks never moved", _joined(rate, _of_runs(unmoved, item)), advice)
    if panel.synthetic:  # the rest goes by accuracies
        return
    beside = [one for run in item.runs if (one := guessing(run)) is not None and one.explains]
    tune = f"tune its rates with --set {_trained_by(item)}.{knob or '…'}=…"
    if beside:
        images = sum(one.images for one in beside)
        right, mean = (100 * sum(values) / images for values in ([o.right for o in beside], [o.mean for o in beside]))
        own = "on its own tasks" if any(row.status == TASK_1_NETWORK for run in item.runs for row in run.tasks) else ""
        odds = f"(guessing: {mean:.1f} %)"
        detail = _joined(f"with {right:.1f} %", own, odds, rate, _of_runs(len(beside), item))
        yield Fault(CHANCE, "at chance", detail, tune)
    bound = _bound(panel, item)
    if bound is not None:
        below = _below(item, bound)
        if below > _ROUNDING:
            detail = _joined(f"by {_points(below)}", rate)
            yield Fault(LOWER, f"below {bound.method}", detail, tune)


def _bound(panel: Panel, item: Configuration) -> Configuration | None:
    """The lower bound of ``item``: of several the one with most seeds in common, then the best over those."""
    if item.facts.lower_bound or item.facts.reference == FROM_SCRATCH:
        return None
    found = [
        other
        for other in panel.everything
        if other.facts.lower_bound and other.initial_task == item.initial_task and set(other.seeds) & set(item.seeds)
    ]

    def weight(other: Configuration) -> tuple[int, float]:
        shared = set(other.seeds) & set(item.seeds)
        values = [value for (_, seed), value in other.accuracy.items() if seed in shared]
        return len(shared), sum(values) / len(values)

    return max(found, key=weight) if found else None


def _below(item: Configuration, bound: Configuration) -> float:
    """How far ``item`` is below ``bound``, a fraction, at the end and when learned: the smaller of the two."""
    return min(
        _mean_difference(bound.accuracy, item.accuracy),
        _mean_difference(bound.accuracy_when_learned, item.accuracy_when_learned),
    )


def _mean_difference(a: Mapping[tuple[int, int], float], b: Mapping[tuple[int, int], float]) -> float:
    shared = a.keys() & b.keys()
    return math.fsum(a[key] - b[key] for key in shared) / max(len(shared), 1)


def _points(fraction: float) -> str:
    """``3.2 points``; very little is not nothing."""
    return "less than 0.1 points" if fraction < 0.0005 else f"{100 * fraction:.1f} points"


#: settings that drive training, the one that stands in for the others first
_DRIVING = ("reach", "mask_lr", "lr")


def _rate(item: Configuration) -> tuple[str, str]:
    """``("lr", "at lr=0.0001")``: the setting that drives training; empty where the spec has no such number."""
    settings = item.spec.get("settings" if item.trains else "networks") or {}
    for knob in _DRIVING:
        rate = settings.get(knob)
        if isinstance(rate, int | float) and not isinstance(rate, bool):
            return knob, f"at {knob}={rate:g}"
    return "", ""


def _trained_by(item: Configuration) -> str:
    """The method whose rates they are: its own, or the one whose networks it starts from."""
    return next((run.networks_from.method for run in item.runs if run.networks_from is not None), item.method)


def _of_runs(count: int, item: Configuration) -> str:
    return "" if count == len(item.runs) else f"in {count} of {len(item.runs)} runs"


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
