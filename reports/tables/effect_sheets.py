"""What each choice is worth, as two tables (main effects, interactions) and one tidy CSV."""

from __future__ import annotations

from reports import soundness
from reports.effects import Contrast, Effect, Effects
from reports.formats import number, written
from reports.grouping import Panel
from reports.naming import value_title
from reports.numbers import signed
from reports.tables.sheet import Entry, Heading, Line, Sheet, missing, points_entry

#: digits after the point of accuracy points
DECIMALS = 2

CSV_HEADER = (
    "kind", "factor", "level", "reference", "with_factor", "with_level", "with_reference", "effect_points",
    "seeds_low", "seeds_high", "bootstrap_low", "bootstrap_high", "seeds", "matched_sets", "pairs", "unused_pairs",
)  # fmt: skip


def effect_sheets(panel: Panel, effects: Effects) -> tuple[Sheet, ...]:
    """Main effects, and interactions where any two factors were crossed."""
    sheets = [_main(panel, effects)]
    if effects.interactions:
        sheets.append(_interactions(effects))
    return tuple(sheets)


def effects_csv(effects: Effects) -> str:
    """One line per effect, in accuracy points."""
    lines = []
    for effect in effects.all:
        told = [text for one in effect.contrasts for text in _names(one)]
        difference = effect.difference
        bounds = (difference.seeds.low, difference.seeds.high, difference.low, difference.high)
        lines.append((
            "main" if len(effect.contrasts) == 1 else "interaction", *told, *[""] * (6 - len(told)),
            number(100 * difference.mean), *(number(None if bound is None else 100 * bound) for bound in bounds),
            difference.seeds.n, len(effect.sets), difference.pairs, effect.unused,
        ))  # fmt: skip
    return written(CSV_HEADER, lines)


def _names(contrast: Contrast) -> tuple[str, str, str]:
    return contrast.factor.name, value_title(contrast.level), value_title(contrast.reference)


def _main(panel: Panel, effects: Effects) -> Sheet:
    intervals = effects.seeds != (1,)
    headings = [
        Heading("Choice", numeric=False),
        Heading("Effect", "points"),
        *([Heading("Bootstrap", "points")] if intervals else []),
        Heading("Least", "of the sets"),
        Heading("Most", "of the sets"),
        Heading("Matched sets"),
        Heading("Seeds"),
    ]
    return Sheet(
        key=f"{effects.key}-main",
        title=effects.title,
        caption=f"{panel.title}: what a level adds to the mean accuracy over all tasks after the last, against the "
        "level that stands below it. Mean over matched sets: runs that differ in this choice alone.",
        headings=tuple(headings),
        lines=tuple(_line(effect, intervals) for effect in effects.main),
        remarks=_remarks(panel, effects),
        view="main effects",
        view_title="Main effects",
    )


def _line(effect: Effect, intervals: bool) -> Line:
    (contrast,) = effect.contrasts
    entries = [
        _entry(effect),
        *([_bootstrap(effect)] if intervals else []),
        _points(min(effect.sets)),
        _points(max(effect.sets)),
        Entry(str(len(effect.sets)), len(effect.sets)),
        Entry(str(effect.difference.seeds.n), effect.difference.seeds.n),
    ]
    return Line(Entry(contrast.title, hint=f"instead of {value_title(contrast.reference)}"), tuple(entries))


def _entry(effect: Effect) -> Entry:
    entry, count = points_entry(effect.difference, DECIMALS), len(effect.sets)
    seeds = effect.difference.seeds.n
    hint = f"{count} matched set{'s' if count > 1 else ''}, {seeds} seed{'s' if seeds > 1 else ''}"
    return Entry(entry.text, entry.value, entry.spread, bold=effect.sure, hint=hint)


def _bootstrap(effect: Effect) -> Entry:
    low, high = effect.difference.low, effect.difference.high
    if low is None or high is None:
        return missing("one seed")
    return Entry(f"{signed(100 * low, DECIMALS)} to {signed(100 * high, DECIMALS)}", 100 * low)


def _points(value: float) -> Entry:
    return Entry(signed(100 * value, DECIMALS), 100 * value)


def _interactions(effects: Effects) -> Sheet:
    """Half a matrix: a row and a column for every contrast that has a partner."""
    found = effects.interactions
    rows = [one for one in effects.contrasts if any(one is first for first, _ in found)]
    columns = [one for one in effects.contrasts if any(one is second for _, second in found)]
    lines = [
        Line(
            Entry(row.title),
            tuple(
                _entry(found[row, column])
                if (row, column) in found
                else missing("" if _before(effects, column, row) else "no matched runs")
                for column in columns
            ),
        )
        for row in rows
    ]
    references = ", ".join(f"{title} {value_title(level)}" for title, level in effects.references.items())
    return Sheet(
        key=f"{effects.key}-interactions",
        title=effects.title,
        caption="What two choices together add to the mean accuracy beyond the sum of what each adds alone, in points "
        f"(difference of differences, mean over matched sets). References: {references}.",
        headings=(
            Heading("Choice", numeric=False),
            *(Heading(column.factor.title, value_title(column.level)) for column in columns),
        ),
        lines=tuple(lines),
        remarks=(
            "Zero: the two choices add up. Bold, and the interval after ±: as with the main effects. A dash: a pair "
            "that stands elsewhere in the table, two levels of one factor, or no matched runs.",
        ),
        view="interactions",
        view_title="Interactions",
    )


def _before(effects: Effects, one: Contrast, other: Contrast) -> bool:
    """The pair is in the other half of the matrix, or no pair at all."""
    order = effects.contrasts
    return one.factor is other.factor or order.index(one) < order.index(other)


def _remarks(panel: Panel, effects: Effects) -> tuple[str, ...]:
    found = []
    if effects.seeds == (1,):
        found.append("One seed: nothing here has an interval.")
    else:
        found.append(
            "± is the 95 % t-interval over seeds of the mean over matched sets; bootstrap: 95 % over (set, seed). "
            "Bold: both leave out zero; by chance up to one in twenty effects of nothing does."
        )
    if unused := max(effect.unused for effect in effects.all):
        found.append(
            f"Not every seed has every set: at most {unused} matched pairs of an effect do not count, so that seeds "
            "are compared on equal sets."
        )
    if effects.alone:
        plural = "s" if effects.alone > 1 else ""
        found.append(f"{effects.alone} configuration{plural} of the grid without a matched one: in no effect.")
    for sign, name in ((soundness.UNMOVED, "masks never moved"), (soundness.CHANCE, "at chance")):
        those = [item for item in effects.configurations if sign in soundness.signs(panel, item)]
        if those:
            found.append(
                f"{sign} {len(those)} of the {len(effects.configurations)} configurations: {name} (see the ranking); "
                "what they add to an effect says nothing of the choice."
            )
    return tuple(found)
