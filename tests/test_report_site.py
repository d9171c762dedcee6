"""``report --site``: pages that lie anywhere, and leaderboards that say who ran what where and average nothing else."""

from __future__ import annotations

import argparse
import csv
import html
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from report_records import CPU, record, save

from benchmark.cli.report import add_parser
from reports.report_error import ReportError
from reports.static_site.site_folder import Site, build_site
from reports.static_site.site_sources import short_names, unique_slugs
from results.schema import RunRecord

HOSTILE = '<script>alert("x")</script><img src=http://x.invalid/a onerror=alert(1)>&"\''
OTHER = {"cpu": "Other CPU", "cores": 2, "os": "Linux", "threads": 2, "load": 0.1}


def renamed(run: RunRecord, name: str) -> RunRecord:
    return RunRecord.from_json(run.to_json() | {"run_id": name})


def folders(base: Path) -> list[Path]:
    """Two people's results: the same configuration on two devices, other settings, and what has no place."""
    mine = [record("ksm", seed, [0.6 + seed / 100, 0.7], sizes={"itemised": 2**20}) for seed in range(2)]
    mine += [record("packnet", 0, [0.5, 0.6], provenance={"git": {"commit": "fedcba9876543210", "dirty": True}})]
    mine += [record("cpg", 0, [0.9, 0.9], status="failed", error="broke", tasks=[])]
    mine += [renamed(record("cpg", 1, [0.9, 0.9], spec={"synthetic": True}), "generated")]
    theirs = [
        record("ksm", seed, [0.4, 0.5 + seed / 50], provenance={"host": OTHER, "git": {"commit": "abcdef0123456789"}})
        for seed in range(2)
    ]
    theirs += [renamed(record("ksm", 0, [0.8, 0.8], spec={"settings": {"epochs": 10, "lr": 3e-4}}), "faster")]
    theirs += [renamed(record("ksm", 0, [0.3, 0.3], spec={"train_limit": 100}), "fewer")]
    theirs += [mine[2]]
    names = {"names": ("a", "b"), "scenario": "own"}
    theirs += [record("ksm", 0, [0.7, 0.8], spec={"scenario_title": HOSTILE}, **names)]
    return [save(base / "mine" / "runs", mine), save(base / "theirs" / "runs", theirs)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(base: Path) -> Site:
    return build_site(folders(base), base / "out")


def pages(site: Site) -> list[Path]:
    return sorted(site.index.parent.rglob("*.html"))


def rows(site: Site, board: str, number: int = 1) -> list[dict[str, str]]:
    path = site.index.parent / "leaderboards" / board / "tables" / f"leaderboard-{number}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_leaderboard_says_who_ran_what_where(site: Site) -> None:
    found = [
        (row["Method"], float(row["Accuracy (percent)"]), row["Seeds"], row["Device"], row["Code"], row["Results"])
        for row in rows(site, "cifar100-20")
    ]
    mine, theirs = "mine/runs", "theirs/runs"
    # means over two tasks and two seeds, never over the two devices
    assert found == [
        ("KSM (lr 0.0003)", pytest.approx(80), "0", "Test CPU, 2 threads, fp32", "0123456", theirs),
        ("KSM (lr 0.0001)", pytest.approx(65.25), "0, 1", "Test CPU, 2 threads, fp32", "0123456", mine),
        ("PackNet", pytest.approx(55), "0", "Test CPU, 2 threads, fp32", "fedcba9 with uncommitted changes", mine),
        ("KSM (lr 0.0001)", pytest.approx(45.5), "0, 1", "Other CPU, 2 threads, fp32", "abcdef0", theirs),
    ]
    assert {row["Settings"] for row in rows(site, "cifar100-20")} == {"untuned"}


def test_failed_and_generated_runs_have_no_place(site: Site) -> None:
    every = [row for number in (1, 2) for row in rows(site, "cifar100-20", number)]
    assert "CPG" not in {row["Method"] for row in every}


def test_other_settings_stand_apart(site: Site) -> None:
    assert [row["Accuracy (percent)"] for row in rows(site, "cifar100-20", 2)] == ["30"]
    text = (site.index.parent / "leaderboards/cifar100-20/index.html").read_text(encoding="utf-8")
    assert "in 2 settings, which do not compare" in text
    assert "at most 100 training images per task" in text


def test_tuned_settings_and_trials_are_told(tmp_path: Path) -> None:
    tuning = {"trials": 4, "tasks": 1, "seed": 0, "space": ["ksm.lr 1e-4..1e-2"], "trial": 2, "validation": 0.6}
    tuned = renamed(record("ksm", 0, [0.6, 0.7], spec={"tuning": tuning}), "tuned")
    trial = renamed(record("ksm", 0, [0.9, 0.9], spec={"measured_on": "validation"}), "trial")
    made = build_site([save(tmp_path / "runs", [tuned, trial, record("ksm", 0, [0.5, 0.6])])], tmp_path / "out")
    assert [(row["Method"], row["Settings"], row["Accuracy (percent)"]) for row in rows(made, "cifar100-20")] == [
        ("KSM", "tuned, 4 trials", "65"),
        ("KSM", "untuned", "55"),
    ]


def test_a_run_that_lies_in_two_folders_counts_once(site: Site) -> None:
    assert site.left_out[0] == "1 run of theirs/runs is in mine/runs, too; the leaderboard has it there alone"
    assert sum(row["Method"] == "PackNet" for row in rows(site, "cifar100-20")) == 1


def test_every_link_is_relative_and_leads_somewhere(site: Site) -> None:
    assert (site.index.parent / ".nojekyll").is_file()
    assert len(pages(site)) == 5  # the index, two folders, two leaderboards
    for path in pages(site):
        text = path.read_text(encoding="utf-8")
        ids = set(re.findall(r'\bid="([^"]+)"', text))
        for link in map(html.unescape, re.findall(r'<a\b[^>]*\bhref="([^"]*)"', text)):
            target, _, place = link.partition("#")
            assert not re.match(r"[a-z]+:|/", target), f"{path}: {link}"
            there = path if not target else path.parent / target
            assert there.is_file(), f"{path}: {link}"
            if place:
                known = ids if not target else set(re.findall(r'\bid="([^"]+)"', there.read_text(encoding="utf-8")))
                assert place in known, f"{path}: {link}"


def test_pages_lead_back_have_the_same_policy_and_name_no_path_of_this_machine(site: Site, base: Path) -> None:
    policies = set()
    for path in pages(site):
        text = path.read_text(encoding="utf-8")
        policies.add(re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1))  # type: ignore[union-attr]
        assert str(base) not in text
        assert "<script>alert" not in text
        assert ('href="../../index.html">All results</a>' in text) is (path != site.index)
    assert len(policies) == 1
    assert "default-src 'none'" in policies.pop().replace("&#39;", "'")


