"""How far a panel is from the setting of the paper whose numbers stand beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.configuration import Configuration
from reports.grouping import Panel, flatten
from reports.naming import method_title, value_title
from results.schema import RunRecord

FROZEN, PER_TASK = "frozen", "per-task"  #: BN policies


@dataclass(frozen=True)
class PaperSetting:
    """What the KSM paper ran for a scenario, as far as it is known."""

    tasks: int
    backbone: str
    methods: tuple[str, ...]
    #: by method, what a source states or implies of its runs (METHODS.md 1): keys of a flattened specification
    own: Mapping[str, Mapping[str, Any]]


def _own(epochs: int, lr: float, bn_policy: str = PER_TASK, schedule: str = "step") -> Mapping[str, Any]:
    return {
        "epochs": epochs,
        "batch_size": 32,
        "settings.lr": lr,
        "settings.schedule": schedule,
        "bn_policy": bn_policy,
    }


PAPER: Mapping[str, PaperSetting] = {
    "cifar100-20": PaperSetting(
        20,
        "vgg16_bn",
        ("packnet", "piggyback", "cpg", "ksm"),
        {
            "scratch": _own(100, 1e-2),
            "packnet": _own(100, 1e-2),
            "piggyback": _own(30, 1e-4, FROZEN),
            "cpg": _own(100, 1e-2),
            "ksm": _own(30, 1e-4),
        },
    ),
    "imagenet2sketch": PaperSetting(
        5,
        "resnet50",
        ("finetune", "packnet", "piggyback", "cpg", "ksm"),
        {"piggyback": _own(30, 1e-4, FROZEN), "ksm": _own(30, 1e-4), "finetune": {"epochs": 30, "batch_size": 32}},
    ),
}

#: in scenarios that no paper has, a method's own code still says what its BN does
_OWN_BN: Mapping[str, Mapping[str, Any]] = {"piggyback": {"bn_policy": FROZEN}, "ksm": {"bn_policy": PER_TASK}}


def own_setting(scenario: str, method: str) -> Mapping[str, Any]:
    """What the source of ``method`` runs it with, as far as it is known: keys of a flattened specification."""
    paper = PAPER.get(scenario)
    return (paper.own if paper else _OWN_BN).get(method, {})


def unlike_own(scenario: str, item: Configuration) -> tuple[str, ...]:
    """The keys in which a configuration is not what its method's source runs."""
    spec = flatten(item.spec)
    return tuple(
        key
        for key, usual in own_setting(scenario, item.method).items()
        if spec.get(key) is not None and spec[key] != usual
    )


def departures(panel: Panel) -> tuple[str, ...]:
    """In what the panel differs from the paper's own setting; empty for scenarios that the paper does not have."""
    paper = PAPER.get(panel.scenario)
    if paper is None:
        return ()
    found = [f"{len(panel.tasks)} of {paper.tasks} tasks"] if len(panel.tasks) != paper.tasks else []
    found += trained_otherwise(panel)
    if panel.setting.get("selection") not in (None, "legacy-test"):
        found.append("epoch not selected on the test set")
    return tuple(found)


def trained_otherwise(panel: Panel) -> tuple[str, ...]:
    """The departures after which measured numbers cannot agree with printed ones: in all of the panel, or in every
    configuration of a method."""
    return (*_other_network_or_images(panel), *_other_settings(panel)) if panel.scenario in PAPER else ()


def incomparable(panel: Panel, item: Configuration) -> str:
    """``other setting`` where a configuration was trained otherwise than its source trains; else nothing."""
    if panel.scenario not in PAPER:
        return ""
    return "other setting" if _other_network_or_images(panel) or unlike_own(panel.scenario, item) else ""


def _other_network_or_images(panel: Panel) -> list[str]:
    paper, setting = PAPER[panel.scenario], panel.setting
    backbone = setting.get("backbone")
    spec = backbone if isinstance(backbone, Mapping) else {"name": backbone}
    found = []
    if spec.get("name") not in (None, paper.backbone):
        found.append(f"{spec['name']} instead of {paper.backbone}")
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
                    others.setdefault(own, {})[f"{method_title(method)} ({usual})"] = None
        yield from (f"{worded.format(own)} for {', '.join(names)}" for own, names in sorted(others.items()))


def departure_remark(panel: Panel) -> tuple[str, ...]:
    """The departures as one remark below a table, or nothing."""
    found = departures(panel)
    return (f"Not the paper's setting: {', '.join(found)}.",) if found else ()


def why_not_run(panel: Panel, methods: Sequence[str], failed: Sequence[RunRecord]) -> tuple[str, ...]:
    """One reason per method that the paper has and the panel lacks."""
    present = {item.method for item in panel.configurations}
    return tuple(
        f"{method_title(method)} ({_reason(panel.scenario, method, failed)})"
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
