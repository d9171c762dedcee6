"""Numbers that say nothing of their method are marked where they stand; every bound worked out by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from report_records import CIFAR_TASKS, record, save

from reports.build import Built, build
from reports.configuration import Configuration
from reports.figures.mask_layers import mask_ratios
from reports.grouping import Panel, group
from reports.soundness import faults, guessing, hint, masks_never_moved, signs
from results.schema import RunRecord

KEPT = [(task, layer, 100, 0, 0) for task in CIFAR_TASKS[1:3] for layer in ("a", "b")]
MIB = 2**20


def of(panel: Panel, method: str, start: int = 1) -> Configuration:
    """The only configuration of a method."""
    (found,) = [item for item in panel.everything if item.method == method and item.initial_task == start]
    return found


def briefs(runs: list[RunRecord], method: str, start: int = 1) -> list[str]:
    """The faults of a method's only configuration."""
    (panel,), _ = group(runs)
    return [fault.brief for fault in faults(panel, of(panel, method, start))]


@pytest.mark.parametrize(
    ("masks", "unmoved"),
    [
        (KEPT, True),
        ([*KEPT, ("flowers", "c", 99, 1, 0)], False),  # one soft value
        ([*KEPT, ("flowers", "c", 99, 0, 1)], False),  # one zero
        ([("fish", "a", 0, 0, 0)], False),  # nothing to mask
        ([], False),  # a method without masks
    ],
)
def test_masks_that_keep_every_unit_never_moved(masks: list[Any], unmoved: bool) -> None:
    run = record("ksm", 0, [0.5, 0.6, 0.7], masks=masks)
    assert masks_never_moved(run) == unmoved
    assert briefs([run], "ksm") == (["masks never moved at lr=0.0001"] if unmoved else [])


def test_masks_that_keep_all_by_design_are_no_fault() -> None:
    run = record("ksm", 0, [0.5, 0.6, 0.7], masks=KEPT)
    share = dataclasses.replace(run, spec={**run.spec, "mask": {"keep": "top", "top": 1.0}})
    owned = dataclasses.replace(run, method={**run.method, "masks": False})
    assert masks_never_moved(run) and not masks_never_moved(share) and not masks_never_moved(owned)


def test_a_mean_has_every_run_in_it() -> None:
    runs = [record("ksm", s, [0.5, 0.6, 0.7], masks=KEPT if s else [("fish", "a", 9, 1, 0)]) for s in range(3)]
    assert briefs(runs, "ksm") == ["masks never moved at lr=0.0001 in 2 of 3 runs"]


@pytest.mark.parametrize(("accuracy", "chance"), [(0.200, True), (0.214, True), (0.215, False), (0.1, True)])
def test_at_chance_up_to_the_sampling_error_of_the_test_images(accuracy: float, chance: bool) -> None:
    # Four tasks of 500 images and 5 classes: mean 400, variance 4 * 500 * 0.2 * 0.8 = 320; the bound is
    # 400 + 1.6449 * 17.8885 = 429.42 images: 428 are not beyond it, 430 are.
    run = record("packnet", 0, [accuracy] * 4)
    beside = guessing(run)
    assert beside is not None
    assert (beside.images, beside.right, beside.mean) == (2000, pytest.approx(2000 * accuracy), 400)
    assert beside.variance == pytest.approx(320)
    assert beside.explains == chance
    shown = [f"at chance with {100 * accuracy:.1f} % (guessing: 20.0 %) at lr=0.0001"] if chance else []
    assert briefs([run], "packnet") == shown


