"""Whole commands on digits: what a run leaves, what it says, and what happens when runs fail, die or are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from methods.registry import METHODS

REPOSITORY = Path(__file__).resolve().parent.parent
QUICK = ("--tasks", "2", "--epochs", "2", "--threads", "1")
#: a rate at which no mask score can cross its threshold in so few steps
SLOW_SCORES = ("--set", "ksm.lr=1e-4")


@pytest.fixture(scope="module")
def first(command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A finished command of two methods: (its folder, what it said)."""
    folder = tmp_path_factory.mktemp("first")
    return folder, command("run", "--method", "ksm,packnet", *QUICK, *SLOW_SCORES, cwd=folder)


def record_of(folder: Path, method: str) -> dict[str, Any]:
    (path,) = folder.glob(f"results/runs/digits-{method}-s0-*/result.json")
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def test_a_run_ends_with_a_table_and_a_page(first: tuple[Path, Any]) -> None:
    folder, answer = first
    assert answer.code == 0, answer.err
    assert "mean accuracy" in answer.out
    assert "two-three" in answer.out  # progress in plain lines
    page = folder / "results" / "report" / "index.html"
    assert str(page.relative_to(folder)) in answer.out
    assert "packnet" in page.read_text().lower()
    assert list((folder / "results" / "report").rglob("*.csv"))


