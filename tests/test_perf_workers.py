"""Several runs at once give what they give one by one, and ``run`` speaks before it imports anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
WORDS = ("run", "--method", "ksm,packnet,finetune", "--tasks", "2", "--epochs", "2", "--train-limit", "64")


def _records(results: Path, *options: str) -> dict[str, dict[str, Any]]:
    words = [sys.executable, "-m", "benchmark", *WORDS, "--device", "cpu", "--threads", "1", "--results", str(results)]
    done = subprocess.run([*words, *options], cwd=ROOT, check=True, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert said[0].startswith("digits: 3 runs on cpu")
    assert any(line.startswith("importing torch and avalanche") for line in said)
    return {path.parent.name: json.loads(path.read_text()) for path in results.glob("*/result.json")}


@pytest.mark.exhaustive
def test_workers_give_the_results_of_one_by_one(tmp_path: Path) -> None:
    alone = _records(tmp_path / "alone" / "runs")
    together = _records(tmp_path / "together" / "runs", "--workers", "3")
    assert len(alone) == 3
    assert alone.keys() == together.keys()
    for run_id, record in alone.items():
        for key in ("accuracy_matrix", "mask_statistics", "mean_accuracy"):
            assert record[key] == together[run_id][key], (run_id, key)
        for name in (path.name for path in (tmp_path / "alone" / "runs" / run_id / "tasks").glob("*.safetensors")):
            one, other = (tmp_path / where / "runs" / run_id / "tasks" / name for where in ("alone", "together"))
            assert one.read_bytes() == other.read_bytes(), (run_id, name)