@pytest.mark.parametrize(("right", "chance"), [(36, True), (37, False)])
def test_every_task_is_guessed_with_its_own_classes(right: int, chance: bool) -> None:
    # 2 classes, 100 images: mean 50, variance 25; 10 classes, 300 images: mean 30, variance 27. The bound is
    # 80 + 1.6449 * 7.2111 = 91.86: 55 + 36 = 91 are not beyond it, 55 + 37 = 92 are.
    run = record("packnet", 0, [0.55, right / 300])
    first, second = run.tasks
    first = dataclasses.replace(first, classes=2, test_images=100)
    second = dataclasses.replace(second, classes=10, test_images=300)
    run = dataclasses.replace(run, tasks=(first, second))
    beside = guessing(run)
    assert beside is not None
    assert (beside.mean, beside.variance) == (pytest.approx(80), pytest.approx(52))
    assert bool(briefs([run], "packnet")) == chance


def test_the_network_that_a_method_starts_from_does_not_hide_that_it_guesses() -> None:
    run = record("ksm", 0, [0.9, 0.2, 0.2], seconds=[None, 9.0, 9.0])
    assert briefs([run], "ksm") == ["at chance with 20.0 % on its own tasks (guessing: 20.0 %) at lr=0.0001"]
    assert briefs([record("ksm", 0, [0.9, 0.2, 0.2])], "ksm") == []


def test_tasks_without_test_images_or_of_one_class_tell_nothing() -> None:
    run = record("packnet", 0, [0.0, 1.0])
    empty, one = run.tasks
    rows = (dataclasses.replace(empty, test_images=0), dataclasses.replace(one, classes=1))
    assert guessing(dataclasses.replace(run, tasks=rows)) is None


def test_below_the_lower_bound_over_the_seeds_that_both_have() -> None:
    bound = [record("head-only", s, [0.5, 0.6]) for s in (0, 1)]
    # seed 0: -4 and +0 points, seed 1: -2 and -2 points: mean -2; seed 7 has no counterpart
    mine = [record("packnet", 0, [0.46, 0.6]), record("packnet", 1, [0.48, 0.58]), record("packnet", 7, [0.9, 0.9])]
    assert briefs(bound + mine, "packnet") == ["below head-only by 2.0 points at lr=0.0001"]
    assert briefs(bound + mine, "head-only") == []
    assert briefs(bound + [record("packnet", s, [0.6, 0.5]) for s in (0, 1)], "packnet") == []  # as good
    assert briefs([*bound, record("packnet", 7, [0.4, 0.4])], "packnet") == []  # no seed in common
    assert briefs([*bound, record("packnet", 0, [0.4999, 0.6])], "packnet") == [
        "below head-only by less than 0.1 points at lr=0.0001"
    ]


def test_the_lower_bound_is_a_role_not_a_name() -> None:
    facts = {"title": "Linear probe", "lower_bound": True}
    runs = [record("my-probe", 0, [0.5, 0.6], facts=facts), record("packnet", 0, [0.4, 0.5])]
    assert briefs(runs, "packnet") == ["below my-probe by 10.0 points at lr=0.0001"]
    runs[0] = record("my-probe", 0, [0.5, 0.6], facts=facts | {"lower_bound": False})
    assert briefs(runs, "packnet") == []


def test_what_a_lower_bound_says_nothing_of() -> None:
    bound = record("head-only", 0, [0.5, 0.6])
    forgot = record("finetune-sequential", 0, [0.7, 0.7], at_end=[0.3, 0.7])
    assert briefs([bound, forgot], "finetune-sequential") == []  # 70 % when learned: its rate is not the fault
    assert briefs([bound, record("scratch", 0, [0.4, 0.5])], "scratch") == []  # never sees the backbone
    other = record("ksm", 0, [0.4, 0.5], initial_task=2)
    assert briefs([bound, other], "ksm", start=2) == []  # another backbone


def test_a_rate_that_is_not_recorded_is_not_named() -> None:
    (panel,), _ = group([record("ksm", 0, [0.5, 0.6], masks=KEPT, spec={"settings": None})])
    (fault,) = faults(panel, panel.configurations[0])
    assert (fault.brief, fault.advice) == ("masks never moved", "train longer")


