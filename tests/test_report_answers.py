"""The page's answers: worked-out cases, what stands above the fold, and how long a page of nine by twenty is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from report_records import CIFAR_TASKS, record, save
from test_report_page import browser  # noqa: F401

from reports.answers import COST, PUBLISHED, QUESTIONS, WHICH, Answer, answers
from reports.build import Built, build
from reports.explore import data, script_data
from reports.figures.matrix import sentences
from reports.glossary import marked, mask_drawing
from reports.grouping import Panel, group
from reports.records import load
from results.schema import RunRecord

MEASURED = Path(__file__).parents[1] / "results" / "measured"
MIB = 2**20
BEST = {"seconds": [30.0, 30.0], "sizes": {"itemised": 8 * MIB}}
CHEAP = {"seconds": [10.0, 10.0], "sizes": {"itemised": 4 * MIB}}
SMALL = {"seconds": [40.0, 40.0], "sizes": {"itemised": 2 * MIB}}


def panel_of(*runs: RunRecord) -> Panel:
    (panel,), _ = group(list(runs))
    return panel


def said(*runs: RunRecord) -> dict[str, Answer]:
    return {answer.question: answer for answer in answers(panel_of(*runs))}


def three(method: str, *accuracies: float, **more: Any) -> list[RunRecord]:
    """Two tasks and three seeds, each a little apart."""
    return [record(method, seed, [value + seed / 1000 for value in accuracies], **more) for seed in range(3)]


def test_the_best_the_tied_and_what_they_cost() -> None:
    runs = [*three("cpg", 0.70, 0.72, **BEST), *three("packnet", 0.5, 0.5, **SMALL)]
    runs += [record("ksm", seed, [0.701, 0.7105 + 0.01 * seed], **CHEAP) for seed in range(3)]
    noisy = [record("piggyback", seed, [0.70, 0.60 + 0.1 * seed], **SMALL) for seed in range(3)]
    found = said(*runs, *noisy)
    assert found[WHICH].brief == "CPG."
    # 70.1 and 72.1 on the mean of three seeds
    assert found[WHICH].text == "71.1 % mean accuracy over 2 tasks. Not told apart from it (95 %): KSM and Piggyback."
    assert found[COST].brief == "60 seconds of training and 8 MiB stored."
    # KSM lies 0.025 points below and Piggyback 1.1, PackNet 21
    assert (
        found[COST].text
        == "That is CPG. Within one point of it KSM trains fastest (20 seconds), and KSM is smallest (4 MiB)."
    )


def test_a_winner_beyond_doubt_has_a_second() -> None:
    found = said(*three("cpg", 0.70, 0.72, **BEST), *three("ksm", 0.60, 0.62, **CHEAP))
    assert found[WHICH].text.endswith("Ahead of all others beyond doubt (95 %). Second is KSM, 10.0 points below.")
    assert "no other method comes within one point" in found[COST].text
    assert (
        "Less than half the time: KSM, 10.0 points below (20 seconds of training and 4 MiB stored)." in found[COST].text
    )


def test_one_seed_ties_nothing_and_says_what_to_type() -> None:
    text = said(record("cpg", 0, [0.7, 0.7]), record("ksm", 0, [0.6, 0.6]))[WHICH].text
    assert "With one seed nobody can say what is tied with it. Next: the same command with --seed 0,1,2." in text


def test_references_are_no_answers() -> None:
    runs = [*three("scratch", 0.9, 0.9), *three("ksm", 0.7, 0.7), *three("head-only", 0.6, 0.6)]
    assert said(*runs)[WHICH].brief == "KSM."
    beaten = said(*three("ksm", 0.7, 0.7), *three("head-only", 0.8, 0.8))[WHICH]
    assert beaten.brief == "None of them in this setting."
    assert "Head only (80.1 %) is as accurate as every method: the best of them, KSM, has 70.1 %" in beaten.text
    assert "rates are the protocol's, not tuned" in beaten.text and "python -m benchmark tune" in beaten.text
    alone = said(*three("head-only", 0.8, 0.8))[WHICH]
    assert (alone.brief, alone.text.split(".")[0]) == ("No answer yet.", "Only reference methods were run")


def test_a_method_at_chance_is_no_answer() -> None:
    found = said(*[record("ksm", seed, [0.2, 0.2]) for seed in range(3)])[WHICH]
    assert found.brief == "No answer yet." and "At chance: KSM" in found.text


def test_a_published_order_is_not_tested_by_other_runs() -> None:
    # table 1, mean of the first two tasks: KSM 72.6, Piggyback 72.0
    found = said(*three("ksm", 0.7, 0.7), *three("piggyback", 0.5, 0.5))[PUBLISHED]
    assert found.brief == "Not tested here," and found.text.startswith(
        "because the runs are not the paper's (2 of 20 tasks;"
    )
    assert "KSM > Piggyback. Here: the same order: of 1 pair of methods 1 confirmed." in found.text


def whole(method: str, mean: float, epochs: int, lr: float, bn: str) -> list[RunRecord]:
    """Twenty tasks trained as the paper trains them."""
    spec = {
        "selection": "legacy-test", "bn_policy": bn, "backbone": {"name": "vgg16_bn", "width": 1.0},
        "settings": {"lr": lr, "epochs": epochs},
    }  # fmt: skip
    return [
        record(method, seed, [mean + seed / 1000] * 20, names=CIFAR_TASKS, epochs=epochs, spec=spec)
        for seed in range(3)
    ]


def test_a_published_order_is_confirmed_or_contradicted_by_the_papers_own_setting() -> None:
    piggyback = whole("piggyback", 0.7, 30, 1e-4, "frozen")
    same = said(*whole("ksm", 0.8, 30, 1e-4, "per-task"), *piggyback)[PUBLISHED]
    other = said(*whole("ksm", 0.6, 30, 1e-4, "per-task"), *piggyback)[PUBLISHED]
    assert same.brief == "The order is confirmed.", same
    assert other.brief == "The order is contradicted.", other
    assert "Here: Piggyback > KSM: of 1 pair of methods 1 contradicted." in other.text


def test_a_scenario_of_no_paper() -> None:
    found = said(record("ksm", 0, [0.5, 0.6], scenario="digits", names=["a", "b"]))[PUBLISHED]
    assert found.brief == "Not tested here," and "no paper's table has this scenario" in found.text


def test_what_forgot_nothing_is_one_sentence() -> None:
    panel = panel_of(*three("ksm", 0.7, 0.7), *three("cpg", 0.6, 0.6))
    (sentence,) = sentences(panel)
    assert sentence.startswith("Nothing was forgotten") and sentence.endswith("for CPG and KSM.")


def test_terms_explain_themselves_once_and_stay_text() -> None:
    text = str(marked("seeds <b> and a soft value; another soft value"))
    assert re.findall(r'<abbr title="[^"]+">([^<]*)</abbr>', text) == ["seeds", "soft value"]
    assert "&lt;b&gt;" in text and "another soft value" in text
    command = str(marked("Whether <it> is: python -m benchmark check --scenario cifar100-20. Then run --tuned."))
    assert re.findall("<code>(.*?)</code>", command) == [
        " ".join(f"<span>{word}</span>" for word in words.split())
        for words in ("python -m benchmark check --scenario cifar100-20", "--tuned")
    ]
    assert command.startswith("Whether &lt;it&gt; is: <code>") and "</code>. Then run <code>" in command
    assert str(mask_drawing()).startswith("<svg") and "<script" not in mask_drawing()


def test_explore_has_a_point_per_run_and_says_nothing_of_too_few() -> None:
    panel = panel_of(*three("cpg", 0.70, 0.72, **BEST), record("ksm", 0, [0.6, 0.6], **CHEAP))
    found = data([panel])
    assert found is not None and set(found["axes"]) == {
        "accuracy",
        "seconds",
        "size",
        "memory",
        "parameters",
        "forgetting",
    }
    first, *_, last = found["points"]
    assert (last["label"], last["accuracy"], last["seconds"], last["size"], last["seed"]) == ("KSM", 60, 20, 4, 0) or (
        first["label"], first["accuracy"], first["seconds"], first["size"]) == ("KSM", 60, 20, 4)  # fmt: skip
    assert found["missing"] == ["Energy of training", "Operations of an image's forward pass"]
    assert data([panel_of(record("ksm", 0, [0.6, 0.6]))]) is None
    assert "</script>" not in script_data({"label": "</script><b>"})


@pytest.fixture(scope="module")
def nine_by_twenty(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The page of the measured records of nine configurations on twenty tasks."""
    return build(MEASURED / "cifar100-20-thin-cpu", tmp_path_factory.mktemp("nine") / "report")


