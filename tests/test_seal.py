"""A digit that changes in a record or in a table of step times is noticed, wherever it stands."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from report_records import record

from benchmark.cli.main import main
from reports.records import load
from reports.step_times import load_steps
from results.reader import read_record
from results.schema import SchemaError
from results.seal import SEAL, require_seal, sealed, sealed_table, unsealed_table

TABLE = "method,ms\nksm,2.5\npacknet,3.25\n"


def written(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))
    return path


def good() -> dict[str, Any]:
    return sealed(record("ksm", 0, [0.5, 0.75]).to_json())


def test_a_seal_is_of_content_not_of_spaces_or_order(tmp_path: Path) -> None:
    value = good()
    require_seal(json.loads(json.dumps(value)))
    require_seal(dict(reversed(json.loads(json.dumps(value)).items())))
    require_seal({key: item for key, item in value.items() if key != SEAL})  # of an earlier version
    assert sealed(value) == value
    path = written(tmp_path / "result.json", value)
    assert read_record(path).to_json() == record("ksm", 0, [0.5, 0.75]).to_json()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    read_record(path)


@pytest.mark.parametrize("other", ["training_seconds_total", "seed", "host", SEAL])
def test_another_content_is_refused(other: str, tmp_path: Path) -> None:
    value = json.loads(json.dumps(good()))
    if other == "training_seconds_total":  # and all that must agree with it
        for task in value["tasks"]:
            task["seconds"] = {phase: 2 * seconds for phase, seconds in task["seconds"].items()}
        value[other] = 2 * value[other]
    elif other == "seed":
        value["spec"]["seed"] = 7
    elif other == "host":
        value["provenance"]["host"] = {"cpu": "another"}
    else:
        value[SEAL] = None
    with pytest.raises(SchemaError, match="it is not what its run wrote: its sha256 is of another content"):
        read_record(written(tmp_path / "result.json", value))


def test_no_byte_of_a_record_can_change_unnoticed(tmp_path: Path) -> None:
    """It is left out by name, or still the same record, as where a space became another."""
    path = written(tmp_path / "runs" / "mine" / "result.json", good())
    written(tmp_path / "runs" / "other" / "result.json", sealed(record("packnet", 0, [0.5, 0.75]).to_json()))
    whole, generator, noticed = path.read_bytes(), random.Random(0), 0
    expected = json.loads(whole)
    del expected[SEAL]
    for _ in range(400):
        spoiled = bytearray(whole)
        at = generator.randrange(len(spoiled))
        spoiled[at] ^= 1 << generator.randrange(8)
        path.write_bytes(spoiled)
        found = load(tmp_path / "runs")
        assert len(found.all) + len(found.left_out) == 2
        noticed += bool(found.left_out)
        for item in found.all:
            if item.spec["method"] == "ksm":
                assert json.loads(json.dumps(item.to_json())) == expected
    assert noticed > 200


def test_a_table_with_another_digit_is_refused() -> None:
    text = sealed_table(TABLE)
    assert unsealed_table(text) == TABLE
    assert unsealed_table(TABLE) == TABLE  # of an earlier version
    assert unsealed_table("") == ""
    lines = text.splitlines(keepends=True)
    for changed in (text.replace("2.5", "2.6"), text.replace("ms", "s"), lines[0] + lines[2], text + lines[1]):
        with pytest.raises(SchemaError, match="its sha256 is of another content"):
            unsealed_table(changed)


@pytest.mark.timeout(60)
def test_what_is_no_table_is_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe is not waited for, a link to a device not read."""
    runs = tmp_path / "runs"
    written(runs / "good" / "result.json", good())
    for name in ("pipe", "device", "folder", "changed"):
        (runs / "perf" / name).mkdir(parents=True)
    os.mkfifo(runs / "perf/pipe/step.csv")
    (runs / "perf/device/step.csv").symlink_to("/dev/zero")
    (runs / "perf/folder/step.csv").mkdir()
    (runs / "perf/changed/step.csv").write_text(sealed_table(TABLE).replace("2.5", "2.6"))
    _, left_out = load_steps(runs)
    assert sorted(left_out) == [
        "perf/changed/step.csv: it is not what was measured: its sha256 is of another content",
        "perf/device/step.csv: it is no regular file",
        "perf/folder/step.csv: it is no regular file",
        "perf/pipe/step.csv: it is no regular file",
    ]
    assert main(["report", "--results", str(runs), "--out", str(tmp_path / "page")]) == 0
    assert capsys.readouterr().out.count("step.csv: it is ") == 4