def three(method: str, accuracies: list[float], lr: float = 1e-4, **options: Any) -> list[RunRecord]:
    """Three seeds that differ by tenths of a point."""
    spec = {"settings": {"epochs": 30, "lr": lr, "schedule": "step"}, "epochs": 30}
    return [record(method, s, [a + s / 1000 for a in accuracies], spec=spec, **options) for s in range(3)]


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """KSM's masks never moved, PackNet guesses, Piggyback is below the head alone, fine-tuning is sound."""
    folder = tmp_path_factory.mktemp("marked")
    moved = [(task, layer, 90, 0, 10) for task in CIFAR_TASKS[1:3] for layer in ("a", "b")]
    runs = three("ksm", [0.66, 0.7, 0.7], masks=KEPT, sizes={"itemised": 2 * MIB})
    runs += three("packnet", [0.2, 0.2, 0.2], lr=0.01, sizes={"itemised": 3 * MIB})
    runs += three("piggyback", [0.5, 0.5, 0.5], masks=moved, sizes={"itemised": 4 * MIB})
    runs += three("finetune", [0.7, 0.7, 0.7], sizes={"itemised": 5 * MIB})
    runs += three("head-only", [0.53, 0.53, 0.53], sizes={"itemised": MIB})
    return build(save(folder / "runs", runs), folder / "report")


def rows(built: Built, name: str) -> list[dict[str, str]]:
    """The lines of a CSV of the report."""
    return list(csv.DictReader(io.StringIO((built.index.parent / name).read_text(encoding="utf-8"))))


#: PackNet guesses and is below the head alone
MARKS = {
    "KSM": "masks never moved", "PackNet": "at chance, below head-only", "Piggyback": "below head-only",
    "Fine-tune": "", "Head only": "", "CPG": "",
}  # fmt: skip


def test_marks_stand_in_the_files(marked: Built) -> None:
    ranking = {
        line["Method"]: line["Accuracy (percent) mark"] for line in rows(marked, "tables/cifar100-20-ranking.csv")
    }
    assert ranking == {name: mark for name, mark in MARKS.items() if name != "CPG"}
    for table in ("accuracy", "size"):
        lines = rows(marked, f"tables/cifar100-20-{table}.csv")
        assert {line["column"]: line["mark"] for line in lines}.items() <= MARKS.items()
        assert {line["mark"] for line in lines} >= {"masks never moved", "at chance, below head-only"}
    lines = rows(marked, "tables/cifar100-20-accuracy.csv")
    verdicts = {(line["column"], line["verdict"]) for line in lines if line["row"] == "Mean"}
    assert {("KSM", "masks never moved"), ("PackNet", "at chance"), ("Piggyback", "differs")} <= verdicts
    latex = (marked.index.parent / "tables" / "cifar100-20-accuracy.tex").read_text(encoding="utf-8")
    assert r"KSM \textdagger{}" in latex
    assert r"PackNet \textdaggerdbl{}§" in latex


def test_marks_stand_on_the_page_with_what_they_mean(marked: Built) -> None:
    page = marked.index.read_text(encoding="utf-8")
    ranking, rest = page[page.index('id="cifar100-20-ranking"') :].split("</section>", 1)
    for number in ("68.8 ± 0.2 †", "20.1 ± 0.2 ‡§", "50.1 ± 0.2 §", "70.1 ± 0.2<", "53.1 ± 0.2<"):
        assert number in ranking, number
    sentences = (
        "† masks never moved: KSM at lr=0.0001; no score crossed its threshold at this rate, so what ran is the "
        "backbone with a new head; train longer or raise the learning rate.",
        "‡ at chance: PackNet with 20.1 % (guessing: 20.0 %) at lr=0.01; not above guessing by more than the sampling "
        "error of the test images (one-sided binomial test, 5 %).",
        "§ below head-only: {}; the learning rate was made for something else; tune it.",
    )
    below = ["PackNet by 33.0 points at lr=0.01", "Piggyback by 3.0 points at lr=0.0001"]
    for sentence in sentences:
        assert f"<li>{sentence.format(', '.join(below[::-1]))}</li>" in ranking, sentence  # the better one first
    for key in ("accuracy", "size"):
        table = rest[rest.index(f'id="cifar100-20-{key}"') :].split("</section>", 1)[0]
        brief = "† masks never moved, ‡ at chance, § below head-only: explained under the ranking."
        assert f"<li>{brief}</li>" in table and not any(sentence[:30] in table for sentence in sentences), key
        assert re.search(r"<span>KSM\u00a0†</span>", table), key
    tradeoff = rest[rest.index('<figure id="cifar100-20-tradeoff"') :].split("</figure>", 1)[0]
    assert all(f">{label}<" in tradeoff for label in ("KSM †", "PackNet ‡§", "Piggyback §", "Fine-tune"))
    assert "† masks never moved, ‡ at chance, § below head-only: see the remarks under the ranking." in tradeoff
    overview = page[page.index('<section id="claims-overview"') :].split("</section>", 1)[0]
    assert "claims not judged: masks never moved and at chance, see the signs in the ranking." in overview
    assert '<span class="pill not-judged">not judged</span>' in page


