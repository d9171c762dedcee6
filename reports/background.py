"""What was run, on what, when, and with which software, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from reports.grouping import Panel
from reports.hardware import hardware_of
from reports.method_facts import Methods
from reports.naming import key_title, value_title
from reports.records import Loaded
from reports.specification import FOLLOWING, canonical, flatten
from reports.tables.sheet import Entry, Heading, Line, Sheet
from results.schema import RunRecord

#: Packages whose versions change numbers or times; all others stand in the records only.
TELLING_PACKAGES = ("torch", "torchvision", "avalanche-lib", "numpy", "python")


def facts(loaded: Loaded, panels: Sequence[Panel]) -> list[tuple[str, str]]:
    """The first screen's list: what, on what, when."""
    methods = list(dict.fromkeys(item.label for panel in panels for item in panel.everything))
    seeds = sorted({seed for panel in panels for seed in panel.seeds})
    devices = Counter(hardware_of(run).label for run in loaded.finished)
    found = [
        (
            "Scenarios",
            "; ".join(f"{panel.title} ({panel.describe()})" for panel in panels[:3])
            + (f"; and {len(panels) - 3} more settings" if len(panels) > 3 else ""),
        ),
        ("Methods", _short(methods, 12, "; ")),
        ("Seeds", _short([str(seed) for seed in seeds], 10)),
        (
            "On",
            "; ".join(f"{label}: {count} run{'s' if count > 1 else ''}" for label, count in sorted(devices.items())),
        ),
        ("When", period(loaded.all)),
        ("Code", "; ".join(commits(loaded.all)) or "no commit recorded"),
    ]
    return [(term, text) for term, text in found if text]


def origin(loaded: Loaded) -> list[tuple[str, str]]:
    """The provenance section's list: hosts, devices, versions, data."""
    hosts, data, notes = Counter[str](), Counter[str](), Counter[str]()
    packages: dict[str, set[str]] = {}
    for record in loaded.all:
        host = record.provenance.get("host") or {}
        words = [host.get("cpu"), f"{host['cores']} cores" if host.get("cores") else None, host.get("os")]
        hosts[", ".join(str(word) for word in words if word)] += 1
        for name, version in (record.provenance.get("packages") or {}).items():
            packages.setdefault(str(name), set()).add(str(version))
        data[
            f"{record.spec.get('scenario')}: {str(record.provenance.get('data_fingerprint') or 'none recorded')[:16]}"
        ] += 1
        notes.update(str(note) for note in record.provenance.get("notes") or ())
    devices = Counter(hardware_of(record).label for record in loaded.all)
    versions = [f"{name} {', '.join(sorted(packages[name]))}" for name in sorted(packages, key=_package_order)]
    found = [
        ("Devices", _counted(devices)),
        ("Hosts", _counted(hosts)),
        ("Packages", "; ".join(versions)),
        ("Data fingerprints", _counted(data)),
        ("Notes", _counted(notes)),
        ("Results folder", loaded.source),
    ]
    return [(term, text) for term, text in found if text]


def period(records: Iterable[RunRecord]) -> str:
    """``2025-03-01 10:00 to 2025-03-02 08:30 UTC``, from the records' own clocks."""
    moments = sorted(
        moment
        for record in records
        for key in ("started", "finished")
        if (moment := _moment(record.provenance.get(key))) is not None
    )
    if not moments:
        return "no time recorded"
    first, last = moments[0], moments[-1]
    same_day = first.date() == last.date()
    if f"{first:%Y-%m-%d %H:%M}" == f"{last:%Y-%m-%d %H:%M}":
        return f"{first:%Y-%m-%d %H:%M} UTC"
    return f"{first:%Y-%m-%d %H:%M} to {last:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"


def commits(records: Iterable[RunRecord]) -> list[str]:
    """``a1b2c3d4 (uncommitted changes), 12 runs`` for every commit, most runs first."""
    counts: Counter[str] = Counter()
    for record in records:
        git = record.provenance.get("git") or {}
        if git.get("commit"):
            counts[str(git["commit"])[:10] + (" with uncommitted changes" if git.get("dirty") else "")] += 1
    alone = len(counts) == 1
    return [
        name if alone else f"{name}: {count} run{'s' if count > 1 else ''}" for name, count in counts.most_common(5)
    ]


