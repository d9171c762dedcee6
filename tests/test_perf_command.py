"""``perf`` at the command line on tiny work, and what stands behind its figures. Nothing here asserts a time."""

from __future__ import annotations

import csv
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from step_rows import row_of

from benchmark.cli.main import main
from benchmark.perf.floor import Rates, StepCount
from benchmark.perf.measuring import Pair, in_pairs, overheads
from benchmark.perf.memory import with_peak
from benchmark.perf.naive import with_masks
from benchmark.perf.rounds import Series, interleaved
from benchmark.perf.scale import Point, growth
from benchmark.perf.shares import PARTS, Parts
from benchmark.perf.surroundings import busy
from benchmark.perf.text_tables import SETTING, as_csv, as_text

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of one small measurement."""
    out = tmp_path_factory.mktemp("perf")
    words = "perf --method ksm,packnet --batch-size 8,16 --steps 2 --repeats 2 --threads 1 --device cpu"
    before = torch.get_num_threads()
    assert main([*words.split(), "--set", "backbone.width=0.25", "--out", str(out)]) == 0
    torch.set_num_threads(before)
    return out


def test_perf_writes_table_csv_and_pictures(measured: Path) -> None:
    assert {path.name for path in measured.iterdir()} == {"step.csv", "step.txt", "step.png", "step.svg"}
    assert (measured / "step.png").read_bytes().startswith(b"\x89PNG")
    assert "load of the machine" in (measured / "step.txt").read_text()


def test_perf_csv_has_a_row_per_contender_and_batch_size(measured: Path) -> None:
    rows = list(csv.DictReader((measured / "step.csv").open()))
    names = {row["method"] for row in rows}
    assert {"finetune (adam)", "finetune (sgd)", "ksm", "packnet", "plain loop", "naive ksm"} <= names
    assert {"avalanche default", "avalanche packnet, no BN"} <= names
    assert len(rows) == 2 * len(names)
    for row in rows:
        assert float(row["ms_lowest"]) <= float(row["ms_per_step"]) <= float(row["ms_highest"])
        rate = int(row["batch_size"]) * 1000 / float(row["ms_per_step"])
        assert float(row["images_per_second"]) == pytest.approx(rate, rel=1e-4)
        if row["method"].startswith("finetune"):
            assert float(row["ratio_to_finetune"]) == 1
        assert ("no BN" in row["method"]) == (row["ratio_to_finetune"] == "")
        if row["kind"] == "method":
            assert sum(float(row[f"share_{part}"]) for part in PARTS) == pytest.approx(1, abs=1e-4)


def test_perf_counts_the_same_forward_flops_for_twice_the_images_twice(measured: Path) -> None:
    rows = {(row["method"], row["batch_size"]): row for row in csv.DictReader((measured / "step.csv").open())}
    for method in ("finetune (adam)", "ksm"):
        assert int(rows[method, "16"]["flops_per_step"]) == 2 * int(rows[method, "8"]["flops_per_step"])
    # fine-tuning and masks have the same convolutions, forward and backward
    assert rows["finetune (adam)", "8"]["flops_per_step"] == rows["ksm", "8"]["flops_per_step"]
    assert rows["finetune (adam)", "8"]["share_masks"] < rows["ksm", "8"]["share_masks"]


def test_perf_compares_the_fast_path_with_the_equations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["perf", "--equations", "--method", "ksm,packnet", "--steps", "1", "--repeats", "2", "--threads", "1"]
    before = torch.get_num_threads()
    assert main([*words, "--batch-size", "8", "--set", "backbone.width=0.25", "--out", str(tmp_path)]) == 0
    torch.set_num_threads(before)
    (row,) = csv.DictReader((tmp_path / "equations.csv").open())  # PackNet has no masks
    assert (row["method"], row["images"], row["hidden_linear"], row["rounds"]) == ("ksm", "real", "element", "2")
    assert float(row["lowest"]) <= float(row["ratio"]) <= float(row["highest"])
    assert (tmp_path / "equations.txt").read_text().startswith("digits, small_cnn at width 0.25, fp32, compile off\n")
    capsys.readouterr()
    assert main([*words, "--batch-size", "8,16"]) == 2
    assert "--equations takes one batch size, not 8,16; give the command once for each." in capsys.readouterr().err


def test_perf_uses_noise_where_a_scenario_has_no_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCHMARK_DATA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    words = "perf --scenario cifar100-20 --method ksm --batch-size 2 --steps 1 --repeats 1 --peers none --device cpu"
    assert main([*words.split(), "--set", "backbone.width=0.0625"]) == 0
    assert "noise of the scenario's shape" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--batch-size 32,x", "whole numbers"),
        ("--batch-size 1", "at least 2"),
        ("--repeats 0", "--repeats must be at least 1"),
        ("--peers some", "all, none, plain"),
        ("--method ksn", "Did you mean"),
        ("--set ksm.lrr=1", "ksm.lr"),
        ("--threads -1", "--threads must be at least 0"),
        ("--set mask.surrogate=foo", "surrogate"),
        ("--scale --set mask.units=foo", "mask.units must be one of"),
        ("--scenario cifar100-20 --data-root tests", "cifar100"),
        ("--measuring --scenario cifar100-20 --data-root tests --epochs 1", "cifar100"),
        ("--out README.md", "--out README.md cannot be written"),
    ],
)
def test_perf_refuses_a_wrong_request(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", *words.split()]) == 2
    assert sentence in capsys.readouterr().err


def test_rounds_time_every_contender_once_a_round_after_the_warm_up() -> None:
    calls: list[str] = []
    passes = {name: lambda name=name: calls.append(name) for name in "abc"}  # type: ignore[misc]
    series = interleaved(passes, 1, 3, lambda: None)
    assert calls[6:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert all(len(found.milliseconds) == 3 for found in series.values())


def test_ratio_is_taken_round_by_round() -> None:
    assert Series((2.0, 30.0, 4.0)).ratios_to(Series((1.0, 10.0, 4.0))) == (2.0, 3.0, 1.0)


def test_parts_inside_parts_interrupt_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    parts = Parts(lambda: None)
    parts.start()
    with parts("backward"), parts("masks"):
        pass
    parts.turn()
    assert parts.seconds == {"data": 0, "forward": 0, "backward": 2 + 4, "masks": 3, "optimizer": 0, "loop": 1 + 5}


def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.perf.surroundings.cores", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (1.2, 5.0, 5.0))
    assert busy() == []
    monkeypatch.setattr("os.getloadavg", lambda: (1.3, 0.0, 0.0))
    (line,) = busy()
    assert line.startswith("warning: the machine is busy (load 1.3 on 2 cores); times vary with what else it does.")


def test_floor_is_counts_over_rates() -> None:
    assert StepCount(flops=6_000, bytes=500, trained=7).milliseconds(Rates(flops=1e6, bytes=1e5)) == (6.0, 5.0)


def test_table_leaves_unmeasured_numbers_empty() -> None:
    row = row_of("x", 2.0, kind="peer")
    text = as_text([row, row_of("naive piggyback, BN per-task", 1234.56, kind="method", trained=123456789)])
    assert "2.00" in text and max(map(len, text.splitlines())) <= 120
    setting = {name: name for name in SETTING}
    tail = ",scenario,images,backbone,width,hidden_linear,overrides,precision,compile,device,threads"
    assert as_csv([row], setting).splitlines()[1] == "x,peer,adam,,32,2,2,2,16000" + "," * 10 + ",0,,,,,,2" + tail


def test_growth_compares_the_last_tasks_with_the_first_after_the_warm_up() -> None:
    seconds = [9.0] * 4 + [1.0] * 20 + [5.0] * 10 + [2.0] * 20
    points = [Point("m", number + 1, second, 0.0, 0, 0) for number, second in enumerate(seconds)]
    assert growth(points, "m") == 2.0


def test_naive_masks_of_fresh_scores_leave_the_network_as_it_is() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3))
    images = torch.randn(2, 3, 8, 8)
    expected = network(images)
    for kernel_wise, numbers in ((True, 4 * 3 + 2 * 4), (False, 9 * (4 * 3 + 2 * 4))):
        masked = with_masks(torch.nn.Sequential(*network), kernel_wise)
        torch.testing.assert_close(masked(images), expected)
        assert sum(item.numel() for item in masked.parameters() if item.requires_grad) == numbers
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3))
        expected = network(images)


def test_scale_writes_a_point_per_method_and_task(tmp_path: Path) -> None:
    assert main(["perf", "--scale", "--tasks", "3", "--method", "ksm", "--device", "cpu", "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "scale.csv").open()))
    assert [(row["method"], row["task"]) for row in rows] == [("ksm", "1"), ("ksm", "2"), ("ksm", "3")]
    stored = [int(row["stored_bytes"]) for row in rows]
    assert stored[2] - stored[1] == stored[1] - stored[0] == stored[0]
    assert (tmp_path / "scale.png").exists()


def test_both_bn_policies_are_measured_under_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "perf --method ksm --bn-policy frozen,per-task --batch-size 4 --steps 1 --repeats 1 --peers none --device cpu"
    )
    assert main([*words.split(), "--set", "backbone.width=0.25"]) == 0
    out = capsys.readouterr().out
    assert "ksm, BN frozen" in out
    assert "ksm, BN per-task" in out


def test_measuring_is_the_median_of_pairs_with_its_interval() -> None:
    # ten pairs: below the 2nd or above the 9th ordered ratio lies the median with probability 2 x 11/1024 only
    pairs = [Pair("ksm", 1.0 + number / 100, 1.0, 0.002) for number in (3, 1, 2, 5, 4, 6, 9, 8, 7, 10)]
    (found,) = overheads(pairs)
    assert found.median == pytest.approx(1.055)
    assert (found.low, found.high) == (pytest.approx(1.02), pytest.approx(1.09))
    assert found.uncounted == 0.002
    assert overheads(pairs[:5])[0].low is None


def test_measuring_pairs_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []

    def measured(measure: str) -> tuple[float, float]:
        calls.append(measure)
        return {"full": 3.0, "minimal": 2.0}[measure], 0.1

    pairs = in_pairs("ksm", measured, 2)
    assert calls == ["full", "minimal", "full", "full", "minimal"]
    assert [pair.ratio for pair in pairs] == [1.5, 1.5]


def test_measuring_runs_the_scenario_with_and_without(tmp_path: Path) -> None:
    words = "perf --measuring --method head-only --epochs 1 --repeats 2 --threads 1 --device cpu --out"
    assert main([*words.split(), str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "measuring.csv").open()))
    assert [row["method"] for row in rows] == ["head-only"] * 2
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["full_seconds"]) / float(row["minimal_seconds"]))
        assert 0 <= float(row["uncounted_share"]) < 0.5
    assert (tmp_path / "measuring.png").exists()


def _seconds(*words: str) -> float:
    """CPU seconds of a command, user and system: what others do on the machine does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("words", "times"), [(["--help"], 4), (["perf", "--help"], 4), (["run", "--help"], 4), (["list"], 5)]
)
def test_start_up_is_within_a_few_times_an_empty_argument_parser(words: list[str], times: int) -> None:
    """``list`` reads the card of every method."""
    ours, empty = [], []
    for _ in range(7):
        empty.append(_seconds("-c", "import argparse, json"))
        ours.append(_seconds("-m", "benchmark", *words))
    assert statistics.median(ours) <= times * statistics.median(empty)


