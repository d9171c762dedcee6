"""A run stopped after any epoch goes on with the same numbers: moments, random streams, best epoch, CPG's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import leftovers, numbers, run_here, small_options, small_spec, stored

from benchmark.plan.execution import RunOptions
from benchmark.plan.spec import RunSpec
from results.reader import read_record


class Stopped(BaseException):
    """What a kill looks like from inside: no handler of ours runs."""


def stopped_after(spec: RunSpec, options: RunOptions, epochs: int) -> bool:
    """Run and stop dead after so many checkpointed epochs; False: it had finished before."""
    from benchmark.execute.runner import run

    torch.set_num_threads(1)
    heard = 0

    def emit(event: dict[str, Any]) -> None:
        nonlocal heard
        if event["type"] == "epoch":
            if heard == epochs:
                raise Stopped
            heard += 1

    try:
        run(spec, options, emit)
    except Stopped:
        return True
    return False


CASES = {
    "ksm": {"overrides": {"protocol.flip": True, "mask.noise": True}},
    "piggyback": {"overrides": {"piggyback.schedule": "cosine"}},
    "packnet": {"epochs": 3},
    "cpg": {"tasks": 2, "overrides": {"cpg.prune_epochs": 2, "cpg.retrain_epochs": 2}},
    "finetune": {},
    "finetune-sequential": {},
    "scratch": {"epochs": 3},
}


@pytest.mark.parametrize("method", CASES)
def test_resume_after_every_few_epochs_ends_with_the_same_numbers(method: str, tmp_path: Path) -> None:
    spec = small_spec(method, **{"epochs": 2, "train_limit": 50, **CASES[method]})
    calm, _ = run_here(spec, small_options(tmp_path / "calm"))
    options = small_options(tmp_path / "runs", checkpoint_seconds=0.0)
    sessions = 1
    while stopped_after(spec, options, epochs=2):
        sessions += 1
        assert sessions < 60, "the run gets nowhere"
    record = read_record(tmp_path / "runs" / spec.run_id / "result.json")
    assert sessions > 2
    assert numbers(record) == numbers(calm)
    assert stored(tmp_path / "runs" / spec.run_id) == stored(tmp_path / "calm" / spec.run_id)
    assert leftovers(tmp_path) == []
