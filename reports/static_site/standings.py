"""Who ran what where: the rows of a leaderboard.

A row is a configuration of one results folder on one kind of hardware. Its runs differ in the seed only; rows of
different folders or devices are never averaged. Only finished runs on test images have a place: failed runs, trials
of ``tune`` and runs on images that were made up have none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports import soundness, tuning
from reports.configuration import Configuration
from reports.grouping import Panel, describe_setting
from reports.hardware import Hardware
from reports.papers import paper_of
from reports.specification import canonical, telling_differences
from reports.static_site.site_sources import Source
from reports.statistics import Interval, mean_interval
from reports.tables.grid import per_seed_mean
from results.schema import RunRecord

#: what must agree before two rows stand in one table; device and precision stand in the rows
SETTING = ("selection", "backbone", "train_limit", "test_limit")
#: keys of a specification that have a column of their own, or none, and so do not tell configurations apart
BESIDE = ("seed", "device", "precision", "compile", "tuning", "tuning_seconds", "backbone", "selection")


@dataclass(frozen=True)
class Standing:
    """One row. Accuracies and forgetting are fractions, times seconds, sizes bytes."""

    source: Source
    panel: Panel
    configuration: Configuration  #: its runs on ``hardware`` alone
    hardware: Hardware
    label: str  #: unique among the configurations of its table
    accuracy: Interval
    forgetting: Interval | None
    seconds: Interval | None
    size: Interval | None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Ascending."""
        return self.configuration.seeds

    @property
    def tuned(self) -> str:
        """``tuned, 8 trials`` or ``untuned``."""
        found = tuning.tuning_of(self.configuration)
        return f"tuned, {found['trials']} trial{'' if found['trials'] == 1 else 's'}" if found else "untuned"

    @property
    def commits(self) -> str:
        """What code the runs were made with, short."""
        found: dict[str, None] = {}
        for run in self.configuration.runs:
            git = run.provenance.get("git") or {}
            commit = str(git.get("commit") or "")[:7]
            version = str((run.provenance.get("packages") or {}).get("maskbench") or "")
            words = commit or (f"version {version}" if version else "not recorded")
            found[words + (" with uncommitted changes" if git.get("dirty") else "")] = None
        return ", ".join(found)

    @property
    def signs(self) -> str:
        """What is wrong with its numbers; see ``reports.soundness``."""
        return soundness.signs(self.panel, self.configuration)


@dataclass(frozen=True)
class Board:
    """One setting of a scenario: rows, best mean accuracy first."""

    title: str
    setting: str  #: in words
    rows: tuple[Standing, ...]
    remarks: tuple[str, ...]  #: what the signs in it mean


@dataclass(frozen=True)
class Leaderboard:
    """A scenario with its settings, the one of most rows first."""

    scenario: str
    title: str
    boards: tuple[Board, ...]

    @property
    def rows(self) -> int:
        """Over all settings."""
        return sum(len(board.rows) for board in self.boards)


def leaderboards(
    sources: Sequence[Source], copied: frozenset[tuple[str, str]] = frozenset()
) -> tuple[Leaderboard, ...]:
    """One leaderboard a scenario, in the order of the papers; without the runs in ``copied`` (source name, run id)."""
    by_scenario: dict[str, dict[str, list[Standing]]] = defaultdict(lambda: defaultdict(list))
    titles: dict[str, str] = {}
    for source in sources:
        for panel in source.panels:
            titles.setdefault(panel.scenario, panel.title)
            for item in panel.everything:
                for row in _rows(source, panel, item, copied):
                    by_scenario[panel.scenario][_setting(row)].append(row)
    found = []
    for scenario in sorted(by_scenario, key=lambda name: (paper_of(name).position, name)):
        groups = sorted(by_scenario[scenario].values(), key=lambda rows: (-len(rows), _setting(rows[0])))
        found.append(Leaderboard(scenario, titles[scenario], tuple(_board(rows) for rows in groups)))
    return tuple(found)


def _rows(source: Source, panel: Panel, item: Configuration, copied: frozenset[tuple[str, str]]) -> Iterable[Standing]:
    for hardware in item.hardware:
        runs = tuple(
            run for run in item.on(hardware) if (source.name, run.run_id) not in copied and not run.is_synthetic
        )
        alone = replace(item, runs=runs)
        accuracy = mean_interval(per_seed_mean(alone.accuracy, [task.index for task in panel.tasks]).values())
        if accuracy is None:
            continue
        yield Standing(
            source,
            panel,
            alone,
            hardware,
            item.label,
            accuracy,
            _over_runs(runs, lambda run: run.forgetting),
            mean_interval(alone.seconds_in_all(hardware).values()),
            _over_runs(runs, lambda run: run.size.rules.get("itemised") if run.size else None),
        )


def _over_runs(runs: Iterable[RunRecord], value: Any) -> Interval | None:
    return mean_interval(float(number) for run in runs if (number := value(run)) is not None)


def _setting(row: Standing) -> str:
    first = row.configuration.runs[0]
    return canonical(
        {
            "tasks": [task.index for task in row.panel.tasks],
            "data": first.provenance.get("data_fingerprint"),
            **{key: first.spec.get(key) for key in SETTING},
        }
    )


def _board(rows: Sequence[Standing]) -> Board:
    labels = _labels(rows)
    named = [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]
    first = rows[0]
    setting = {key: first.configuration.runs[0].spec.get(key) for key in SETTING}
    remarks = dict.fromkeys(text for row in named for text in soundness.remarks(row.panel, [row.configuration]))
    return Board(
        first.panel.title,
        describe_setting(setting, len(first.panel.tasks)),
        tuple(sorted(named, key=lambda row: (-row.accuracy.mean, row.label, row.source.name))),
        tuple(remarks),
    )


def _labels(rows: Sequence[Standing]) -> list[str]:
    """A label for each: its method, and what tells it from the method's other configurations in the table, whatever
    folder they are from."""
    specs = [_told(row.configuration.spec) for row in rows]
    by_method: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row, spec in zip(rows, specs, strict=True):
        by_method[row.configuration.method][canonical(spec)] = spec
    suffixes: dict[tuple[str, str], str] = {}
    for method, found in by_method.items():
        for key, suffix in zip(found, telling_differences(list(found.values())), strict=True):
            suffixes[method, key] = suffix
    return [
        row.configuration.facts.title
        + (f" ({suffix})" if (suffix := suffixes[row.configuration.method, canonical(spec)]) else "")
        for row, spec in zip(rows, specs, strict=True)
    ]


def _told(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in BESIDE}
