"""Which runs may be averaged, and which may stand in one table.

A *configuration* is a method with one specification, whatever the seed: only its seeds are averaged. A *panel* is a
scenario with everything that must agree before two methods may be compared: tasks, images, backbone, selection,
precision, device, and whether settings were found by trials (``tune``) or are a protocol's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from reports.configuration import Configuration, TaskRef
from reports.hardware import Hardware, hardware_of
from reports.method_facts import Methods
from reports.naming import slug
from reports.papers import paper_of
from reports.papers.paper_card import PaperScenario
from reports.specification import canonical, complete, configuration_key, flatten, telling_differences
from reports.style import Look
from reports.without_accuracy import without_accuracy
from results.schema import SYNTHETIC, RunRecord

#: Specification keys that every method of one panel shares. ``initial_task`` is not among them: table 3 varies it.
PANEL_KEYS = ("selection", "backbone", "train_limit", "test_limit", "precision", "device")
#: Shared too, where it holds: every method's settings were found by trials.
TUNED = "tuned"


@dataclass(frozen=True, eq=False)
class Panel:
    """Configurations of one scenario that may stand in one table; equal only to itself."""

    scenario: str
    title: str
    setting: Mapping[str, Any]  #: the shared part of the specification, keys of ``PANEL_KEYS`` and ``TUNED``
    slug: str  #: a file name and HTML id, unique among the panels of ``group``
    tasks: tuple[TaskRef, ...]  #: in the scenario's own order
    everything: tuple[Configuration, ...]  #: all configurations, every initial task
    methods: Methods  #: of the whole report
    trials: tuple[RunRecord, ...] = ()  #: of ``tune``, in this setting: in no table, see ``reports.trials``

    @property
    def tuned(self) -> bool:
        """Settings were found by trials on validation images."""
        return bool(self.setting.get(TUNED))

    @property
    def synthetic(self) -> bool:
        """The runs are on generated images: nothing is known of accuracies."""
        return bool(self.setting.get(SYNTHETIC))

    @cached_property
    def paper(self) -> PaperScenario:
        """What the paper that has the scenario says of it; a neutral card where none has."""
        return paper_of(self.scenario)

    @cached_property
    def looks(self) -> tuple[Look, ...]:
        """How its methods are drawn, those that the paper alone has among them."""
        tried = (str(run.spec.get("method")) for run in self.trials)
        return self.methods.looks([*(item.method for item in self.everything), *tried, *self.paper.drawn])

    @cached_property
    def initial_task(self) -> int:
        """The initial task of the main tables: the one that most methods, then most runs, were run with."""
        methods: dict[int, set[str]] = defaultdict(set)
        runs: Counter[int] = Counter()
        for item in self.everything:
            methods[item.initial_task].add(item.method)
            runs[item.initial_task] += len(item.runs)
        return min(methods, key=lambda task: (-len(methods[task]), -runs[task], task))

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """Those of the main initial task, in the methods' usual order."""
        return tuple(item for item in self.everything if item.initial_task == self.initial_task)

    @cached_property
    def hardware(self) -> tuple[Hardware, ...]:
        """Everything that the main configurations were timed on."""
        return tuple(sorted({hardware for item in self.configurations for hardware in item.hardware}))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The distinct seeds over all configurations."""
        return tuple(sorted({seed for item in self.everything for seed in item.seeds}))

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """Every run of the panel."""
        return tuple(run for item in self.everything for run in item.runs)

    @cached_property
    def one_seed(self) -> bool:
        """No main configuration has a second seed, so that nothing has an interval."""
        return all(len(item.seeds) == 1 for item in self.configurations)

    def of(self, method: str) -> tuple[Configuration, ...]:
        """The main configurations of ``method``, most seeds first."""
        found = [item for item in self.configurations if item.method == method]
        return tuple(sorted(found, key=lambda item: (-len(item.seeds), item.variant)))

    def describe(self) -> str:
        """The shared setting in one line."""
        return describe_setting(self.setting, len(self.tasks))


def describe_setting(setting: Mapping[str, Any], tasks: int) -> str:
    """``5 tasks · vgg16_bn, width 0.125 · selection on validation images · …``"""
    parts = [f"{tasks} task{'' if tasks == 1 else 's'}"]
    backbone = setting.get("backbone")
    if isinstance(backbone, Mapping):
        words = [str(backbone.get("name", "backbone"))]
        words += [f"width {backbone['width']:g}"] if isinstance(backbone.get("width"), int | float) else []
        words += ["pretrained"] if backbone.get("weights") else []
        parts.append(", ".join(words))
    elif backbone:
        parts.append(str(backbone))
    selection = {
        "validation": "epoch selected on validation images",
        "last": "last epoch kept",
        "legacy-test": "epoch selected on the TEST set (legacy-test, as the official codes do)",
    }
    if setting.get("selection"):
        parts.append(selection.get(str(setting["selection"]), f"selection {setting['selection']}"))
    for key, what in (("train_limit", "training"), ("test_limit", "test")):
        if setting.get(key):
            parts.append(f"at most {setting[key]} {what} images per task")
    parts += [str(setting[key]) for key in ("precision", "device") if setting.get(key)]
    parts += [f"images {setting['data']}"] if setting.get("data") else []
    parts += ["tuned settings"] if setting.get(TUNED) else []
    parts += [f"{SYNTHETIC}: no accuracies"] if setting.get(SYNTHETIC) else []
    return " · ".join(parts)


def group(records: Sequence[RunRecord], methods: Methods | None = None) -> tuple[tuple[Panel, ...], tuple[str, ...]]:
    """Sort finished records into panels, the most telling first, and say which repeated runs were left out.

    ``methods`` are those of the whole report where that has more records than these.
    """
    methods = methods or Methods(records)
    kept, repeated = _without_repeats([without_accuracy(record) for record in records])
    by_panel: dict[str, list[RunRecord]] = defaultdict(list)
    for record in kept:
        by_panel[_panel_key(record)].append(record)
    ordered = sorted(by_panel.values(), key=_importance)
    per_scenario: Counter[str] = Counter()
    panels = []
    for members in ordered:
        scenario = str(members[0].spec["scenario"])
        per_scenario[scenario] += 1
        number = per_scenario[scenario]
        several = len({_data(record) for record in kept if record.spec["scenario"] == scenario}) > 1
        data = _data(members[0])[:8] if several else ""
        panels.append(_panel(members, slug(scenario) + (f"-{number}" if number > 1 else ""), methods, data))
    return tuple(_with_unique_slugs(panels)), tuple(repeated)


def _panel(members: Sequence[RunRecord], name: str, methods: Methods, data: str = "") -> Panel:
    first = members[0]
    scenario = str(first.spec["scenario"])
    tasks = {row.index: row.name for record in members for row in record.tasks}
    return Panel(
        scenario=scenario,
        title=str(first.spec.get("scenario_title") or paper_of(scenario).title),
        setting={
            **shared_setting(first),
            **({"data": data} if data else {}),
            **({TUNED: True} if _tuned(first) else {}),
            **({SYNTHETIC: True} if first.is_synthetic else {}),
        },
        slug=name,
        tasks=tuple(TaskRef(index, tasks[index]) for index in sorted(tasks)),
        everything=_configurations(members, methods),
        methods=methods,
    )


def _with_unique_slugs(panels: Sequence[Panel]) -> Iterable[Panel]:
    taken: Counter[str] = Counter()
    for panel in panels:
        taken[panel.slug] += 1
        if taken[panel.slug] > 1:
            panel = replace(panel, slug=f"{panel.slug}-{taken[panel.slug]}-b")
        yield panel


def _importance(members: Sequence[RunRecord]) -> tuple[Any, ...]:
    position = paper_of(str(members[0].spec["scenario"])).position
    methods = len({str(record.spec["method"]) for record in members})
    return members[0].is_synthetic, position, -methods, not _tuned(members[0]), -len(members), _panel_key(members[0])


def _without_repeats(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """The same specification, seed and hardware twice is the same run twice: the later one counts."""
    latest: dict[tuple[str, str, Hardware], RunRecord] = {}
    repeated = []
    for record in sorted(records, key=lambda record: (str(record.provenance.get("finished") or ""), record.run_id)):
        key = (canonical(complete(record)), _data(record), hardware_of(record))
        if key in latest:
            repeated.append(f"{latest[key].run_id}: the same run as {record.run_id}, which finished later")
        latest[key] = record
    return list(latest.values()), repeated


def _panel_key(record: RunRecord) -> str:
    return comparable(record) + (TUNED if _tuned(record) else "")


def comparable(record: RunRecord) -> str:
    """What runs must agree in before they are compared, tuned or not, as one string."""
    tasks = sorted(row.index for row in record.tasks)
    return canonical(
        {
            "scenario": record.spec["scenario"],
            "tasks": tasks,
            "data": _data(record),
            **shared_setting(record),
            **({SYNTHETIC: True} if record.is_synthetic else {}),
        }
    )


def shared_setting(record: RunRecord) -> dict[str, Any]:
    """The values of ``PANEL_KEYS``."""
    return {key: record.spec.get(key) for key in PANEL_KEYS}


def _tuned(record: RunRecord) -> bool:
    return bool(record.spec.get("tuning"))


def _data(record: RunRecord) -> str:
    """What tells the run's images from others; empty in records that do not know."""
    return str(record.provenance.get("data_fingerprint") or "")


