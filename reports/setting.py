"""How far a panel is from the setting of the paper whose numbers stand beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.grouping import Panel
from reports.naming import method_title
from results.schema import RunRecord


@dataclass(frozen=True)
class PaperSetting:
    """What the KSM paper ran for a scenario, as far as it is known."""

    tasks: int
    backbone: str
    methods: tuple[str, ...]
    epochs: Mapping[str, int]  #: main training phase by method, where a source states or implies it (METHODS.md 1)


PAPER: Mapping[str, PaperSetting] = {
    "cifar100-20": PaperSetting(
        20,
        "vgg16_bn",
        ("packnet", "piggyback", "cpg", "ksm"),
        {"packnet": 100, "piggyback": 30, "cpg": 100, "ksm": 30},
    ),
    "imagenet2sketch": PaperSetting(
        5,
        "resnet50",
        ("finetune", "packnet", "piggyback", "cpg", "ksm"),
        {"finetune": 30, "piggyback": 30, "ksm": 30},
    ),
}


def departures(panel: Panel) -> tuple[str, ...]:
    """In what the panel differs from the paper's own setting; empty for scenarios that the paper does not have."""
    paper = PAPER.get(panel.scenario)
    if paper is None:
        return ()
    setting = panel.setting
    backbone = setting.get("backbone")
    spec = backbone if isinstance(backbone, Mapping) else {"name": backbone}
    found = []
    if len(panel.tasks) != paper.tasks:
        found.append(f"{len(panel.tasks)} of {paper.tasks} tasks")
    if spec.get("name") not in (None, paper.backbone):
        found.append(f"{spec['name']} instead of {paper.backbone}")
    if spec.get("width") not in (None, 1, 1.0):
        found.append(f"network of width {spec['width']}")
    found += _other_epochs(panel, paper)
    for key, what in (("train_limit", "training"), ("test_limit", "test")):
        if setting.get(key):
            found.append(f"at most {setting[key]} {what} images per task")
    if setting.get("selection") not in (None, "legacy-test"):
        found.append("epoch not selected on the test set")
    return tuple(found)


def _other_epochs(panel: Panel, paper: PaperSetting) -> list[str]:
    """Main phases of another length, by length: ``10 epochs for KSM (30)``."""
    others: dict[int, dict[str, None]] = {}
    for item in panel.configurations:
        usual, own = paper.epochs.get(item.method), item.spec.get("epochs")
        if usual is not None and own is not None and own != usual:
            others.setdefault(int(own), {})[f"{method_title(item.method)} ({usual})"] = None
    return [f"{own} epochs for {', '.join(names)}" for own, names in sorted(others.items())]


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