def test_a_sound_report_has_no_marks(tmp_path: Path) -> None:
    moved = [(task, layer, 90, 5, 5) for task in CIFAR_TASKS[1:3] for layer in ("a", "b")]
    runs = three("ksm", [0.66, 0.7, 0.7], masks=moved, sizes={"itemised": 2 * MIB})
    runs += three("packnet", [0.6, 0.6, 0.6], sizes={"itemised": 3 * MIB}) + three("head-only", [0.5, 0.5, 0.5])
    built = build(save(tmp_path / "runs", runs), tmp_path / "report")
    files = [path for path in built.index.parent.rglob("*") if path.suffix in (".html", ".csv", ".md", ".tex", ".svg")]
    assert len(files) > 10
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not set("†‡§") & set(text), path
        assert "not judged" not in text.replace("; not judged:", ""), path
        assert path.suffix != ".csv" or not re.search(r"\bmark\b", text.partition("\n")[0]), path


def test_one_configuration_says_it_in_one_sentence() -> None:
    (panel,), _ = group([record("ksm", 0, [0.5, 0.6], masks=KEPT), record("packnet", 0, [0.5, 0.6])])
    assert (signs(panel, of(panel, "ksm")), signs(panel, of(panel, "packnet"))) == ("†", "")
    assert hint(panel, of(panel, "ksm")).startswith("masks never moved at lr=0.0001: no score crossed its threshold")


def test_mask_ratios_have_a_scale_from_0_to_100() -> None:
    for masks in (KEPT, [("fish", "a", 96, 3, 1), ("fish", "b", 94, 2, 4)]):
        (panel,), _ = group([record("ksm", 0, [0.5, 0.6, 0.7], masks=masks)])
        (drawing,) = mask_ratios(panel)
        axes: list[Axes] = drawing.figure.axes
        images = [image for axis in axes for image in axis.images]
        assert images
        assert {image.get_clim() for image in images} == {(0.0, 100.0)}
        bars = [axis for axis in axes if "percent" in axis.get_xlabel()]
        assert bars
        assert {axis.get_xlim() for axis in bars} == {(0.0, 100.0)}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lr": 1e-4}, ("at lr=0.0001", "raise ksm.lr or train longer")),
        ({"lr": 1e-4, "mask_lr": 2e-4, "reach": None}, ("at mask_lr=0.0002", "raise ksm.mask_lr or train longer")),
        ({"lr": 1e-4, "mask_lr": None, "reach": 2.0}, ("at reach=2", "raise ksm.reach")),
    ],
)
def test_the_setting_that_drives_the_masks_is_named(settings: dict[str, Any], told: tuple[str, str]) -> None:
    run = record("ksm", 0, [0.5, 0.6, 0.7], masks=KEPT)
    changed = dataclasses.replace(run, spec={**run.spec, "settings": {**run.spec["settings"], **settings}})
    (panel,), _ = group([changed])
    (fault, *_) = faults(panel, of(panel, "ksm"))
    assert (fault.detail, fault.advice) == told