def test_three_questions_are_answered_above_the_fold(browser: Any, nine_by_twenty: Built) -> None:  # noqa: F811
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(nine_by_twenty.index.as_uri())
    for question, answer in zip(
        QUESTIONS, ("CPG. 59.3 % mean accuracy", "32 minutes of training", "Not tested here,"), strict=True
    ):
        for text in (question, answer):
            box = tab.get_by_text(text).first.bounding_box()
            assert box is not None and box["y"] + box["height"] <= 900, text
    picture = tab.locator("figure.glance svg").bounding_box()
    assert picture["y"] + picture["height"] <= 900
    assert tab.locator("#cifar100-20-ranking").bounding_box()["y"] < 900
    tab.close()


def test_nine_by_twenty_is_short(browser: Any, nine_by_twenty: Built) -> None:  # noqa: F811
    """Under 8,000 px and 3,000 visible words at 1,280 px; at most eight printed pages."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(nine_by_twenty.index.as_uri())
    assert tab.evaluate("document.documentElement.scrollHeight") < 8000
    assert len(tab.evaluate("document.querySelector('main').innerText").split()) < 3000
    wide = "b => !b.closest('details:not([open])') && b.offsetParent && b.scrollWidth > b.clientWidth + 2"
    boxes = f"Array.from(document.querySelectorAll('.scroll')).filter({wide}).map(b => b.getAttribute('aria-label'))"
    assert tab.evaluate(boxes) == []  # every open table fits
    printed = tab.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8
    tab.close()


def test_a_link_into_a_folded_part_opens_it(browser: Any, nine_by_twenty: Built) -> None:  # noqa: F811
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(nine_by_twenty.index.as_uri() + "#cifar100-20-learning-curves")
    assert tab.locator("#cifar100-20-learning-curves").is_visible()
    tab.locator("nav.contents a", has_text="Words used").click()
    assert tab.locator("figure.mask svg").is_visible()
    tab.close()


def test_explore_chooses_shares_and_saves(browser: Any, nine_by_twenty: Built) -> None:  # noqa: F811
    """Methods left out by the keyboard, axes changed, the front worked out anew, the choice in the address, a CSV."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    tab, errors = context.new_page(), []
    tab.on("console", lambda message: errors.append(message.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(nine_by_twenty.index.as_uri() + "#explore")
    said = tab.locator("#explore [aria-live]")
    # time: head only, Piggyback (BN frozen), fine-tune, CPG
    assert said.inner_text() == "9 configurations, 4 on the Pareto front."
    tab.locator("#explore .methods input").nth(6).focus()
    assert tab.locator("#explore .methods label").nth(6).inner_text().strip() == "CPG"
    tab.keyboard.press("Space")
    assert said.inner_text() == "8 configurations, 3 on the Pareto front."
    tab.select_option("#explore select[name=x]", "size")
    # MiB and percent: head only 2.21, 32.5; PackNet 2.75, 42.0; Piggyback (BN frozen) 3.40, 46.5; fine-tune 40.5, 47.0
    assert said.inner_text() == "8 configurations, 4 on the Pareto front."
    front = tab.locator("#explore tbody tr", has_text="yes").locator("th").all_inner_texts()
    assert sorted(front) == ["Fine-tune", "Head only", "PackNet", "Piggyback (BN frozen)"]
    shared = context.new_page()
    shared.goto(tab.url)
    assert shared.locator("#explore [aria-live]").inner_text() == "8 configurations, 4 on the Pareto front."
    assert shared.locator("#explore select[name=x]").input_value() == "size"
    with tab.expect_download() as download:
        tab.locator("#explore .save").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 9 and lines[0].startswith('"configuration","Mean accuracy (percent)"')
    assert not any(line.startswith('"CPG"') for line in lines)
    assert errors == []
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (1680, "dark")])
def test_axe_finds_no_barrier(browser: Any, nine_by_twenty: Built, width: int, scheme: str) -> None:  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.goto(nine_by_twenty.index.as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    found = axe.Axe().run(tab).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"][:200]) for item in found] == []
    tab.close()


def test_settings_that_have_a_name_are_called_by_it() -> None:
    """The authors' released schedule beside the paper's: one name everywhere, and the plain one for the paper's."""
    panels, _ = group(load(MEASURED / "cifar100-20-thin-cpu").finished)
    labels = [item.label for item in panels[0].everything]
    assert labels[-2:] == ["KSM", "KSM, release schedule"]


def test_explore_does_without_accuracies(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    """Runs on generated images have none: costs against costs, and nothing on the console."""
    costs = {"ksm": 3, "cpg": 5, "packnet": 4}
    runs = [
        record(name, 0, [0.5, 0.5], seconds=[9.0, cost], sizes={"itemised": cost * MIB}, spec={"synthetic": True})
        for name, cost in costs.items()
    ]
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    tab, errors = browser.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(built.index.as_uri() + "#explore")
    assert tab.locator("#explore [aria-live]").inner_text() == "3 configurations, 1 on the Pareto front."
    assert errors == []
    tab.close()
