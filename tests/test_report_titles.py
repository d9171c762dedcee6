"""Titles: "Table 1" and the like stand over the paper's own setting and over no other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from report_records import record, save

from reports.build import build
from reports.grouping import Panel, group
from reports.papers import PAPERS
from reports.setting import as_printed, titled
from results.schema import RunRecord

#: how a table or a figure of a paper is cited in a title
CITED = re.compile(r"\b(Table|Figure) \d|superclass table", re.I)


def printed_run(method: str = "ksm", seed: int = 0, tasks: int = 20, **changed: Any) -> RunRecord:
    """A run of the twenty tasks as the paper has it, but for what is ``changed`` in its specification."""
    spec: dict[str, Any] = {
        "selection": "legacy-test",
        "settings": {"epochs": 30, "lr": 1e-4, "schedule": "step"},
        "batch_size": 32,
        **changed,
    }
    accuracies = [0.6 + task / 100 for task in range(tasks)]
    return record(method, seed, accuracies, epochs=30, spec=spec, sizes={"itemised": 2**20})


def panel_of(*runs: RunRecord) -> Panel:
    panels, _ = group(runs)
    assert len(panels) == 1
    return panels[0]


WIDE = {"name": "vgg16_bn", "width": 1.0, "pretrained": False}
DEPARTURES: dict[str, RunRecord] = {
    "fewer tasks": printed_run(tasks=5),
    "fewer images": printed_run(train_limit=300),
    "a narrow network": printed_run(backbone={**WIDE, "width": 0.125}),
    "a pretrained network": printed_run(backbone={**WIDE, "pretrained": True}),
    "another selection": printed_run(selection="validation"),
    "another rate": printed_run(settings={"epochs": 30, "lr": 2e-4, "schedule": "step"}),
    "another BN policy": printed_run(bn_policy="frozen"),
    "another mask": printed_run(mask={"units": "element"}),
}


def test_the_papers_setting_has_the_papers_titles() -> None:
    panel = panel_of(printed_run(backbone=WIDE), printed_run(backbone=WIDE, seed=1))
    assert as_printed(panel)
    assert titled(panel, panel.paper.accuracy) == "Table 1: accuracy"
    assert titled(panel, panel.paper.training_time) == "Table 1: training time"
    assert titled(panel, panel.paper.initial_tasks) == "Table 3: initial tasks"


@pytest.mark.parametrize("what", DEPARTURES)
def test_another_setting_has_plain_titles(what: str) -> None:
    panel = panel_of(DEPARTURES[what])
    assert not as_printed(panel)
    assert titled(panel, panel.paper.accuracy) == "Accuracy"


def test_one_configuration_of_another_setting_takes_the_title_from_the_table() -> None:
    faster = printed_run(settings={"epochs": 30, "lr": 2e-4, "schedule": "step"})
    both = panel_of(printed_run(), printed_run(seed=1), dataclasses.replace(faster, run_id="faster"))
    published, swept = both.of("ksm")
    assert (as_printed(both, [published]), as_printed(both, [swept]), as_printed(both)) == (True, False, False)


def test_a_scenario_that_no_paper_has_is_never_printed() -> None:
    panel = panel_of(record("ksm", 0, [0.5, 0.6], scenario="my-own", names=("a", "b")))
    assert not as_printed(panel)
    assert titled(panel, panel.paper.ablation) == "Ablation from Piggyback to KSM"


def test_no_card_has_a_number_in_its_plain_titles() -> None:
    for card in PAPERS.values():
        plans = (card.accuracy, card.training_time, card.model_size, card.initial_tasks, card.ablation, card.masks)
        assert not [plan.title for plan in plans if CITED.search(plan.title)]


@pytest.mark.parametrize(("runs", "cited"), [([printed_run()], True), ([printed_run(tasks=5)], False)])
def test_pages_and_files_follow(runs: list[RunRecord], cited: bool, tmp_path: Path) -> None:
    built = build(save(tmp_path / "runs", runs), tmp_path / "out")
    captions = [
        caption
        for path in sorted((tmp_path / "out" / "tables").glob("*.tex"))
        for caption in re.findall(r"\\caption\{(.*)\}", path.read_text(encoding="utf-8"))
    ]
    titles = re.findall(r"<(?:h2|h3)[^>]*>([^<]*)<", built.index.read_text(encoding="utf-8"))
    assert captions and titles
    assert any(re.match(r"Table \d", text) for text in captions) is cited
    assert any(CITED.search(text) for text in titles) is cited
