"""Two results folders side by side: what one has and the other lacks, and paired differences of what both have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports import background, page
from reports.build import Built
from reports.configuration import Configuration
from reports.evidence import shared_hardware
from reports.grouping import Panel, group
from reports.method_facts import Methods
from reports.naming import key_title, value_title
from reports.numbers import times
from reports.records import Loaded, load
from reports.specification import FOLLOWING, canonical, flatten
from reports.statistics import Difference, mean_interval, paired_difference
from reports.table_files import write_sheet
from reports.tables.grid import per_seed_mean
from reports.tables.model_size import size_by_rule
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry, missing, points_entry
from results.atomic import write_text
from results.schema import SYNTHETIC
from results.temporary import sweep_below

NO_SEED = "no seed in common"


@dataclass(frozen=True)
class Match:
    """The same thing in both folders; ``changed`` names what differs in the specification, empty if nothing."""

    panel: Panel
    a: Configuration
    b: Configuration
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two sides, A and B, with what they have in common and what stands alone."""

    sides: tuple[Loaded, Loaded]
    methods: Methods
    matches: tuple[Match, ...]
    alone: tuple[str, ...]  #: a line for every configuration without counterpart
    left_out: tuple[str, ...]


def compared(a: Path | Sequence[Path], b: Path | Sequence[Path]) -> Comparison:
    """Read both sides, each one results folder or several, and match their configurations.

    Raises:
        ReportError: one of the folders does not exist or holds no usable record.
    """
    sides = (load(*_folders(a)), load(*_folders(b)))
    methods = Methods(record for side in sides for record in side.all)
    grouped = [group(side.finished, methods) for side in sides]
    matches, alone = match(grouped[0][0], grouped[1][0])
    left_out = tuple(
        f"{name}: {line}"
        for name, side, (_, repeated) in zip("AB", sides, grouped, strict=True)
        for line in (*side.left_out, *repeated)
    )
    return Comparison(sides, methods, tuple(matches), tuple(alone), left_out)


def compare(a: Path | Sequence[Path], b: Path | Sequence[Path], out: Path) -> Built:
    """Write the comparison of the results folders ``a`` and ``b`` into ``out``; differences are ``b`` minus ``a``.

    Raises:
        ReportError: one of the folders does not exist or holds no usable record; nothing is written then.
    """
    return compare_page(compared(a, b), out)


def compare_page(comparison: Comparison, out: Path) -> Built:
    """Write the page of a comparison into ``out``."""
    sides, methods, matches = comparison.sides, comparison.methods, comparison.matches
    alone, left_out = comparison.alone, comparison.left_out
    if out.is_dir():
        sweep_below(out)
    sheets = [overview(matches), *(per_task(found) for found in matches if not found.panel.synthetic)]
    views = [write_sheet(sheet, out) for sheet in sheets]
    html = page.render(
        "compare.html.j2",
        "Two results folders, compared",
        [
            page.Entry("top", "Overview"),
            *(page.Entry(view.key, view.title) for view in views),
            page.Entry("origin", "Made with"),
        ],
        methods.looks(found.a.method for found in matches),
        {
            "sides": [(name, _facts(side)) for name, side in zip("AB", sides, strict=True)],
            "overview": views[0],
            "tasks": views[1:],
            "alone": alone,
            "notices": background.caveats((found.a.method for found in matches), methods),
            "left_out": left_out,
            "looks": page.swatches(found.a for found in matches),
        },
    )
    write_text(out / "compare.html", html)
    return Built(out / "compare.html", tuple(view.key for view in views), (), left_out)


def _folders(side: Path | Sequence[Path]) -> tuple[Path, ...]:
    return (side,) if isinstance(side, Path) else tuple(side)


def match(a: Sequence[Panel], b: Sequence[Panel]) -> tuple[list[Match], list[str]]:
    """Pair the configurations of both folders, and name those that stand alone.

    First those whose specifications are equal; then, within a scenario with the same tasks, a method's remaining
    configuration on each side if there is exactly one left.
    """
    left = [(panel, item) for panel in a for item in panel.everything]
    right = [(panel, item) for panel in b for item in panel.everything]
    matches = []
    for panel, item in list(left):
        twin = next((other for other in right if canonical(other[1].spec) == canonical(item.spec)), None)
        if twin:
            matches.append(Match(panel, item, twin[1], ()))
            left.remove((panel, item))
            right.remove(twin)
    for panel, item in list(left):
        alike = [other for other in left if _same_place(other, (panel, item))]
        twins = [other for other in right if _same_place(other, (panel, item))]
        if len(alike) == len(twins) == 1:
            matches.append(Match(panel, item, twins[0][1], _changes(item, twins[0][1])))
            left.remove((panel, item))
            right.remove(twins[0])
    alone = [
        f"Only in {name}: {_named(panel, item)}"
        for name, rest in zip("AB", (left, right), strict=True)
        for panel, item in rest
    ]
    return matches, alone


