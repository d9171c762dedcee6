"""Records with fields of the wrong shape: named and left out, never a crash, whatever else is in the folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from report_records import record

from reports.build import build
from reports.records import load
from results.schema import CurvePoint, RunRecord, SchemaError, SizeComponent, TaskRow
from results.shapes import ShapeError, check_fields

#: (path in the record, value, what is said of it)
SPOILED: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("run_id",), [], "run_id is [], not text"),
    (("mean_accuracy",), "x", "mean_accuracy is 'x', not a fraction between 0 and 1 or null"),
    (("tasks", 0, "seconds"), None, "seconds is null, not a mapping"),
    (("tasks", 0, "epochs"), 1.5, "epochs is 1.5, not a whole number of 0 or more"),
    (("tasks", 0, "curve", 0, "train"), None, "train is null, not a fraction between 0 and 1"),
    (("tasks", 0), "fish", "wrong shape"),
    (("size", "rules"), None, "rules is null, not a mapping"),
    (("mask_statistics", 0, "units"), True, "units is True, not a whole number"),
    (("accuracy_matrix", 0), 3, "wrong shape"),
    (("provenance", "notes"), 3.5, "notes is 3.5, not a list or null"),
    (("provenance", "git"), "abc", "git is 'abc', not a mapping or null"),
    (("method",), "ksm", "method is 'ksm', not a mapping"),
    (("spec", "initial_task"), "x", "initial_task is 'x'"),
    (("spec", "seed"), "0", "seed is '0', not a whole number"),
    (("spec", "scenario"), None, "scenario is null, not text"),
    (("tasks", 0, "accuracy"), 1.5, "accuracy is 1.5, not a fraction between 0 and 1"),
]


def _whole() -> dict[str, Any]:
    curve = [{"phase": "train", "epoch": 1, "lr": 0.1, "loss": 1.0, "train": 0.5, "validation": None, "test": 0.4}]
    made = record("ksm", 0, [0.5, 0.6], masks=[("fish", "a", 1, 1, 1)], sizes={"itemised": 100}, curve=curve)
    value: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    return value


def _spoiled(path: tuple[str | int, ...], wrong: Any) -> dict[str, Any]:
    value = copy.deepcopy(_whole())
    part: Any = value
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = wrong
    return value


def test_spoiled_records_are_left_out_by_name_and_the_report_is_made_of_the_rest(tmp_path: Path) -> None:
    for number, (path, wrong, _) in enumerate(SPOILED):
        folder = tmp_path / "runs" / f"spoiled-{number:02d}"
        folder.mkdir(parents=True)
        value = _spoiled(path, wrong)
        if value["run_id"]:
            value["run_id"] = folder.name
        (folder / "result.json").write_text(json.dumps(value))
    (tmp_path / "runs" / "whole").mkdir()
    (tmp_path / "runs" / "whole" / "result.json").write_text(json.dumps(_whole()))
    loaded = load(tmp_path / "runs")
    assert [item.run_id for item in loaded.finished] == [_whole()["run_id"]]
    for number, (_, _, said) in enumerate(SPOILED):
        (line,) = [line for line in loaded.left_out if f"spoiled-{number:02d}" in line]
        assert said in line
    built = build(tmp_path / "runs", tmp_path / "report")
    assert built.index.exists()
    assert len(built.left_out) == len(SPOILED)


def test_shapes_that_json_cannot_tell_apart_pass() -> None:
    check_fields(TaskRow, {"accuracy": 1, "seconds": {"train": 2}, "curve": [], "goal": None, "goal_met": True})
    check_fields(SizeComponent, {"task": None, "count": 3})
    check_fields(TaskRow, {"accuracy": 0, "seconds_per_epoch": 10**30, "peak_memory": {"train": {"peak": 2**62}}})
    with pytest.raises(ShapeError, match="goal_met is 1, not true or false or null"):
        check_fields(TaskRow, {"goal_met": 1})
    with pytest.raises(SchemaError, match="status"):
        RunRecord.from_json(_spoiled(("status",), "half"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seconds": {"load": 1.0, "train": -1}}, "seconds.train is -1, not a number of 0 or more"),
        ({"peak_memory": {"train": {"peak": 0.5}}}, "peak_memory.train.peak is 0.5, not a whole number of 0 or more"),
        ({"accuracy": float("nan")}, "accuracy is nan, not a fraction between 0 and 1"),
        ({"seconds_per_epoch": float("inf")}, "seconds_per_epoch is inf, not a number of 0 or more or null"),
        ({"seconds_per_epoch": 10**400}, "not a number of 0 or more or null"),
        ({"epochs": 2**63}, "epochs is 9223372036854775808, not a whole number of 0 or more"),
        ({"classes": 0}, "classes is 0, not a whole number of 1 or more"),
        ({"status": "a" * 501}, "not text of at most 500 characters"),
    ],
)
def test_numbers_and_texts_have_bounds(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ShapeError) as caught:
        check_fields(TaskRow, values)
    assert str(caught.value).endswith(said)
    assert len(str(caught.value)) < 120


def test_numbers_without_bounds_of_their_own_are_finite() -> None:
    check_fields(CurvePoint, {"loss": -3.4e38})
    with pytest.raises(ShapeError, match="loss is nan, not a number or null"):
        check_fields(CurvePoint, {"loss": float("nan")})
