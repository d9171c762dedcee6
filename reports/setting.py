"""How far a panel is from the setting of the paper whose numbers stand beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from methods.registry import METHODS
from reports.configuration import Configuration
from reports.grouping import Panel
from reports.naming import value_title
from reports.papers import paper_of
from reports.papers.paper_card import PaperTable
from reports.specification import flatten
from results.schema import RunRecord

#: configurations that a figure shows at most, so that it can be read
MOST_DRAWN = 12


def varied(item: Configuration) -> bool:
    """Its mask is not the method's own: a point of a grid, or of a sweep, that runs under the method's name."""
    card, mask = METHODS.get(item.method), item.spec.get("mask")
    if card is None or card.mask is None or not isinstance(mask, Mapping):
        return False
    return any(mask.get(knob, usual) != usual for knob, usual in dataclasses.asdict(card.mask).items())


def as_published(panel: Panel, method: str) -> tuple[Configuration, ...]:
    """The main configurations of a method, most seeds first: those with its own mask, where there are any."""
    found = panel.of(method)
    return tuple(item for item in found if not varied(item)) or found


def drawn(panel: Panel) -> tuple[Configuration, ...]:
    """The main configurations that figures show: all, or as many as one can tell apart, own masks first."""
    every = panel.configurations
    if len(every) <= MOST_DRAWN:
        return every
    chosen = {id(item) for item in sorted(every, key=lambda item: (varied(item), item.variant))[:MOST_DRAWN]}
    return tuple(item for item in every if id(item) in chosen)


def own_setting(scenario: str, method: str) -> Mapping[str, Any]:
    """What the source of ``method`` runs it with, as far as it is known: keys of a flattened specification."""
    return paper_of(scenario).own.get(method, {})


def unlike_own(scenario: str, item: Configuration) -> tuple[str, ...]:
    """The keys in which a configuration is not what its method's source runs."""
    spec = flatten(item.spec)
    return tuple(
        key
        for key, usual in own_setting(scenario, item.method).items()
        if spec.get(key) is not None and spec[key] != usual
    )


def published_mean(panel: Panel, method: str) -> float | None:
    """What the paper prints for the method, mean over the panel's tasks, in percent; None where it prints nothing."""
    table = panel.paper.accuracy.printed
    names = [panel.paper.column(task.index, task.name) for task in panel.tasks]
    return table.mean(method, names) if table else None


def departures(panel: Panel) -> tuple[str, ...]:
    """In what the panel differs from the paper's own setting; empty for scenarios that the paper does not have."""
    if not panel.paper.in_paper:
        return ()
    tasks = panel.paper.tasks
    found = [f"{len(panel.tasks)} of {tasks} tasks"] if len(panel.tasks) != tasks else []
    found += trained_otherwise(panel)
    if panel.initial_task != 1:
        found.append(f"task {panel.initial_task} learned first")
    if panel.setting.get("selection") not in (None, panel.paper.selection):
        on_test = panel.paper.selection == "legacy-test"
        found.append("epoch not selected on the test set" if on_test else "epoch selected otherwise")
    return tuple(found)


def as_printed(panel: Panel, items: Sequence[Configuration] | None = None) -> bool:
    """Whether ``items`` (None: all main configurations) were run in the setting of the paper that has the scenario:
    every task, its network, images and selection, and no method otherwise than its source runs it."""
    shown = panel.configurations if items is None else items
    return panel.paper.in_paper and not departures(panel) and not any(incomparable(panel, item) for item in shown)


def titled(panel: Panel, plan: PaperTable, items: Sequence[Configuration] | None = None) -> str:
    """The title of a table or figure of ``items``: ``Table 1: accuracy`` in the paper's setting, else ``Accuracy``."""
    return plan.placed if as_printed(panel, items) else plan.title


def trained_otherwise(panel: Panel) -> tuple[str, ...]:
    """The departures after which measured numbers cannot agree with printed ones: in all of the panel, or in every
    configuration of a method."""
    return (*_other_network_or_images(panel), *_other_settings(panel)) if panel.paper.in_paper else ()


def incomparable(panel: Panel, item: Configuration) -> str:
    """``other setting`` where a configuration was trained otherwise than its source trains; else nothing."""
    if not panel.paper.in_paper:
        return ""
    other = _other_network_or_images(panel) or unlike_own(panel.scenario, item) or varied(item)
    return "other setting" if other else ""


def _other_network_or_images(panel: Panel) -> list[str]:
    paper, setting = panel.paper, panel.setting
    backbone = setting.get("backbone")
    spec = backbone if isinstance(backbone, Mapping) else {"name": backbone}
    found = []
    if spec.get("name") not in (None, paper.backbone):
        found.append(f"{spec['name']} instead of {paper.backbone}")
    if paper.pretrained is not None and spec.get("pretrained") not in (None, paper.pretrained):
        found.append("no pretrained weights" if paper.pretrained else "pretrained weights")
    if spec.get("width") not in (None, 1, 1.0):
        found.append(f"network of width {spec['width']}")
    for key, what in (("train_limit", "training"), ("test_limit", "test")):
        if setting.get(key):
            found.append(f"at most {setting[key]} {what} images per task")
    return found


#: keys of a specification in which a source's own training is known, and how a departure is worded
_WORDED = {
    "epochs": "{} epochs",
    "batch_size": "batches of {} images",
    "settings.lr": "lr {}",
    "settings.schedule": "schedule {}",
    "bn_policy": "BN {}",
}


def _other_settings(panel: Panel) -> Iterator[str]:
    """``10 epochs for KSM (30)``: methods none of whose configurations has what their source has, key by key."""
    for key, worded in _WORDED.items():
        others: dict[str, dict[str, None]] = {}
        for method in dict.fromkeys(item.method for item in panel.configurations):
            items = panel.of(method)
            if all(key in unlike_own(panel.scenario, item) for item in items):
                usual = value_title(own_setting(panel.scenario, method)[key])
                for item in items:
                    own = value_title(flatten(item.spec)[key])
                    others.setdefault(own, {})[f"{panel.methods.title(method)} ({usual})"] = None
        yield from (f"{worded.format(own)} for {', '.join(names)}" for own, names in sorted(others.items()))


def departure_remark(panel: Panel) -> tuple[str, ...]:
    """The departures as one remark below a table, or nothing."""
    found = departures(panel)
    return (f"Not the paper's setting: {', '.join(found)}.",) if found else ()


def why_not_run(panel: Panel, methods: Sequence[str], failed: Sequence[RunRecord]) -> tuple[str, ...]:
    """One reason per method that the paper has and the panel lacks."""
    present = {item.method for item in panel.configurations}
    return tuple(
        f"{panel.methods.title(method)} ({_reason(panel.scenario, method, failed)})"
        for method in methods
        if method not in present
    )


def _reason(scenario: str, method: str, failed: Sequence[RunRecord]) -> str:
    broken = [r for r in failed if r.spec.get("scenario") == scenario and r.spec.get("method") == method]
    if not broken:
        return "no run of it in this setting among the records"
    error = (broken[-1].error or "no error recorded").strip().splitlines()
    return (
        f"{len(broken)} run{'s' if len(broken) > 1 else ''} failed: {error[-1][:160] if error else 'no error recorded'}"
    )