def test_run_says_what_it_does_before_torch_is_imported(tmp_path: Path) -> None:
    """Less than a processor second until the first line, of the command itself and of what it started."""
    words = [sys.executable, "-u", "-m", "benchmark", "run", "--device", "cpu", "--results", str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        spent = psutil.Process(process.pid).cpu_times()
        process.kill()
    assert line.startswith("digits: 5 runs on cpu")
    assert spent.user + spent.system + spent.children_user + spent.children_system < 1


def test_peak_memory_is_that_of_tensors_worked_out_by_hand() -> None:
    device = torch.device("cpu")

    def work() -> torch.Tensor:
        kept = torch.zeros(1000)  # 4000 bytes
        passing = torch.zeros(2000)  # 8000 more, at the peak
        del passing
        return torch.zeros(500) + len(kept)  # twice 2000 more, of which one is freed

    assert [with_peak(work, device)[1] for _ in range(2)] == [12000, 12000]


def test_peak_memory_is_not_that_of_whoever_is_first(measured: Path) -> None:
    rows = list(csv.DictReader((measured / "step.csv").open()))
    peaks = [int(row["peak_memory_bytes"]) for row in rows if row["batch_size"] == rows[0]["batch_size"]]
    assert min(peaks) > 0
    assert max(peaks) < 4 * min(peaks)


def test_table_says_what_was_measured_on(measured: Path) -> None:
    row = next(csv.DictReader((measured / "step.csv").open()))
    assert (row["images"], row["hidden_linear"]) == ("real", "element")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 800000000000 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        MemoryError(),
    ],
)
def test_perf_without_memory_enough_is_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark.cli import perf

    def full(*given: object) -> int:
        raise error

    monkeypatch.setattr(perf, "_measure", full)
    assert main(["perf", "--method", "ksm", "--device", "cpu"]) == 2
    assert capsys.readouterr().err == (
        "error: There is not memory enough on cpu; take a smaller --batch-size, or fewer methods.\n"
    )
    error.args = ("something else is wrong",)
    if not isinstance(error, MemoryError):
        with pytest.raises(RuntimeError, match="something else"):
            main(["perf", "--method", "ksm", "--device", "cpu"])