def overview(matches: Sequence[Match]) -> Sheet:
    """One line per match: accuracies, paired difference, ratio of training times, ratio of sizes."""
    lines = []
    for found in matches:
        tasks = [task.index for task in found.panel.tasks]
        difference = paired_difference(found.b.accuracy, found.a.accuracy)
        means = [_percent(per_seed_mean(item.accuracy, tasks)) for item in (found.a, found.b)]
        if found.panel.synthetic:
            means = [missing("accuracies on generated images say nothing", SYNTHETIC)] * 2
        lines.append(
            Line(
                Entry(found.a.label),
                (
                    Entry(found.panel.slug, kind="words"),
                    *means,
                    points_entry(difference, 2, hint=NO_SEED),
                    _verdict(difference),
                    _ratio(_times(found)),
                    _ratio(_sizes(found)),
                    Entry("; ".join(found.changed) or "nothing", kind="words"),
                ),
            )
        )
    return Sheet(
        key="comparison",
        title="Side by side",
        caption="Mean accuracy in percent; B minus A in points, paired over task and seed, ± 95 % t-interval. "
        "Times are compared on the same hardware only.",
        headings=(
            Heading("Method", numeric=False),
            Heading("Setting", numeric=False),
            Heading("A", "percent"),
            Heading("B", "percent"),
            Heading("B − A", "points"),
            Heading("Verdict", numeric=False),
            Heading("Time", "B over A"),
            Heading("Size", "B over A"),
            Heading("What differs in the specification", numeric=False),
        ),
        lines=tuple(lines),
        remarks=() if matches else ("The two folders have no configuration in common.",),
    )


def per_task(found: Match) -> Sheet:
    """One line per task of a match."""
    lines = []
    for task in found.panel.tasks:
        a, b = (
            {key: value for key, value in item.accuracy.items() if key[0] == task.index} for item in (found.a, found.b)
        )
        difference = paired_difference(b, a)
        means = [_percent({seed: value for (_, seed), value in side.items()}) for side in (a, b)]
        lines.append(Line(Entry(f"{task.index} {task.name}"), (*means, points_entry(difference, 2, hint=NO_SEED))))
    return Sheet(
        key=f"comparison-{found.panel.slug}-{found.a.slug}-{found.a.initial_task}",
        title=f"{found.a.label}, {found.panel.title}"
        + (f", from task {found.a.initial_task}" if found.a.initial_task > 1 else ""),
        caption="Test accuracy in percent, mean ± 95 % t-interval over seeds.",
        headings=(
            Heading("Task", numeric=False),
            Heading("A", "percent"),
            Heading("B", "percent"),
            Heading("B − A", "points"),
        ),
        lines=tuple(lines),
    )


def _named(panel: Panel, item: Configuration) -> str:
    return f"{item.label} from task {item.initial_task}, {panel.title} ({panel.describe()})"


def _same_place(a: tuple[Panel, Configuration], b: tuple[Panel, Configuration]) -> bool:
    def place(side: tuple[Panel, Configuration]) -> tuple[object, ...]:
        panel, item = side
        return panel.scenario, item.method, item.initial_task, tuple(task.index for task in panel.tasks)

    return place(a) == place(b)


def _changes(a: Configuration, b: Configuration) -> tuple[str, ...]:
    first, second = (flatten({k: v for k, v in item.spec.items() if k not in FOLLOWING}) for item in (a, b))
    return tuple(
        f"{key_title(key)}: {value_title(first.get(key))} → {value_title(second.get(key))}"
        for key in sorted(first.keys() | second.keys())
        if canonical(first.get(key)) != canonical(second.get(key))
    )


def _times(found: Match) -> Difference | None:
    hardware = shared_hardware(found.a, found.b)
    if hardware is None:
        return None
    a, b = (
        {key: math.log(value) for key, value in item.training_seconds(hardware).items()} for item in (found.a, found.b)
    )
    return paired_difference(b, a)


def _sizes(found: Match) -> Difference | None:
    a, b = ({(1, seed): math.log(value) for seed, value in size_by_rule(item).get("itemised", {}).items() if value > 0}
            for item in (found.a, found.b))  # fmt: skip
    return paired_difference(b, a)


def _percent(values: Mapping[int, float]) -> Entry:
    return interval_entry(mean_interval(values.values()), 100, 1)


def _verdict(difference: Difference | None) -> Entry:
    if difference is None:
        return Entry(NO_SEED, kind="missing")
    if difference.seeds.half_width is None:
        return Entry("one seed", kind="not-enough-seeds")
    if difference.above(0):
        return Entry("B is better", kind="agrees")
    if difference.below(0):
        return Entry("A is better", kind="differs")
    same = difference.mean == 0 and difference.seeds.half_width == 0
    return Entry("identical" if same else "no difference shown")


def _ratio(difference: Difference | None) -> Entry:
    if difference is None:
        return missing("not recorded in both, or on other hardware")
    return Entry(times(math.exp(difference.mean)), math.exp(difference.mean))


def _facts(side: Loaded) -> list[tuple[str, str]]:
    runs = f"{len(side.finished)} finished, {len(side.failed)} failed"
    return [
        ("Folder", side.source),
        ("Runs", runs),
        ("When", background.period(side.all)),
        *background.origin(side)[:3],
        ("Code", "; ".join(background.commits(side.all)) or "no commit recorded"),
    ]
