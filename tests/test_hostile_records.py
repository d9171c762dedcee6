"""Records that are damaged or made up: left out by name in one sentence, whatever they hold, and no run suffers."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from report_records import record
from small_runs import small_spec

from benchmark.cli.main import main
from benchmark.console import print_table
from benchmark.errors import RequestError
from benchmark.execute.store import RunFolder
from reports.build import build
from reports.records import load
from results.reader import MOST_BYTES, read_record
from results.schema import RunRecord, SchemaError

REPOSITORY = Path(__file__).resolve().parent.parent
MEASURED = REPOSITORY / "results" / "measured"
CASES = REPOSITORY.parent / "shared" / "cases" / "reliability" / "records"
FOLDERS = {"cifar100-20-thin-cpu": 9, "cifar100-20-thin-cpu-30-epochs": 8, "cifar100-thin-cpu": 21}

#: seconds that a bad record may cost a command
PATIENCE = 10.0


def _good() -> dict[str, Any]:
    """Two tasks, the first of which loses a tenth: forgetting 0.1, backward transfer -0.1, mean 0.5."""
    curve = [{"phase": "train", "epoch": 1, "lr": 0.1, "loss": 1.0, "train": 0.5, "validation": None, "test": 0.4}]
    made = record(
        "ksm", 0, [0.5, 0.6], at_end=[0.4, 0.6], masks=[("fish", "a", 1, 1, 1)], curve=curve, sizes={"itemised": 100},
        components=[("backbone", None, 25, 32)], accuracy_matrix=[[0.5, None], [0.4, 0.6]],
        mean_accuracy=0.5, forgetting=0.5 - 0.4, backward_transfer=0.4 - 0.5, task1=3.0,
    )  # fmt: skip
    value: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    return value


def _written(folder: Path, content: dict[str, Any] | bytes) -> Path:
    folder.mkdir(parents=True)
    path = folder / "result.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@contextmanager
def _in_time() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < PATIENCE


def test_the_record_that_is_spoiled_below_is_read(tmp_path: Path) -> None:
    read = read_record(_written(tmp_path / "good", _good()))
    assert (read.mean_accuracy, read.forgetting, read.backward_transfer) == pytest.approx((0.5, 0.1, -0.1))


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


#: (path in the record, value, what is said of it)
CONTRADICTIONS: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("mean_accuracy",), 0.5 + 2e-9, "mean_accuracy is 0.500000002, its accuracy matrix makes 0.5"),
    (("mean_accuracy",), None, "it says finished but has no mean_accuracy"),
    (("forgetting",), 0.0, "forgetting is 0.0, its accuracy matrix makes"),
    (("forgetting",), None, "forgetting is null, its accuracy matrix makes"),
    (("backward_transfer",), 0.1, "backward_transfer is 0.1, its accuracy matrix makes"),
    (("accuracy_matrix",), [], "it says finished but has no accuracy_matrix"),
    (("accuracy_matrix",), [[0.5, None]], "its accuracy matrix is not of 2 rows and columns"),
    (("accuracy_matrix", 1), [0.4], "its accuracy matrix is not of 2 rows and columns"),
    (("accuracy_matrix", 1, 0), None, "row 2 of its accuracy matrix has not an accuracy for each task"),
    (("accuracy_matrix", 0, 1), 0.1, "row 1 of its accuracy matrix has not an accuracy for each task"),
    (("accuracy_matrix", 0, 0), 1.5, "accuracy_matrix.1.1 is 1.5, not a fraction between 0 and 1 or null"),
    (("tasks", 0, "accuracy"), 0.6, "accuracy of task 'aquatic_mammals' is 0.6, its accuracy matrix has 0.5"),
    (("tasks", 0, "accuracy_at_end"), 0.5, "accuracy_at_end of task 'aquatic_mammals' is 0.5"),
    (("tasks", 0, "accuracy"), -0.1, "accuracy is -0.1, not a fraction between 0 and 1"),
    (("tasks", 1, "index"), 1, "2 of its tasks have the index 1"),
    (("tasks", 1, "name"), "aquatic_mammals", "2 of its tasks have the name 'aquatic_mammals'"),
    (("tasks", 0, "name"), "a" * 501, "not text of at most 500 characters"),
    (("tasks", 0, "epochs"), -1, "epochs is -1, not a whole number of 0 or more"),
    (("tasks", 0, "train_images"), -1, "train_images is -1, not a whole number of 0 or more"),
    (("tasks", 0, "test_images"), 0, "test_images is 0, not a whole number of 1 or more"),
    (("tasks", 0, "classes"), 10**30, "not a whole number of 1 or more"),
    (("tasks", 0, "seconds", "train"), -5.0, "seconds.train is -5.0, not a number of 0 or more"),
    (("tasks", 0, "seconds", "train"), 1e300, "seconds.train is 1e+300, not a number of 0 or more"),
    (("tasks", 0, "seconds", "train"), 11.0, "training_seconds_total is 20.0, its tasks' phases make 21.0"),
    (("tasks", 0, "curve", 0, "train"), 1.01, "train is 1.01, not a fraction between 0 and 1"),
    (("tasks", 0, "curve", 0, "lr"), -1, "lr is -1, not a number of 0 or more"),
    (("training_seconds_total",), None, "it says finished but has no training_seconds_total"),
    (("wall_seconds",), -1, "wall_seconds is -1, not a number of 0 or more or null"),
    (("energy_joules",), -1, "energy_joules is -1"),
    (("trainable_parameters",), -1, "trainable_parameters is -1"),
    (("mask_statistics", 0, "zeros"), 2, "the mask of 'fish' on 'a' has 3 units, its ones, soft and zeros make 4"),
    (("mask_statistics", 0, "ones"), -1, "ones is -1, not a whole number of 0 or more"),
    (("size", "rules"), {}, "its size has no rule 'itemised'"),
    (("size", "rules", "itemised"), 99, "its itemised size is 99 bytes, its components make 100"),
    (("size", "components", 0, "count"), -5, "count is -5, not a whole number of 0 or more"),
    (("size", "header_bytes"), -1, "header_bytes is -1"),
    (("spec", "mask"), {"slope": 1e300}, "spec.mask.slope is no finite number of at most 1e+40"),
    (("spec", "settings"), _nested(20), "spec.settings.1.1"),
    (("provenance", "host", "load"), _nested(500), "is nested more than 16 deep"),
    (("provenance", "notes"), [-(10**4000)], "provenance.notes.1 is no finite number"),
    (("task1_network", "seconds"), -(10**50), "task1_network.seconds is no finite number"),
    (("tasks",), _nested(500), "a field has the wrong shape"),
    (("schema_version",), _nested(500), "it has schema version"),
]


@pytest.mark.parametrize(("path", "wrong", "said"), CONTRADICTIONS, ids=[item[2][:40] for item in CONTRADICTIONS])
def test_a_contradiction_is_said_in_one_sentence(
    path: tuple[str | int, ...], wrong: Any, said: str, tmp_path: Path
) -> None:
    value = copy.deepcopy(_good())
    part: Any = value
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = wrong
    with pytest.raises(SchemaError) as caught:
        read_record(_written(tmp_path / "run", value))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_rounding_within_the_tolerance_is_no_contradiction(tmp_path: Path) -> None:
    value = _good() | {"mean_accuracy": 0.5 + 1e-12, "training_seconds_total": 20.0 + 1e-9}
    assert read_record(_written(tmp_path / "run", value)).mean_accuracy == 0.5 + 1e-12


def test_a_record_of_one_task_has_no_forgetting(tmp_path: Path) -> None:
    value = json.loads(json.dumps(record("ksm", 0, [0.5], forgetting=None, backward_transfer=None).to_json()))
    assert read_record(_written(tmp_path / "run", value)).forgetting is None
    with pytest.raises(SchemaError, match="forgetting is 0.0, its accuracy matrix makes null"):
        read_record(_written(tmp_path / "other", value | {"forgetting": 0.0}))


def test_a_failed_run_may_say_nothing_but_not_an_empty_text(tmp_path: Path) -> None:
    value = {"schema_version": 1, "run_id": "one", "status": "failed", "spec": {}, "provenance": {}}
    assert read_record(_written(tmp_path / "none", value)).error is None
    with pytest.raises(SchemaError, match="it says failed but its error is an empty text"):
        read_record(_written(tmp_path / "empty", value | {"error": " \n"}))


def _text(old: str, new: str) -> Callable[[Path], object]:
    text = json.dumps(_good())
    assert text.count(old) == 1
    return lambda path: path.write_text(text.replace(old, new))


def _sparse(size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.write_bytes(b"{}")
        os.truncate(path, size)

    return make


#: what makes the file, and what is said of it
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "twice": (_text('"run_id": ', '"run_id": "one", "run_id": '), "it has the key 'run_id' 2 times in one mapping"),
    "nan": (_text('"mean_accuracy": 0.5', '"mean_accuracy": NaN'), "it holds NaN, which is no number of JSON"),
    "infinity": (_text('"mean_accuracy": 0.5', '"mean_accuracy": -Infinity'), "it holds -Infinity"),
    "overflow": (_text('"mean_accuracy": 0.5', '"mean_accuracy": 1e999'), "mean_accuracy is inf, not a fraction"),
    "spec-overflow": (_text('"lr": 0.0001', '"lr": -1e999'), "spec.settings.lr is no finite number"),
    "digits": (_text('"seed": 0', f'"seed": {"9" * 5000}'), "it holds a whole number of thousands of digits"),
    "fewer-digits": (_text('"seed": 0', f'"seed": {"9" * 4000}'), "spec.seed is no finite number of at most 1e+40"),
    "brackets": (lambda path: path.write_text("[" * 100_000 + "]" * 100_000), "nested too deeply"),
    "inside": (_text('"notes": []', f'"notes": {"[" * 90_000}{"]" * 90_000}'), "nested too deeply"),
    "half": (_text('"command": "', '"command": "\\ud800'), "it holds text with half a character"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe{}"), "it is half-written or no JSON"),
    "empty": (lambda path: path.write_bytes(b""), "it is half-written or no JSON"),
    "large": (_sparse(200 * 10**6), "it is larger than 64 MiB, the most that is read"),
    "fifo": (os.mkfifo, "it is no regular file"),
    "folder": (os.mkdir, "it is no regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    "nowhere": (lambda path: path.symlink_to("absent"), "it cannot be read (No such file or directory)"),
    "loop": (lambda path: path.symlink_to(path), "it cannot be read (Too many levels of symbolic links)"),
}


def test_files_of_every_bad_kind_are_named_and_their_neighbour_is_reported(tmp_path: Path) -> None:
    _written(tmp_path / "runs" / "good", _good())
    for name, (make, _) in FILES.items():
        (tmp_path / "runs" / name).mkdir()
        make(tmp_path / "runs" / name / "result.json")
    with _in_time():
        loaded = load(tmp_path / "runs")
    assert [item.run_id for item in loaded.finished] == [_good()["run_id"]]
    said = dict(line.split("/result.json: ") for line in loaded.left_out)
    assert said.keys() == FILES.keys()
    for name, (_, words) in FILES.items():
        assert words in said[name], name
    assert build(tmp_path / "runs", tmp_path / "report").left_out == loaded.left_out


@pytest.mark.parametrize("name", FILES)
def test_none_of_them_is_repeated(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FILES[name][0](tmp_path / "result.json")
    with _in_time():
        assert main(["run", "--from-record", str(tmp_path / "result.json"), "--results", str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert FILES[name][1] in line
    assert not (tmp_path / "runs").exists()


def test_a_copy_under_another_name_does_not_push_a_run_aside(tmp_path: Path) -> None:
    good, forged = _good(), _good()
    forged["tasks"][0]["train_images"] = 7
    _written(tmp_path / "a-copy", forged)
    _written(tmp_path / good["run_id"], good)
    _written(tmp_path / "z-copy", forged)
    loaded = load(tmp_path)
    assert [item.tasks[0].train_images for item in loaded.finished] == [2500]
    assert [line.split("/")[0] for line in loaded.left_out] == ["a-copy", "z-copy"]


@pytest.mark.parametrize("name", FOLDERS)
def test_measured_records_are_all_read(name: str) -> None:
    loaded = load(MEASURED / name)
    assert len(loaded.finished) == FOLDERS[name]
    assert loaded.left_out == loaded.failed == ()


def test_a_record_of_two_hundred_tasks_is_read(tmp_path: Path) -> None:
    names = [f"task number {number}" for number in range(200)]
    point = {"phase": "train", "epoch": 1, "lr": 1e-3, "loss": 0.123456789, "train": 0.123456789, "validation": None}
    masks = [(task, f"features.denseblock4.layer{n}.weight", 2048, 0, 0) for task in names[1:] for n in range(150)]
    value = record("ksm", 0, [0.5] * 200, names=names, masks=masks, curve=[point] * 100, mean_accuracy=0.5).to_json()
    path = _written(tmp_path / "run", json.dumps(value, indent=1).encode())
    assert 2**23 / 2 < path.stat().st_size < MOST_BYTES / 6
    with _in_time():
        assert len(read_record(path).tasks) == 200


# ---------------------------------------------------------------------- the table that ends a run


@pytest.mark.parametrize("spec", [{"method": None}, {"seed": "0"}, {"mask": ["x"]}, {"settings": None}])
def test_the_closing_table_takes_any_spec(spec: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    value = _good()
    value["spec"] |= spec
    print_table([RunRecord.from_json(value)])
    out = capsys.readouterr().out
    assert (value["run_id"] in out) == ("method" in spec or "seed" in spec)  # left out by name, else a row of the table
    assert ("ksm s0" in out) != ("left out: " in out)


def test_the_closing_table_shows_failed_runs_of_which_little_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([RunRecord("one", "failed", {}, {}, error="\nlater"), RunRecord("two", "failed", {}, {}, error="")])
    lines = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert lines == ["a run seed ? FAILED: later", "a run seed ? FAILED: no reason given"]


# ---------------------------------------------------------------------- runs


def test_a_damaged_record_counts_as_none_and_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(tmp_path / "one")
    assert folder.read() is None
    assert capsys.readouterr().err == ""
    path = _written(folder.path, b"{")
    assert folder.read() is None
    assert folder.read() is None
    assert capsys.readouterr().err == (
        f"warning: {path} is left out (it is half-written or no JSON): its run does not count as finished\n"
    )


def test_a_folder_in_a_record_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one" / "result.json").mkdir(parents=True)
    with pytest.raises(RequestError, match="result.json is a folder, and a run's record belongs there; move it away"):
        RunFolder(tmp_path / "one").read()


def test_a_run_beside_bad_records_is_a_run_and_a_damaged_one_is_repeated_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "runs"
    for name, (make, _) in FILES.items():
        (results / name).mkdir(parents=True)
        make(results / name / "result.json")
    words = ["run", "--method", "head-only", "--tasks", "1", "--epochs", "1", "--train-limit", "20", "--threads", "1",
             "--results", str(results)]  # fmt: skip
    assert main(words) == 0
    (path,) = results.glob("digits-head-only-*/result.json")
    first = read_record(path)
    said = capsys.readouterr()
    assert "head-only s0" in said.out
    assert "no report" not in said.err
    path.write_text(path.read_text().replace('"status": "finished"', '"status": "half"'))
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err.count(f"warning: {path} is left out (its status is 'half'") == 1
    assert "finished already" not in said.out
    again = read_record(path)
    assert again.provenance["started"] >= first.provenance["started"]
    assert again.accuracy_matrix == first.accuracy_matrix
    assert main(words) == 0
    assert "1 of 1 runs are finished already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (("provenance", "options"), []),
        (("provenance", "options"), {"plugins": 5}),
        (("provenance", "options"), {"data_root": 5}),
        (("provenance", "options"), {"data_root": "a" * 400}),
        (("provenance", "options"), {"weights": "a\0b"}),
        (("provenance", "host"), {"threads": 10**9}),
        (("provenance", "host"), {"threads": -1}),
        (("spec", "inputs"), [{"task": 1}]),
        (("spec", "inputs"), {"a": 1}),
        (("spec", "scenario"), "../x"),
        (("spec", "backbone"), {}),
        (("spec",), {}),
    ],
)
def test_a_record_that_cannot_be_repeated_is_refused_in_a_sentence(
    part: tuple[str, ...], value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_spec("head-only", tasks=1, epochs=1)
    base = {"schema_version": 1, "run_id": "one", "status": "failed", "error": "ended", "spec": spec.to_json(),
            "provenance": {"options": {}, "host": {"threads": 1}}}  # fmt: skip
    path = tmp_path / "result.json"
    words = ["run", "--from-record", str(path), "--results", str(tmp_path / "runs"), "--dry-run"]
    path.write_text(json.dumps(base))
    assert main(words) == 0
    capsys.readouterr()
    inner: Any = base
    for key in part[:-1]:
        inner = inner[key]
    inner[part[-1]] = value
    path.write_text(json.dumps(base))
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


# ---------------------------------------------------------------------- cases from outside


@pytest.fixture(params=sorted(path.name for path in CASES.glob("*.json")) or [None])
def case(request: pytest.FixtureRequest) -> Path:
    """One damaged record of the shared cases."""
    if request.param is None:
        pytest.skip(f"the shared cases are not here: no {CASES}")
    return CASES / str(request.param)


def test_shared_cases_are_left_out_and_not_repeated(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, again = tmp_path / "runs", tmp_path / "again"
    report = ["report", "--out", str(tmp_path / "report"), "--results", str(runs)]
    in_order = case.name == "from-record-traversal.json"  # a report can be made on it; it names no scenario to repeat
    _written(runs / "bad", case.read_bytes())
    with _in_time():
        assert main(["run", "--from-record", str(case), "--results", str(again)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not again.exists()
    with _in_time():
        assert main(report) == (0 if in_order else 2)
    said = capsys.readouterr()
    assert in_order or ("bad/result.json: " in said.err and len(said.err.splitlines()) == 1)
    _written(runs / "good", _good())
    with _in_time():
        assert main(report) == 0
    said = capsys.readouterr()
    assert ("left out: bad/result.json: " in said.out) != in_order
