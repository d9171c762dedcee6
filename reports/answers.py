"""The three questions that a page answers before anything else, in generated sentences.

*Which method should I use?* The best mean accuracy, and what cannot be told apart from it: one of the two 95 %
intervals of the paired difference (over seeds; bootstrap over task and seed) reaches zero. A head on the frozen
backbone and training from scratch are what methods are measured by, no answers. *What does it cost?* What trains
fastest and what is smallest among the methods within ``NEAR`` of the best. *Are the published numbers true?* Of every
two methods in a paper's table: does the same one lead?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from reports import soundness
from reports.configuration import Configuration
from reports.grouping import Panel
from reports.naming import listed, plural
from reports.numbers import duration
from reports.setting import as_published, departures, unlike_own
from reports.statistics import paired_difference
from reports.tables.ranking import Ranked, ranking
from results.schema import FROM_SCRATCH
from results.units import in_units

WHICH, COST, PUBLISHED = "Which method should I use?", "What does it cost?", "Are the published numbers true?"
QUESTIONS = (WHICH, COST, PUBLISHED)

#: methods this close to the best in mean accuracy, a fraction, are compared by what they cost
NEAR = 0.01


@dataclass(frozen=True)
class Answer:
    """One question, the answer in a few words, and what it rests on in sentences."""

    question: str
    brief: str
    text: str


def answers(panel: Panel) -> tuple[Answer, ...]:
    """The answers that a panel's runs give, one for each of ``QUESTIONS``; on generated images there is one."""
    if panel.synthetic:
        text = "the images are generated, so accuracies mean nothing. Times, memory and sizes stand below."
        return (Answer(WHICH, "Not asked here:", text),)
    return which(panel), cost(panel), published(panel)


# ------------------------------------------------------------------ which method


def which(panel: Panel) -> Answer:
    """The most accurate method and what is tied with it, or why there is no such."""
    methods = candidates(panel)
    if not methods:
        return Answer(WHICH, "No answer yet.", f"{_why_none(panel)} {next_step(panel)}".strip())
    best, bound = methods[0], _bound(panel)
    accuracy = f"{100 * best.accuracy.mean:.1f} % mean accuracy over {plural(len(panel.tasks), 'task')}"
    if bound is not None and bound.accuracy.mean >= best.accuracy.mean:
        lead = f"{bound.configuration.label} ({100 * bound.accuracy.mean:.1f} %)"
        text = f"{lead} is as accurate as every method: the best of them, {best.configuration.label}, has {accuracy}."
        return Answer(WHICH, "None of them in this setting.", f"{text} {_reasons(panel)} {next_step(panel)}".strip())
    return Answer(WHICH, f"{best.configuration.label}.", f"{accuracy}. {_tied(panel, methods)}".strip())


def candidates(panel: Panel) -> list[Ranked]:
    """The methods among which one would choose, best first: no reference, none whose numbers say nothing of it."""
    return [
        item
        for item in ranking(panel)
        if not item.configuration.facts.lower_bound
        and item.configuration.facts.reference != FROM_SCRATCH
        and not soundness.unjudged(panel, item.configuration)
    ]


def _bound(panel: Panel) -> Ranked | None:
    return next((item for item in ranking(panel) if item.configuration.facts.lower_bound), None)


def _why_none(panel: Panel) -> str:
    methods = [item.configuration for item in ranking(panel) if not item.configuration.facts.lower_bound]
    faults = soundness.explained(panel, methods, judged=False, signed=False)
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in faults[:2]) or "Only reference methods were run."


def _tied(panel: Panel, methods: Sequence[Ranked]) -> str:
    best = methods[0]
    if panel.one_seed:
        rest = f"{_next_best(methods)} " if len(methods) > 1 else ""
        return f"{rest}With one seed nobody can say what is tied with it. {next_step(panel)}"
    if len(methods) == 1:
        return "It is the only method here."
    tied = []
    for item in methods[1:]:
        difference = paired_difference(item.configuration.accuracy, best.configuration.accuracy)
        if difference is None or not difference.below(0):
            tied.append(item.configuration.label)
    if tied:
        return f"Not told apart from it (95 %): {listed(tied, 4)}."
    return f"Ahead of all others beyond doubt (95 %). {_next_best(methods)}"


def _next_best(methods: Sequence[Ranked]) -> str:
    behind = 100 * (methods[0].accuracy.mean - methods[1].accuracy.mean)
    return f"Second is {methods[1].configuration.label}, {behind:.1f} points below."


def _reasons(panel: Panel) -> str:
    found = [] if panel.tuned else ["rates are the protocol's, not tuned for these images"]
    found += ["there is one seed only"] if panel.one_seed else []
    found += ["runs are shorter than the paper's"] if any("epochs" in text for text in departures(panel)) else []
    return f"Possible reasons: {listed(found, 3)}." if found else ""


def next_step(panel: Panel) -> str:
    """What to type for a better answer; empty where there is nothing simple."""
    if panel.one_seed:
        return "Next: the same command with --seed 0,1,2."
    return "" if panel.tuned else "Next: find rates with python -m benchmark tune, then run --tuned."


# ------------------------------------------------------------------ what it costs


