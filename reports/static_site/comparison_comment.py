"""A comparison as a comment on a pull request, and whether it lets the change pass. Base is A, the change is B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from reports import background
from reports.compare import Comparison, Match, overview
from reports.formats import escape_markdown, full_heading
from reports.records import Loaded
from reports.statistics import Difference, paired_difference

#: lines of a table and of a list at most: a comment of GitHub holds 65,536 letters
MOST_LINES, MOST_ITEMS = 60, 20
#: letters of a cell or an item at most
LONGEST = 200
#: differences nearer than this, a fraction, are equal but for the order in which they were summed
_ROUNDING = 1e-12

WHAT = (
    "Mean test accuracy in percent, over the tasks and seeds that both have: here minus base, paired, in points, ± 95 "
    "% t-interval over seeds. Times are compared on the same hardware only."
)


@dataclass(frozen=True)
class Gate:
    """No configuration's mean accuracy may fall by more than ``points``, and something must be comparable."""

    comparison: Comparison
    points: float

    @cached_property
    def fallen(self) -> tuple[tuple[Match, Difference], ...]:
        """Configurations that fell by more, the most first. The mean difference counts, not its interval."""
        found = [
            (match, difference)
            for match, difference in differences(self.comparison)
            if difference is not None and difference.mean < -self.points / 100 - _ROUNDING
        ]
        return tuple(sorted(found, key=lambda pair: pair[1].mean))

    @cached_property
    def compared(self) -> int:
        """How many configurations have a task and a seed in common."""
        return sum(difference is not None for _, difference in differences(self.comparison))

    @property
    def passed(self) -> bool:
        """Whether the change may pass."""
        return self.compared > 0 and not self.fallen

    @property
    def lines(self) -> tuple[str, ...]:
        """The outcome in words, a line for every configuration that fell too far."""
        if not self.compared:
            return ("Nothing can be compared: no configuration of the base is here with a seed in common.",)
        limit = f"{self.points:g} point{'' if self.points == 1 else 's'}"
        if not self.fallen:
            return (f"No mean accuracy falls by more than {limit} ({self.compared} compared).",)
        return tuple(
            f"{match.b.label} ({match.panel.slug}) falls by {-100 * difference.mean:.2f} points, more than {limit}."
            for match, difference in self.fallen
        )


def differences(comparison: Comparison) -> list[tuple[Match, Difference | None]]:
    """Here minus base, fractions, of every match on real images; None without a seed in common."""
    return [
        (match, paired_difference(match.b.accuracy, match.a.accuracy))
        for match in comparison.matches
        if not _generated(match)
    ]


def _generated(match: Match) -> bool:
    return any(run.is_synthetic for run in (*match.a.runs, *match.b.runs))


def _other_images(match: Match) -> bool:
    """Whether the two say that their images differ."""
    a, b = ({run.provenance.get("data_fingerprint") for run in side.runs} - {None, ""} for side in (match.a, match.b))
    return bool(a and b and not a & b)


def comment(comparison: Comparison, gate: Gate | None = None) -> str:
    """GitHub Markdown: the outcome, a table of paired differences, the largest fall first, and what stands alone."""
    parts = ["### Benchmark against the base"]
    if gate is not None:
        mark = ":white_check_mark:" if gate.passed else ":x:"
        parts.append("\n".join(f"{mark} {_safe(line)}" for line in _at_most(gate.lines)))
    parts.append(_table(comparison) if differences(comparison) else "The two have no configuration in common.")
    parts.append(WHAT)
    parts += _listed("Without a counterpart", comparison.alone, {"Only in A": "Only in the base", "Only in B": "New"})
    other = [f"{match.b.label} ({match.panel.slug})" for match, _ in differences(comparison) if _other_images(match)]
    parts += _listed("Compared, on other images than the base's", other)
    generated = [f"{match.b.label} ({match.panel.slug})" for match in comparison.matches if _generated(match)]
    parts += _listed("Not compared: images are generated", generated)
    failed = background.failures(comparison.sides[1].failed, comparison.methods)
    parts += _listed("Failed here", [one["title"] for one in failed])
    parts += _listed("Left out", comparison.left_out, {"A": "Base", "B": "Here"})
    sides = zip(("Base", "Here"), comparison.sides, strict=True)
    parts.append("<sub>" + "<br>".join(_safe(f"{name}: {_origin(side)}") for name, side in sides) + "</sub>")
    return "\n\n".join(parts) + "\n"


def _table(comparison: Comparison) -> str:
    ordered = sorted(differences(comparison), key=lambda pair: (pair[1] is None, pair[1].mean if pair[1] else 0.0))
    sheet = overview([match for match, _ in ordered])
    titles = {"Method": "Configuration", "A": "Base", "B": "Here", "B − A": "Difference"}
    notes = {"B over A": "here over base"}
    headings = [
        replace(heading, text=titles.get(heading.text, heading.text), note=notes.get(heading.note, heading.note))
        for heading in sheet.headings
    ]
    words = {"B is better": "better", "A is better": "worse"}
    rows = [
        [_safe(words.get(entry.text, entry.text)) for entry in (line.head, *line.entries)]
        for line in sheet.lines[:MOST_LINES]
    ]
    lines = [
        "| " + " | ".join(_safe(full_heading(heading)) for heading in headings) + " |",
        "|" + "|".join("---:" if heading.numeric else "---" for heading in headings) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    more = len(sheet.lines) - len(rows)
    return "\n".join(lines) + (f"\n\n… and {more} more, which fell less or rose." if more else "")


def _listed(title: str, texts: Sequence[str], starts: dict[str, str] | None = None) -> list[str]:
    """A folded list; a text's beginning up to its colon is replaced as ``starts`` says."""
    if not texts:
        return []
    items = []
    for text in _at_most(texts):
        start, colon, rest = text.partition(":")
        items.append(f"- {_safe((starts or {}).get(start, start) + colon + rest)}")
    return [f"<details><summary>{title}: {len(texts)}</summary>\n\n" + "\n".join(items) + "\n\n</details>"]


def _at_most(texts: Sequence[str]) -> list[str]:
    more = len(texts) - MOST_ITEMS
    return [*texts[:MOST_ITEMS], *([f"… and {more} more"] if more > 0 else [])]


def _origin(side: Loaded) -> str:
    code = "; ".join(background.commits(side.all)) or "no commit recorded"
    return f"{len(side.finished)} finished runs, {len(side.failed)} failed; {background.period(side.all)}; code {code}"


def _safe(text: str) -> str:
    """Text of records in a comment: no markup, nobody mentioned, no line break, not too long."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return escape_markdown(cut).replace("@", "@\N{WORD JOINER}")
