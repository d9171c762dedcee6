"""What a run is called on the terminal, and what stands under the closing table."""

from __future__ import annotations

import pytest
from report_records import record

from benchmark.console import Console, labels, print_table
from benchmark.plan.papers import PRESETS
from benchmark.plan.request import Request
from benchmark.plan.tables import expand
from benchmark.scenarios.loader import load_scenario


def test_runs_are_told_apart_by_what_they_differ_in() -> None:
    scenario = load_scenario("cifar100-20")
    specs = list(expand(PRESETS["table1"], Request(scenario="cifar100-20"), scenario, None))
    assert labels([spec.to_json() for spec in specs]) == [
        "scratch s0",
        "piggyback s0 (BN frozen)",
        "piggyback s0 (BN per-task)",
        "ksm s0 (lr 0.0001, head_lr 0.0001, schedule step)",
        "ksm s0 (lr 0.0002, head_lr 0.0002, schedule cosine)",
        "packnet s0",
        "head-only s0",
        "finetune s0",
        "cpg s0",
    ]


def test_runs_that_share_method_and_seed_have_their_own_clocks() -> None:
    scenario = load_scenario("cifar100-20")
    specs = list(expand(PRESETS["table1"], Request(scenario="cifar100-20", methods=("ksm",)), scenario, None))
    console = Console(specs, done=0)
    for spec in specs:
        console.hear(spec, {"type": "run-start", "tasks": 20, "done": 0})
    assert len(console._began) == len(specs) == 2


def test_the_closing_table_says_what_is_wrong_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    kept = [("fish", "a", 100, 0, 0)]
    runs = [
        record("ksm", 0, [0.5, 0.6], masks=kept),
        record("packnet", 0, [0.2, 0.2], spec={"settings": {"lr": 0.1}}),
        record("finetune", 0, [0.46, 0.6], spec={"settings": {"lr": 0.01}}),
        record("head-only", 0, [0.5, 0.6], spec={"settings": {"lr": 0.01}}),
        record("cpg", 0, [0.1], status="failed", error="RuntimeError: out of memory"),
    ]
    print_table(runs)
    table, _, below = capsys.readouterr().out.partition("head-only s0")
    assert len(table.split("\n")) == 6  # an empty line, the head, three runs before it
    assert below.split("\n")[1:] == [
        "Fine-tune: below head-only by 2.0 points at lr=0.01; tune its rates with --set finetune.lr=…",
        "PackNet: at chance with 20.0 % (guessing: 20.0 %) at lr=0.1; tune its rates with --set packnet.lr=…",
        "PackNet: below head-only by 35.0 points at lr=0.1; tune its rates with --set packnet.lr=…",
        "KSM: masks never moved at lr=0.0001; raise ksm.lr or train longer",
        "cpg seed 0 FAILED: RuntimeError: out of memory",
        "  the whole story is in its record, run id cifar100-20-cpg-1-0",
        "",
        "",
    ]


def test_the_closing_table_of_sound_runs_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    moved = [("fish", "a", 99, 0, 1)]
    print_table([record("ksm", 0, [0.5, 0.6], masks=moved), record("head-only", 0, [0.5, 0.6])])
    assert len(capsys.readouterr().out.strip().split("\n")) == 3
