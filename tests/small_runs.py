"""Whole runs on a few handwritten digits, a second each, for tests of what a run leaves behind."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.plan.execution import RunOptions
from benchmark.plan.planning import plan
from benchmark.plan.request import Request
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.loader import load_scenario
from methods.registry import METHODS
from results.schema import RunRecord

FIVE = ("finetune", "packnet", "piggyback", "cpg", "ksm")


def small_spec(method: str, tasks: int = 3, epochs: int = 2, train_limit: int = 60, **request: Any) -> RunSpec:
    """One run of ``method``; masks learn fast enough for some units to be dropped, CPG prunes in two steps."""
    overrides: dict[str, Any] = dict(request.pop("overrides", {}))
    if METHODS[method].mask is not None:
        overrides = {f"{method}.lr": 5e-3, f"{method}.head_lr": 5e-3} | overrides
    if method == "cpg":
        overrides = {"cpg.prune_ratios": (0.3, 0.6), "cpg.prune_every": 1, "cpg.min_train_accuracy": 0.5} | overrides
    wanted = Request(
        methods=(method,), tasks=tasks, epochs=epochs, train_limit=train_limit, overrides=overrides, **request
    )
    return next(spec for spec in plan(wanted, load_scenario("digits"), None) if spec.method == method)


def small_options(results: Path, **changes: Any) -> RunOptions:
    """Options of a run into ``results``; all weights are kept."""
    options = RunOptions(results, scenario_source="digits", threads=1, keep_weights="all")
    return dataclasses.replace(options, **changes)


def run_here(spec: RunSpec, options: RunOptions) -> tuple[RunRecord, list[dict[str, Any]]]:
    """Carry out a run in this process: its record and the events on the way."""
    import torch

    from benchmark.execute.runner import run

    torch.set_num_threads(1)
    events: list[dict[str, Any]] = []
    record = run(spec, options, events.append)
    assert record is not None
    return record, events


def numbers(record: RunRecord) -> dict[str, Any]:
    """Everything in a record that a repetition must give again: all but times and where it was made."""
    value = record.to_json()
    size = value["size"] or {}
    return {
        "matrix": value["accuracy_matrix"],
        "curves": [task["curve"] for task in value["tasks"]],
        "goals": [(task["goal"], task["goal_met"]) for task in value["tasks"]],
        "masks": value["mask_statistics"],
        "measures": value["measures"],
        "components": size.get("components"),
        "rules": size.get("rules"),
        "written": size.get("written_bytes"),
        "status": value["status"],
        "error": value["error"],
    }


def stored(folder: Path) -> Mapping[str, str]:
    """Sha256 of every weights file of a run: equal digests are equal masks, heads, BN sets and backbones."""
    files = sorted((folder / "tasks").glob("*.safetensors"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def leftovers(results: Path) -> list[str]:
    """Files below a results folder that should not be there once every run has finished."""
    return [
        str(path.relative_to(results))
        for path in results.rglob("*")
        if path.name.endswith((".part", ".unfinished")) or path.name.startswith(("checkpoint", ".probe"))
    ]


def accounted(record: RunRecord) -> float:
    """Seconds of all phases of a record together."""
    return sum(record.seconds.values()) + sum(sum(task.seconds.values()) for task in record.tasks)


def read_json(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