def test_the_record_holds_what_the_schema_promises(first: tuple[Path, Any]) -> None:
    record = record_of(first[0], "ksm")
    assert next(iter(record)) == "schema_version"
    assert record["status"] == "finished"
    assert record["spec"]["tasks"] == 2
    assert record["spec"]["epochs"] == 2
    assert record["spec"]["settings"]["milestones"] == [1]  # 20 of 30 scaled to 2 epochs, rounded
    assert [task["name"] for task in record["tasks"]] == ["zero-one", "two-three"]
    matrix = record["accuracy_matrix"]
    assert matrix[0][1] is None
    assert record["mean_accuracy"] == pytest.approx(sum(matrix[1]) / 2)
    assert [task["accuracy_at_end"] for task in record["tasks"]] == matrix[1]
    assert record["tasks"][0]["status"] == "task-1 network"
    assert "train" not in record["tasks"][0]["seconds"]
    assert record["task1_network"]["seconds"] > 0
    assert record["training_seconds_total"] == pytest.approx(record["tasks"][1]["seconds"]["train"])
    curve = record["tasks"][1]["curve"]
    assert [point["epoch"] for point in curve] == [1, 2]
    assert all(point["validation"] is not None and point["test"] is None for point in curve)
    # 282 training images of the digits two and three, a tenth of each class held out
    assert record["tasks"][1]["train_images"] == pytest.approx(0.9 * 288, abs=4)
    total = sum((item["count"] * item["bits"] + 7) // 8 for item in record["size"]["components"])
    assert record["size"]["rules"]["itemised"] == total
    assert record["provenance"]["packages"]["torch"]
    assert any("too small for any mask score" in line for line in record["warnings"])


def test_a_finished_run_is_not_repeated_and_another_method_is_added(
    first: tuple[Path, Any], command: Callable[..., Any]
) -> None:
    folder, _ = first
    before = record_of(folder, "ksm")["provenance"]["finished"]
    answer = command("run", "--method", "ksm", *QUICK, *SLOW_SCORES, cwd=folder)
    assert answer.code == 0
    assert "finished already" in answer.out
    assert record_of(folder, "ksm")["provenance"]["finished"] == before
    assert "importing torch" not in answer.out, "nothing was to be run"


def test_dry_run_prints_the_plan_and_writes_nothing(command: Callable[..., Any], tmp_path: Path) -> None:
    answer = command(
        "run", "--scenario", "imagenet2sketch", "--method", "all", "--seed", "0,1", "--dry-run", cwd=tmp_path
    )
    assert answer.code == 0, answer.err
    assert f"{2 * len(METHODS)} runs" in answer.out
    assert not list(tmp_path.iterdir())


def test_a_configuration_file_gives_options_and_the_command_line_wins(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "plan.yaml").write_text("method: [ksm, head-only]\nepochs: 7\nseed: [3]\nset: {ksm.lr: 0.5}\n")
    answer = command("run", "--config", "plan.yaml", "--epochs", "5", "--dry-run", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert "digits-ksm-s3" in answer.out
    assert "digits-head-only-s3" in answer.out
    assert "5 epochs" in answer.out


def test_a_failed_run_leaves_its_traceback_and_the_others_go_on(
    first: tuple[Path, Any], command: Callable[..., Any], tmp_path: Path
) -> None:
    answer = command(
        "run", "--method", "finetune,head-only", *QUICK, "--set", "finetune.lr=1e30", "--set", "head-only.lr=0.1",
        cwd=tmp_path,
    )  # fmt: skip
    assert answer.code == 1, answer.out + answer.err
    failed = record_of(tmp_path, "finetune")
    assert failed["status"] == "failed"
    assert "training diverged" in failed["error"]
    assert "Traceback" in failed["error"]
    assert record_of(tmp_path, "head-only")["status"] == "finished"
    assert "FAILED" in answer.out


def listen_to_ctrl_c() -> None:
    """A shell's background jobs ignore SIGINT, and so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command and leave it running; it is ended after the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "benchmark", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
            preexec_fn=listen_to_ctrl_c,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read the process's output up to a line that holds ``text``."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came: {seen}")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes that carry out runs: children of the server that imported torch."""
    children = psutil.Process(process.pid).children()
    return [worker for child in children for worker in child.children()]


def test_a_killed_worker_leaves_a_failed_record_and_the_others_go_on(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = started("run", "--method", "ksm,head-only", "--tasks", "2", "--threads", "1", "--set", "ksm.epochs=5000",
                      "--set", "head-only.epochs=1", "--set", "scratch.epochs=1")  # fmt: skip
    read_until(process, "1/2 zero-one")
    (worker,) = workers_of(process)
    worker.kill()
    read_until(process, "report:")
    assert process.wait(timeout=60) == 1
    assert "SIGKILL" in record_of(tmp_path, "ksm")["error"]
    assert record_of(tmp_path, "head-only")["status"] == "finished"


def test_ctrl_c_stops_within_seconds_keeps_what_is_finished_and_says_how_to_go_on(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = started("run", "--method", "head-only,ksm", "--tasks", "2", "--threads", "1", "--set", "ksm.epochs=5000",
                      "--set", "head-only.epochs=1", "--set", "scratch.epochs=1")  # fmt: skip
    read_until(process, "ksm s0: 1/2 zero-one")
    workers = workers_of(process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest = read_until(process, "stopped")
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - began < 10
    assert "python -m benchmark run" in rest
    assert record_of(tmp_path, "head-only")["status"] == "finished"
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_children_end_when_their_parent_dies(started: Callable[..., subprocess.Popen[str]]) -> None:
    process = started("run", "--method", "ksm", "--tasks", "2", "--threads", "1", "--set", "ksm.epochs=5000",
                      "--set", "scratch.epochs=1")  # fmt: skip
    read_until(process, "1/2 zero-one")
    workers = workers_of(process)
    process.kill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.mark.parametrize("words", [["--help"], ["list"], ["check", "--scenario", "digits"], ["report"]])
def test_commands_that_train_nothing_import_neither_torch_nor_avalanche(
    words: list[str], first: tuple[Path, Any]
) -> None:
    code = f"""
import sys
from benchmark.cli.main import main
try:
    assert main({words!r}) == 0
except SystemExit as end:
    assert not end.code
loaded = [name for name in ("torch", "torchvision", "avalanche") if name in sys.modules]
assert not loaded, loaded
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=first[0], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_named_results_hides_nothing(tmp_path: Path) -> None:
    """Of an editable install Python takes ``./results`` for part of the package; a report made there is whole."""
    (tmp_path / "results" / "runs").mkdir(parents=True)
    code = (
        "import sys, importlib.machinery as m, types; sys.path.insert(0, '')\n"
        "package = types.ModuleType('results'); package.__path__ = [sys.argv[1]]; sys.modules['results'] = package\n"
        "from reports.published import FOLDER; print(FOLDER)\n"
    )
    package = Path(__file__).parents[1] / "results"
    done = subprocess.run(
        [sys.executable, "-c", code, str(package)], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
    )  # fmt: skip
    assert done.stdout.strip() == str(package / "published")


def test_a_command_waits_for_the_run_of_another(tmp_path: Path) -> None:
    """Two identical commands at once: every run is done once, both end with its result and exit code 0."""
    command = [sys.executable, "-m", "benchmark", "run", "--method", "finetune,head-only", "--epochs", "40", "--tasks"]
    command += ["3", "--threads", "1", "--results", str(tmp_path / "runs")]
    both = [
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    for path in (tmp_path / "runs").glob("*/events.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        assert sum(event["type"] == "run-start" for event in events) == 1, "the run was carried out twice"
    for output in outputs:
        assert "finetune s0 " in output.split("mean accuracy  training s")[1]
        assert "head-only s0 " in output.split("mean accuracy  training s")[1]


def test_a_stopped_run_counts_no_pause(tmp_path: Path) -> None:
    """SIGSTOP for some seconds in the middle of a run."""
    command = [sys.executable, "-m", "benchmark", "run", "--method", "finetune", "--epochs", "60", "--tasks", "2"]
    runs = tmp_path / "results" / "runs"
    command += ["--threads", "1", "--results", str(runs), "--executor", "local"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(runs.glob("*/events.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    time.sleep(6)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=120) == 0
    record = record_of(tmp_path, "finetune")
    assert record["provenance"]["paused_seconds"] == pytest.approx(6, abs=1)
    assert any("was stopped for 6 s" in note for note in record["provenance"]["notes"])
    assert record["wall_seconds"] < 60


def test_a_user_without_a_home_and_a_long_folder_for_temporary_files(tmp_path: Path) -> None:
    """As in a container: no $HOME, a user id that no account has, a $TMPDIR of 100 letters."""
    temporary = tmp_path / ("x" * max(10, 100 - len(str(tmp_path))))
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    code = (
        "import pathlib; pathlib.Path.home = lambda: (_ for _ in ()).throw(RuntimeError('no home'))\n"
        "import sys; from benchmark.cli.main import main\n"
        "if __name__ == '__main__': sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--method", "head-only", *QUICK, "--results", str(tmp_path / "runs")],
        cwd=REPOSITORY, env={**environment, "TMPDIR": str(temporary)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mean accuracy" in done.stdout


def test_a_damaged_record_is_named_once_and_its_run_repeated(command: Callable[..., Any], tmp_path: Path) -> None:
    """By the command, and not again by the process of the run."""
    words = ("run", "--method", "head-only", "--tasks", "1", "--epochs", "1", "--train-limit", "20", "--threads", "1")
    assert command(*words, cwd=tmp_path).code == 0
    whole = record_of(tmp_path, "head-only")
    (path,) = tmp_path.glob("results/runs/digits-*/result.json")
    path.write_text(path.read_text()[:-200])
    answer = command(*words, cwd=tmp_path)
    assert answer.code == 0
    assert (answer.out + answer.err).count("it is half-written or no JSON") == 1
    assert record_of(tmp_path, "head-only")["learned_sha256"] == whole["learned_sha256"]


@pytest.mark.parametrize("verb", [["run"], ["reproduce", "table1"], ["perf"], ["smoke"]])
def test_windows_is_told_what_it_lacks(
    verb: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark.cli import main

    monkeypatch.setattr(main, "WINDOWS", True)
    assert main.main(verb) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {verb[0]} needs file locks and forked processes")
    assert line.endswith("run it in WSL or on Linux.")


#: takes away what the standard library of Windows has not, as far as that can be done elsewhere
LIKE_WINDOWS = """
import importlib.abc, os, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "termios", "pwd", "grp"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
for name in ("fcntl", "resource", "pwd", "grp"):
    sys.modules.pop(name, None)
for name in ("O_NONBLOCK", "O_NOFOLLOW", "geteuid", "getuid", "getloadavg", "sched_getaffinity", "posix_fallocate"):
    delattr(os, name)
import benchmark.cli.main as main
main.WINDOWS = True
sys.exit(main.main())
"""


def test_reports_are_made_without_what_windows_lacks(first: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = first
    words = {
        "report": ["report", "--results", str(folder / "results/runs"), "--out", str(tmp_path / "page")],
        "check": ["check", "--scenario", "digits"],
        "list": ["list"],
    }
    for verb, given in words.items():
        done = subprocess.run(
            [sys.executable, "-c", LIKE_WINDOWS, *given], cwd=REPOSITORY, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MASKBENCH_CACHE": str(tmp_path / "cache")},
        )  # fmt: skip
        assert done.returncode == 0, f"{verb}: {done.stderr}"
    assert (tmp_path / "page/index.html").is_file()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("device", ["mps", "mps:0"])
def test_apples_device_is_refused_in_one_sentence(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.cli.main import main

    for verb in ("run", "perf"):
        assert main([verb, "--device", device]) == 2
        assert capsys.readouterr().err == (
            f"error: --device {device} is not supported: its sums were never checked; choose cpu.\n"
        )
