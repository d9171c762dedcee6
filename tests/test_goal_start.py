"""What a goal's network starts from where a scenario's pretrained weights are not there, as on generated images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_runs import small_options, small_spec

from benchmark.execute import assembly
from benchmark.execute.reference import References
from benchmark.measure.clock import Stopwatch
from methods.engine.sealing import tensors_sha256


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_goal_starts_from_the_same_numbers_whatever_ran_before(pretrained: bool, tmp_path: Path) -> None:
    spec, options = small_spec("cpg"), small_options(tmp_path)
    task = SimpleNamespace(task=SimpleNamespace(name=spec.task_names[0]))

    def start(before: int) -> str:
        torch.manual_seed(before)
        made = partial(assembly.backbone_of, spec, options)
        found = References(spec, tmp_path, torch.device("cpu"), made, lambda: None, lambda event: None)
        strategy = found._reference(Stopwatch(), "goal", task, pretrained)  # type: ignore[arg-type]
        return tensors_sha256(dict(strategy.view.backbone.state_dict()))

    assert start(1) == start(2)
