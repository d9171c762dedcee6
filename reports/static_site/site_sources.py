"""The results folders of a site: what each is called, and what it holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reports.grouping import Panel, group
from reports.method_facts import Methods
from reports.naming import slug
from reports.records import Loaded, load
from reports.step_times import Steps, load_steps
from results.schema import RunRecord


@dataclass(frozen=True)
class Source:
    """One results folder."""

    name: str  #: the end of its path, as much as tells it from the others
    slug: str  #: its folder below the site
    loaded: Loaded  #: says ``name`` where it would say the path
    steps: tuple[Steps, ...]
    unread: tuple[str, ...]  #: measurements of steps that could not be read
    panels: tuple[Panel, ...]


def sources(folders: Sequence[Path]) -> tuple[Source, ...]:
    """Read every folder; methods have one title and one colour in all of them.

    Raises:
        ReportError: a folder does not exist or holds no usable record.
    """
    names = short_names(folders)
    read = [replace(load(folder), source=name) for folder, name in zip(folders, names, strict=True)]
    steps = [load_steps(folder) for folder in folders]
    methods = Methods([record for loaded in read for record in (*loaded.all, *loaded.trials)])
    return tuple(
        Source(name, place, loaded, tuple(found), tuple(unread), group(loaded.finished, methods)[0])
        for name, place, loaded, (found, unread) in zip(names, unique_slugs(names), read, steps, strict=True)
    )


def short_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of every path: one, or as many as tell all of them apart."""
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    deepest = max((len(one) for one in parts), default=1)
    for depth in range(1, deepest + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            break
    return names if parts else []


def unique_slugs(texts: Sequence[str]) -> list[str]:
    """A folder name for every text; equal ones are numbered."""
    taken: Counter[str] = Counter()
    found = []
    for text in texts:
        name = slug(text)
        taken[name] += 1
        found.append(name if taken[name] == 1 else f"{name}-{taken[name]}")
    return found


def copies(found: Sequence[Source]) -> tuple[frozenset[tuple[str, str]], tuple[str, ...]]:
    """Runs that an earlier folder has with the very same record: (source name, run id) of each, and a line a folder."""
    seen: dict[str, list[tuple[str, RunRecord]]] = {}
    copied: set[tuple[str, str]] = set()
    counts: Counter[tuple[str, str]] = Counter()
    for source in found:
        for record in source.loaded.finished:
            earlier = seen.setdefault(record.run_id, [])
            twin = next((name for name, other in earlier if other.to_json() == record.to_json()), None)
            if twin is None:
                earlier.append((source.name, record))
            else:
                copied.add((source.name, record.run_id))
                counts[source.name, twin] += 1
    lines = tuple(
        (f"1 run of {name} is" if count == 1 else f"{count} runs of {name} are")
        + f" in {twin}, too; the leaderboard has {'it' if count == 1 else 'them'} there alone"
        for (name, twin), count in sorted(counts.items())
    )
    return frozenset(copied), lines
