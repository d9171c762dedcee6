"""What a run is called on the terminal."""

from __future__ import annotations

from benchmark.console import Console, labels
from benchmark.plan.papers import PRESETS
from benchmark.plan.request import Request
from benchmark.plan.tables import expand
from benchmark.scenarios.registry import load_scenario


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