def commands(records: Iterable[RunRecord]) -> list[str]:
    """The distinct command lines, at most twenty."""
    found: dict[str, None] = {}
    for record in records:
        command = record.provenance.get("command")
        if command:
            found[" ".join(map(str, command)) if isinstance(command, list) else str(command)] = None
    texts = list(found)
    return texts[:20] + ([f"… and {len(texts) - 20} more"] if len(texts) > 20 else [])


def warnings(records: Iterable[RunRecord], methods: Methods) -> list[str]:
    """Every warning once, with how many runs of which methods gave it."""
    having: dict[str, Counter[str]] = {}
    for record in records:
        for text in record.warnings:
            having.setdefault(str(text), Counter())[methods.title(str(record.spec.get("method")))] += 1
    return [
        f"{text} ({', '.join(f'{method}: {count}' for method, count in sorted(counts.items()))})"
        for text, counts in sorted(having.items())
    ]


def caveats(names: Iterable[str], methods: Methods) -> list[str]:
    """``XBM, XMA: …``: what to know of the numbers of some of these methods, a line per caveat."""
    having: dict[str, list[str]] = {}
    for name in methods.in_order(names):
        if text := methods[name].caveat:
            having.setdefault(text, []).append(methods.title(name))
    return [f"{', '.join(titles)}: {text}." for text, titles in having.items()]


def failures(records: Sequence[RunRecord], methods: Methods) -> list[dict[str, str]]:
    """Failed runs with their errors."""
    return [
        {
            "title": f"{record.spec.get('scenario', '?')}, {methods.title(str(record.spec.get('method', '?')))}, "
            f"seed {record.spec.get('seed', '?')}: {_last_line(record.error)}",
            "error": record.error or "no error recorded",
        }
        for record in records
    ]


def configuration_sheet(panels: Sequence[Panel]) -> Sheet:
    """Every configuration with its seeds and its settings; what all of them share is said once."""
    hidden = ("scenario", "method", "initial_task", *FOLLOWING)
    items = [(panel, item) for panel in panels for item in panel.everything]
    specs = [flatten({key: value for key, value in item.spec.items() if key not in hidden}) for _, item in items]
    shared = {
        key: value
        for key, value in (specs[0] if specs else {}).items()
        if all(key in spec and canonical(spec[key]) == canonical(value) for spec in specs)
    }
    lines = []
    for (panel, item), spec in zip(items, specs, strict=True):
        own = {key: value for key, value in spec.items() if key not in shared}
        entries = (
            Entry(panel.slug, kind="words"),
            Entry(str(item.initial_task), item.initial_task),
            Entry(_short([str(seed) for seed in item.seeds], 12)),
            Entry(_settings(own), kind="words"),
        )
        lines.append(Line(Entry(item.label), entries))
    return Sheet(
        key="configurations",
        title="Configurations",
        caption="What was run, resolved. Only runs that differ in nothing but the seed are averaged.",
        headings=(
            Heading("Configuration", numeric=False),
            Heading("Setting", numeric=False),
            Heading("Initial task"),
            Heading("Seeds"),
            Heading("Specification", numeric=False),
        ),
        lines=tuple(lines),
        remarks=(f"Shared by all: {_settings(shared)}.",) if len(items) > 1 and shared else (),
    )


def _settings(spec: Mapping[str, Any]) -> str:
    known = [(key, value) for key, value in sorted(spec.items()) if value is not None]
    return "; ".join(f"{key_title(key)} {value_title(value, 120)}" for key, value in known)


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _short(words: Sequence[str], most: int, between: str = ", ") -> str:
    return between.join(words[:most]) + (
        f"{between.rstrip(', ')} and {len(words) - most} more" if len(words) > most else ""
    )


def _counted(counts: Counter[str]) -> str:
    known = [(name, count) for name, count in sorted(counts.items()) if name]
    if len(known) == 1:
        return known[0][0]
    return "; ".join(f"{name} ({count})" for name, count in known[:12]) + ("; …" if len(known) > 12 else "")


def _package_order(name: str) -> tuple[int, str]:
    return (TELLING_PACKAGES.index(name) if name in TELLING_PACKAGES else len(TELLING_PACKAGES)), name


def _last_line(error: str | None) -> str:
    lines = (error or "").strip().splitlines()
    return lines[-1][:200] if lines else "no error recorded"