def test_a_page_alone_has_no_way_back(tmp_path: Path) -> None:
    from reports.build import build

    built = build(save(tmp_path / "runs", [record("ksm", 0, [0.5, 0.6])]), tmp_path / "out")
    assert "All results" not in built.index.read_text(encoding="utf-8")


def test_names_are_as_short_as_they_may_be() -> None:
    assert short_names([Path("a/runs")]) == ["runs"]
    assert short_names([Path("a/runs"), Path("b/runs"), Path("c")])[:2] == ["a/runs", "b/runs"]
    assert unique_slugs(["A b", "a-b", "c"]) == ["a-b", "a-b-2", "c"]


def test_a_missing_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    runs = save(tmp_path / "runs", [record("ksm", 0, [0.5])])
    with pytest.raises(ReportError, match="does not exist"):
        build_site([runs, tmp_path / "absent"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    words = []
    for name in ("a", "b"):
        words += ["--results", str(save(tmp_path / name, [record("ksm", 0, [0.6], provenance={"host": OTHER})]))]
    args = parser.parse_args(["report", *words, "--site", str(tmp_path / "out")])
    assert args.run(args) == 0
    out = capsys.readouterr().out
    assert "2 pages, 1 leaderboard; their index:" in out
    assert out.splitlines()[-1] == str(tmp_path / "out" / "index.html")


@pytest.fixture(scope="module")
def browser() -> Any:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed to render the site with")
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        pytest.skip("no Chromium on this machine to render the site with")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chromium_shows_it_without_errors_or_overflow(browser: Any, site: Site, width: int, scheme: str) -> None:
    for path in (site.index, *site.boards):
        tab = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme).new_page()
        errors: list[str] = []
        tab.on("console", lambda message, errors=errors: errors.append(message.text))
        tab.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        ink = tab.evaluate("getComputedStyle(document.body).color")
        assert ink == ("rgb(28, 33, 39)" if scheme == "light" else "rgb(227, 231, 236)")
        assert errors == []
        tab.context.close()


def test_chromium_walks_from_the_index_to_a_leaderboard_and_back(browser: Any, site: Site) -> None:
    tab = browser.new_context(viewport={"width": 1280, "height": 844}).new_page()
    tab.goto(site.index.as_uri())
    tab.get_by_role("link", name="Twenty tasks of CIFAR-100").first.click()
    assert tab.locator("h1").inner_text() == "Leaderboard: Twenty tasks of CIFAR-100"
    table = tab.locator("#leaderboard-1-table")
    assert table.locator("thead th").nth(6).inner_text().startswith("Results")
    right = "node => node.getBoundingClientRect().right"
    box = tab.locator(".table-box").first.evaluate(right)
    assert table.locator("thead th").nth(6).evaluate(right) <= box  # who and where are seen without scrolling
    tab.get_by_role("link", name="All results").click()
    assert tab.locator("h1").inner_text() == "Mask-based continual learning, measured"


def test_the_hosts_of_these_tests_differ() -> None:
    assert CPU["cpu"] != OTHER["cpu"]
