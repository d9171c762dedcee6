"""What every table is: cells of measured samples beside a published number, in rows and columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from reports.statistics import PUBLISHED_ROUNDING, Interval, agrees_with_published, mean_interval

AGREES = "agrees"
DIFFERS = "differs"
NOT_ENOUGH_SEEDS = "not enough seeds"
NOT_RUN = "not run"
NOT_PUBLISHED = "not published"


@dataclass(frozen=True)
class Cell:
    """One value per seed, in the grid's unit, and the number that the paper prints for it."""

    samples: Mapping[int, float] = field(default_factory=dict)  #: seed -> value
    published: float | None = None
    remark: str = ""  #: why there is no value, or what to know about it
    remark_in_short: str = ""  #: instead of "not run" where there is no value for another reason

    @cached_property
    def interval(self) -> Interval | None:
        """Mean over seeds and its t-interval."""
        return mean_interval(self.samples.values())

    @property
    def difference(self) -> float | None:
        """Measured mean minus published."""
        return None if self.interval is None or self.published is None else self.interval.mean - self.published

    @property
    def ratio(self) -> float | None:
        """Measured mean over published."""
        return self.interval.mean / self.published if self.interval is not None and self.published else None

    def verdict(self, incomparable: str = "", rounding: float = PUBLISHED_ROUNDING, counted: bool = False) -> str:
        """Measured against published; a reason for being *incomparable* (other hardware) is the verdict itself.

        ``counted`` quantities (sizes) are counts, no statistics: they agree within ``rounding`` at any number of seeds.
        """
        if not self.samples:
            return self.remark_in_short or NOT_RUN
        if self.published is None:
            return NOT_PUBLISHED
        if incomparable:
            return incomparable
        if counted:
            return AGREES if abs(self.difference or 0.0) <= rounding else DIFFERS
        agreed = agrees_with_published(list(self.samples.values()), self.published, rounding)
        return NOT_ENOUGH_SEEDS if agreed is None else AGREES if agreed else DIFFERS


@dataclass(frozen=True)
class Axis:
    """A row or a column: a key that is unique in its grid, and what is printed."""

    key: str
    title: str
    summary: bool = False  #: a mean or total, kept apart from what it sums up
    hint: str = ""  #: a few words that explain it
    method: str = ""  #: of a column: the method's printed name, under which papers have it
    incomparable: str = ""  #: of a column: why none of its values can agree with a published one
    sign: str = ""  #: of a column: stands behind its title, what it means in ``Grid.signs``
    mark: str = ""  #: the sign in words, for the CSV
    ranked: bool = True  #: False: its cells cover different tasks, so none of them is the best
    unless_measured: str = ""  #: of a row: what stands in place of numbers where there are none; empty: no such row

    @property
    def signed(self) -> str:
        """The title and its sign."""
        return f"{self.title}\N{NO-BREAK SPACE}{self.sign}" if self.sign else self.title

    @property
    def printed(self) -> str:
        """What heads the published numbers."""
        return self.method or self.title


@dataclass(frozen=True)
class Grid:
    """A table. Rows are what is compared along (tasks), columns what is compared (methods)."""

    key: str  #: file name and HTML id
    title: str
    caption: str
    row_title: str
    unit: str  #: "percent", "seconds", "MiB", …
    decimals: int
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    cells: Mapping[tuple[str, str], Cell]  #: by (row key, column key)
    higher_is_better: bool | None = None  #: None: nothing is ever set in bold
    incomparable: str = ""  #: the same of the whole grid: "other hardware"
    rounding: float = PUBLISHED_ROUNDING  #: half a unit of the last printed digit
    counted: bool = False  #: a count, not a statistic
    remarks: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()  #: what the columns' signs mean, a line each
    missing: tuple[str, ...] = ()  #: published columns that were not run, with the reason
    published_name: str = ""  #: "table 1 of the KSM paper"; empty without published numbers

    def cell(self, row: Axis, column: Axis) -> Cell:
        """The cell at a row and a column; an empty one where nothing stands."""
        return self.cells.get((row.key, column.key), Cell())

    @property
    def has_published(self) -> bool:
        """Whether any cell has a published number beside it."""
        return any(cell.published is not None for cell in self.cells.values())

    @property
    def measured_columns(self) -> tuple[Axis, ...]:
        """Columns in which anything was measured."""
        return tuple(column for column in self.columns if any(self.cell(row, column).samples for row in self.rows))

    @cached_property
    def best(self) -> frozenset[tuple[str, str]]:
        """Cells whose value is the best of their row, as far as the statistics allow that to be said.

        The best mean is marked only when the paired difference to *every* other column of the row, over the seeds
        that both have, has a 95 % t-interval that leaves out zero.
        """
        if self.higher_is_better is None:
            return frozenset()
        found = set()
        for row in self.rows:
            samples = {column.key: self.cell(row, column).samples for column in self.columns}
            best = _best_of(samples, self.higher_is_better) if row.ranked else None
            if best is not None:
                found.add((row.key, best))
        return frozenset(found)

    @cached_property
    def places(self) -> dict[tuple[str, str], int]:
        """1 for the best mean of a row and 2 for the second best, of three or more; equal means have equal places."""
        found: dict[tuple[str, str], int] = {}
        for row in self.rows if self.higher_is_better is not None else ():
            cells = {column.key: self.cell(row, column).interval for column in self.columns}
            means = {key: round(interval.mean, 9) for key, interval in cells.items() if interval is not None}
            if len(means) < 3 or not row.ranked:
                continue
            top = sorted(set(means.values()), reverse=bool(self.higher_is_better))[:2]
            found |= {(row.key, key): top.index(mean) + 1 for key, mean in means.items() if mean in top}
        return found

    def verdict(self, row: Axis, column: Axis) -> str:
        """The verdict on one cell."""
        return self.cell(row, column).verdict(self.incomparable or column.incomparable, self.rounding, self.counted)


def _best_of(samples: Mapping[str, Mapping[int, float]], higher: bool) -> str | None:
    known = {key: values for key, values in samples.items() if values}
    if len(known) < 2:
        return None
    sign = 1 if higher else -1
    best = max(known, key=lambda key: sign * sum(known[key].values()) / len(known[key]))
    others = (values for key, values in known.items() if key != best)
    return best if all(_clearly_above(known[best], values, sign) for values in others) else None


def _clearly_above(a: Mapping[int, float], b: Mapping[int, float], sign: int) -> bool:
    interval = mean_interval([sign * (a[seed] - b[seed]) for seed in sorted(a.keys() & b.keys())])
    return interval is not None and interval.low is not None and interval.low > 0


def per_seed_mean(values: Mapping[tuple[int, int], float], tasks: Sequence[int]) -> dict[int, float]:
    """Mean over ``tasks`` for every seed that has all of them; ``values`` are by (task index, seed)."""
    seeds = sorted({seed for _, seed in values})
    return {
        seed: sum(values[task, seed] for task in tasks) / len(tasks)
        for seed in seeds
        if tasks and all((task, seed) in values for task in tasks)
    }


def by_task(values: Mapping[tuple[int, int], float], scale: float = 1.0) -> defaultdict[int, dict[int, float]]:
    """The values times ``scale``, by task and then by seed; of any other task none."""
    found: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for (task, seed), value in values.items():
        found[task][seed] = value * scale
    return found


def scaled(values: Mapping[int, float], scale: float) -> dict[int, float]:
    """Every value times ``scale``."""
    return {seed: value * scale for seed, value in values.items()}