def cost(panel: Panel) -> Answer:
    """The fastest to train and the smallest among the methods within ``NEAR`` of the best."""
    methods = candidates(panel)
    if not methods:
        return Answer(COST, "See the ranking.", "Costs are compared between methods of nearly equal accuracy.")
    best = methods[0]
    near = [item for item in methods if best.accuracy.mean - item.accuracy.mean <= NEAR]
    timed = [item for item in near if item.in_all and item.in_all.mean > 0]
    sized = [item for item in near if item.size]
    fastest = min(timed, key=lambda item: item.in_all.mean if item.in_all else 0.0, default=None)
    smallest = min(sized, key=lambda item: item.size.mean if item.size else 0.0, default=None)
    brief = _costs(best)
    if len(near) == 1:
        text = (
            f"That is {best.configuration.label} for {plural(len(panel.tasks), 'task')}; no other method comes within"
        )
        return Answer(COST, brief, f"{text} one point. {_cheaper(best, methods)}".strip())
    found = [f"That is {best.configuration.label}. Within one point of it"]
    found.append(_least(fastest, best, "trains fastest", "nothing trains faster", _seconds))
    found.append(_least(smallest, best, "is smallest", "nothing is smaller", _size))
    return Answer(COST, brief, f"{found[0]} {found[1]}, and {found[2]}.")


def _costs(item: Ranked) -> str:
    parts = [
        f"{text} of training" if (text := _seconds(item)) else "",
        f"{text} stored" if (text := _size(item)) else "",
    ]
    return (" and ".join(part for part in parts if part) or "Neither times nor sizes were recorded") + "."


def _seconds(item: Ranked) -> str:
    return duration(item.in_all.mean) if item.in_all and item.in_all.mean > 0 else ""


def _size(item: Ranked) -> str:
    return in_units(item.size.mean) if item.size else ""


def _least(found: Ranked | None, best: Ranked, does: str, nothing: str, text: Callable[[Ranked], str]) -> str:
    if found is None or found is best:
        return nothing
    return f"{found.configuration.label} {does} ({text(found)})"


def _cheaper(best: Ranked, methods: Sequence[Ranked]) -> str:
    """The most accurate of those that cost less than half as much to train."""
    for item in methods[1:]:
        if item.in_all and best.in_all and item.in_all.mean < best.in_all.mean / 2:
            behind = 100 * (best.accuracy.mean - item.accuracy.mean)
            costs = _costs(item).rstrip(".")
            return f"Less than half the time: {item.configuration.label}, {behind:.1f} points below ({costs})."
    return ""


# ------------------------------------------------------------------ published numbers


def published(panel: Panel) -> Answer:
    """Does the order of a paper's methods stand here: of every two, does the same one lead?"""
    table = panel.paper.accuracy.printed
    if table is None:
        run = "One that a paper has: python -m benchmark reproduce table1."
        return Answer(PUBLISHED, "Not tested here,", f"because no paper's table has this scenario. {run}")
    names = [panel.paper.column(task.index, task.name) for task in panel.tasks]
    means = {method: mean for method in table.values if (mean := table.mean(method, names)) is not None}
    items = {method: item for method in means if (item := _nearest_own(panel, method)) is not None}
    sound = {
        method: item
        for method, item in items.items()
        if item.facts.reference != FROM_SCRATCH and not soundness.unjudged(panel, item)
    }
    if len(sound) < 2:
        why = (
            "because fewer than two of the methods of its table were run"
            if len(items) < 2
            else ("because the methods' numbers here say nothing of them")
        )
        return Answer(PUBLISHED, "Not tested here,", f"{why} ({table.name}).")
    order = sorted(sound, key=lambda method: -means[method])
    here = sorted(sound, key=lambda method: -_mean(sound[method]))
    title = panel.methods.title
    printed = f"{table.name}: {' > '.join(title(method) for method in order)}"
    measured = "the same order" if here == order else " > ".join(title(method) for method in here)
    away = departures(panel)
    counts = _pairs(order, sound)
    total = len(order) * (len(order) - 1) // 2
    if panel.one_seed:
        same = sum(_mean(sound[a]) > _mean(sound[b]) for a, b in combinations(order, 2))
        said = f"{same} of {plural(total, 'pair')} in the published order, on one seed and so without a verdict"
    else:
        words = [f"{counts[word]} {word}" for word in counts if counts[word]]
        said = f"of {plural(total, 'pair')} of methods {listed(words, 3)}"
    text = f"{printed}. Here: {measured}: {said}."
    if away:
        shown = "; ".join(away[:3]) + ("; …" if len(away) > 3 else "")
        return Answer(PUBLISHED, "Not tested here,", f"because the runs are not the paper's ({shown}). {text}")
    brief = (
        "The order is contradicted." if counts["contradicted"]
        else "The order is confirmed." if counts["confirmed"] == total
        else "Not decided."
    )  # fmt: skip
    return Answer(PUBLISHED, brief, text)


def _nearest_own(panel: Panel, method: str) -> Configuration | None:
    found = as_published(panel, method)
    return min(found, key=lambda item: (len(unlike_own(panel.scenario, item)), item.variant), default=None)


def _pairs(order: Sequence[str], items: Mapping[str, Configuration]) -> dict[str, int]:
    """Of every two methods in the published order: is the first one ahead here?"""
    counts = {"confirmed": 0, "contradicted": 0, "undecided": 0}
    for a, b in combinations(order, 2):
        difference = paired_difference(items[a].accuracy, items[b].accuracy)
        if difference is None:
            counts["undecided"] += 1
        else:
            counts["confirmed" if difference.above(0) else "contradicted" if difference.below(0) else "undecided"] += 1
    return counts


def _mean(item: Configuration) -> float:
    values = item.accuracy.values()
    return sum(values) / len(values) if values else 0.0
