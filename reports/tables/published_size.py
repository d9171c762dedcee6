"""What the sizes of table 2 are made of, as the papers count: a common part, and what each method adds to it."""

from __future__ import annotations

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.numbers import DASH
from reports.statistics import mean_interval
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry, missing
from results.schema import TABLE_PARTS, Size

MIB = 2**20
BITS_OF_A_VALUE = 32
BACKBONE, HEADS, OWN, INDEX, MASKS, SOFT = TABLE_PARTS[1:]

#: what each part holds, for a backbone that came with weights
MEANING = {
    TABLE_PARTS[0]: "one for every task and one for the data set that the weights are from",
    BACKBONE: "weights; BN scale, shift and statistics",
    HEADS: "all tasks', and the one that came with the weights",
    OWN: "one more set for every added task, whether the method needs it or not",
    INDEX: "which task owns each weight",
    MASKS: "one per mask unit and added task",
    SOFT: "fp32, of dropped units, their share as measured",
}


def published_size(panel: Panel) -> Sheet | None:
    """The parts of the rule "As the papers count" by method, MiB; None where no record has them or no paper
    prints sizes."""
    columns = [item for item in panel.configurations if _sizes(item)]
    if not columns or panel.paper.model_size.printed is None:
        return None
    present = {part for item in columns for size in _sizes(item) for part in size.table_parts}
    lines = [
        Line(Entry(part, hint=MEANING[part]), tuple(_mean(item, part) for item in columns))
        for part in TABLE_PARTS
        if part in present
    ]
    totals = tuple(
        interval_entry(mean_interval([_total(size) for size in _sizes(item)]), decimals=2) for item in columns
    )
    lines.append(Line(Entry("as measured"), totals, summary=True))
    share = panel.paper.soft_share
    if share is not None and any(_soft(item) for item in columns):
        shares = tuple(_share(item) for item in columns)
        lines.append(Line(Entry("share of soft values", hint="of all mask units, percent"), shares))
        at = tuple(_at(item, share) for item in columns)
        lines.append(Line(Entry(f"at {100 * share:.1f} % soft values", hint="the same formula"), at, summary=True))
    printed = panel.paper.model_size.printed
    if printed:
        found = [printed.get(item.method, "cpg_table") for item in columns]
        entries = tuple(Entry(DASH) if size is None else Entry(f"{size:.0f}", size) for size in found)
        lines.append(Line(Entry("printed"), entries, summary=True))
    at_share = ""
    if share is not None:
        at_share = f" The printed size of the proposed method is what it gives at {100 * share:.1f} % soft values."
    return Sheet(
        key=f"{panel.slug}-published-size",
        title="What the published sizes are made of",
        caption="MiB by part, as the papers count; mean over seeds. The formula charges every method the same common "
        "part: backbone, heads, and a BN set for every added task." + at_share,
        headings=(Heading("Part", numeric=False), *(Heading(item.label) for item in columns)),
        lines=tuple(lines),
    )


def _sizes(item: Configuration) -> list[Size]:
    return [run.size for run in item.runs if run.size is not None and run.size.table_parts]


def _soft(item: Configuration) -> bool:
    return any(size.soft_share is not None for size in _sizes(item))


def _total(size: Size) -> float:
    return sum(size.table_parts.values()) / MIB


def _mean(item: Configuration, part: str) -> Entry:
    found = [size.table_parts[part] / MIB for size in _sizes(item) if part in size.table_parts]
    return interval_entry(mean_interval(found), decimals=2) if found else missing()


def _share(item: Configuration) -> Entry:
    found = [size.soft_share for size in _sizes(item) if size.soft_share is not None]
    return interval_entry(mean_interval(found), scale=100, decimals=1) if found else missing()


def _at(item: Configuration, share: float) -> Entry:
    """The total that the formula gives at another share of soft values: each takes 32 bits beside its own."""
    if not _soft(item):
        return missing()
    found = [
        _total(size) + (BITS_OF_A_VALUE * share * size.table_parts.get(MASKS, 0) - size.table_parts.get(SOFT, 0)) / MIB
        for size in _sizes(item)
    ]
    return interval_entry(mean_interval(found), decimals=2)