def _configurations(members: Sequence[RunRecord], methods: Methods) -> tuple[Configuration, ...]:
    by_key: dict[str, list[RunRecord]] = defaultdict(list)
    for record in members:
        by_key[configuration_key(record)].append(record)
    alike: dict[tuple[str, int], list[list[RunRecord]]] = defaultdict(list)
    for runs in by_key.values():
        spec = runs[0].spec
        ordered = sorted(runs, key=lambda run: (run.spec["seed"], run.run_id))
        alike[str(spec["method"]), int(spec.get("initial_task") or 1)].append(ordered)
    found = []
    taken: set[tuple[str, int]] = set()
    for method, start in sorted(alike, key=lambda key: (methods[key[0]].place, key[1])):
        groups = sorted(alike[method, start], key=lambda runs: (-len(runs), configuration_key(runs[0])))
        names = _names([complete(runs[0]) for runs in groups])
        for variant, (runs, name) in enumerate(zip(groups, names, strict=True)):
            spec = {key: value for key, value in complete(runs[0]).items() if key != "seed"}
            label = methods.title(method) + name
            while (label, start) in taken:  # another method's title may look like a configuration of this one
                label += f" ({method})"
            taken.add((label, start))
            found.append(Configuration(method, label, spec, tuple(runs), methods[method], variant))
    return tuple(found)


def _names(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the configurations of one method are called after its title: ``, release schedule`` where a paper's card has
    a name for their settings, else what tells them from the others, ``(lr 0.001)``; the first of equal names has it."""
    found: list[str] = []
    for spec in specs:
        flat = flatten(spec)
        known = paper_of(str(spec.get("scenario"))).named.get(str(spec.get("method")), {})
        name = next((name for name, keys in known.items() if all(flat.get(k) == v for k, v in keys.items())), "")
        found.append(f", {name}" if name and f", {name}" not in found else "")
    rest = [spec for spec, name in zip(specs, found, strict=True) if not name]
    suffixes = iter(telling_differences(rest) if rest else ())
    return [name or (f" ({suffix})" if (suffix := next(suffixes)) else "") for name in found]
