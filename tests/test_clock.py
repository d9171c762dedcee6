"""Where the seconds go: every one of them once, also over a resume; and what is read beside the clock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from small_runs import accounted, run_here, small_options, small_spec

from benchmark.execute.compiling import compiling_apart
from benchmark.execute.record import clock_caveats, cuda_seconds, joules_of_run
from benchmark.measure import clock as clock_module
from benchmark.measure.clock import RUN, Stopwatch
from benchmark.measure.gauges import CpuCounters, Energy, ResidentMemory, cpu_joules, gauges_for


class Time:
    """A clock that stands still until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(clock_module.time, "perf_counter", lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds


class Meter:
    """A gauge that gives what it is told and counts its edges."""

    def __init__(self) -> None:
        self.edges: list[str] = []
        self.peak, self.joules = 0.0, 1.0

    def start(self) -> None:
        self.edges.append("start")

    def stop(self) -> dict[str, float]:
        self.edges.append("stop")
        return {"peak_bytes": self.peak, "joules": self.joules}


@pytest.fixture
def clock_time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def test_clock_inner_phase_interrupts_the_outer_one(clock_time: Time) -> None:
    clock = Stopwatch()
    clock.task = "birds"
    with clock("train"):
        clock_time.passes(2)
        with clock("eval"):
            clock_time.passes(5)
        clock_time.passes(1)
    assert clock.seconds == {"birds": {"train": 3, "eval": 5}}
    assert clock.wall_seconds == clock.accounted_seconds == 8


def test_clock_same_phase_inside_itself_has_no_edge(clock_time: Time) -> None:
    meter, waited = Meter(), []
    clock = Stopwatch(lambda: waited.append(clock_time.now), (meter,))
    with clock("train"):
        clock_time.passes(1)
        with clock("train"):
            clock_time.passes(2)
    assert clock.seconds == {RUN: {"train": 3}}
    assert meter.edges == ["start", "stop"]
    assert waited == [100, 103]  # the device is waited for at the edges only


def test_clock_takes_the_largest_peak_and_the_sum_of_joules(clock_time: Time) -> None:
    meter = Meter()
    clock = Stopwatch(gauges=(meter,))
    for peak in (30.0, 70.0, 50.0):
        meter.peak = peak
        with clock("train"):
            clock_time.passes(1)
    assert clock.readings == {RUN: {"train": {"peak_bytes": 70.0, "joules": 3.0}}}


def test_clock_refuses_a_phase_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no phase 'trian'"), Stopwatch()("trian"):
        pass


def test_clock_counts_a_phase_that_ends_in_an_error(clock_time: Time) -> None:
    clock = Stopwatch()

    def fail() -> None:
        with clock("save"):
            clock_time.passes(4)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert clock.seconds == {RUN: {"save": 4}}


def test_clock_of_a_whole_run_books_what_comes_before_the_first_phase_to_it(clock_time: Time) -> None:
    clock = Stopwatch(lambda: clock_time.passes(2), whole=True)  # waking the device takes time
    clock_time.passes(3)
    with clock("load"):
        clock_time.passes(1)
    assert clock.seconds == {RUN: {"load": 3 + 2 + 1 + 2}}
    assert clock.wall_seconds == clock.accounted_seconds


def test_clock_books_compiling_to_the_warm_up_wherever_it_happens(clock_time: Time) -> None:
    from torch._dynamo.callback import CallbackTrigger, callback_handler

    clock = Stopwatch()
    with compiling_apart(clock, compiles=True), clock("train"):
        clock_time.passes(1)
        with callback_handler.install_callbacks(CallbackTrigger.DYNAMO, "0/0"):
            clock_time.passes(30)
        clock_time.passes(2)
    assert clock.seconds == {RUN: {"train": 3, "warm-up": 30}}
    with compiling_apart(clock, compiles=False), callback_handler.install_callbacks(CallbackTrigger.DYNAMO, "0/1"):
        clock_time.passes(5)
    assert clock.seconds == {RUN: {"train": 3, "warm-up": 30}}


def test_clock_of_the_device_is_compared_with_the_hosts() -> None:
    clock = {
        "seconds": {RUN: {"load": 1.0}, "fish": {"train": 9.0}},
        "readings": {RUN: {"load": {"cuda_seconds": 0.1}}, "fish": {"train": {"cuda_seconds": 8.95}}},
    }
    assert cuda_seconds(clock) == pytest.approx(8.95)  # of training: while loading the host waits for the driver
    assert clock_caveats(clock) == []
    clock["readings"]["fish"]["train"] = {"cuda_seconds": 8.0}
    (doubt,) = clock_caveats(clock)
    assert doubt == "the clocks disagree: training took 9.00 s by the host's clock, 8.00 s by CUDA events"
    assert cuda_seconds({"seconds": {}, "readings": {RUN: {"load": {"peak_rss_bytes": 1.0}}}}) is None


def test_clock_energy_of_a_run_is_that_of_all_its_phases() -> None:
    readings = {RUN: {"load": {"joules": 1.0}}, "fish": {"train": {"joules": 5.0}, "eval": {"joules": 0.5}}}
    assert joules_of_run({"readings": readings}) == 6.5
    assert joules_of_run({"readings": {RUN: {"load": {}}}}) is None


def test_clock_gauges_do_not_count_the_reading_of_a_checkpoint(clock_time: Time) -> None:
    """A counter of one joule a second: 7 s in the checkpoint, 2 s of loading it, then 3 s of the same phase."""
    first, second = (Stopwatch(gauges=(Energy(lambda: clock_time.now, clock=lambda: clock_time.now),)) for _ in "ab")
    with first("load"):
        clock_time.passes(7)
    state = first.state()
    with second("load"):
        clock_time.passes(2)
        second.load_state(state)
        clock_time.passes(3)
    assert second.seconds == {RUN: {"load": 10}}
    assert second.readings == {RUN: {"load": {"joules": 10}}}


def test_clock_of_a_resumed_run_counts_work_once(clock_time: Time) -> None:
    """10 s of training, 7 of them in the checkpoint; the second session loads for 2 s and trains 3 s again."""
    first = Stopwatch()
    with first("train"):
        clock_time.passes(7)
        with first("save"):
            clock_time.passes(1)
            state = first.state()
        clock_time.passes(3)  # lost
    second = Stopwatch()
    with second("load"):
        clock_time.passes(2)
        second.load_state(state)
    with second("train"):
        clock_time.passes(3)
    assert second.seconds[RUN] == {"train": 10, "save": 1, "load": 0}
    assert second.wall_seconds == second.accounted_seconds == 11
    assert second.repeated == 2


def test_clock_state_in_the_middle_of_a_phase_counts_up_to_now(clock_time: Time) -> None:
    clock = Stopwatch()
    with clock("train"):
        clock_time.passes(4)
        assert clock.state()["seconds"] == {RUN: {"train": 4}}
        clock_time.passes(1)
    assert clock.seconds == {RUN: {"train": 5}}


# ---------------------------------------------------------------------- gauges


def test_clock_energy_adds_up_and_asks_the_counter_rarely() -> None:
    now, asked = [0.0], []

    def counter() -> float:
        asked.append(now[0])
        return 10 * now[0]  # ten watts

    gauge = Energy(counter, lambda: now[0])
    spent = 0.0
    for _ in range(1000):  # phases of 10 ms
        gauge.start()
        now[0] += 0.01
        spent += gauge.stop()["joules"]
    assert spent == pytest.approx(100, abs=10 * 0.06)
    assert len(asked) <= 10 / 0.05 + 1


def rapl(folder: Path, name: str, energy: int) -> Path:
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "energy_uj").write_text(f"{energy}\n")
    (package / "max_energy_range_uj").write_text("1000000\n")
    return package


def test_clock_cpu_energy_sums_packages_over_the_wrap_around(tmp_path: Path) -> None:
    rapl(tmp_path, "intel-rapl:0", 900_000)
    rapl(tmp_path, "intel-rapl:1", 100_000)
    rapl(tmp_path, "intel-rapl:0:0", 500_000)  # the cores, part of package 0: not to be counted twice
    joules = cpu_joules(tmp_path)
    assert isinstance(joules, CpuCounters)
    rapl(tmp_path, "intel-rapl:0", 50_000)  # wrapped around: 100,000 to the end, 50,000 more
    rapl(tmp_path, "intel-rapl:1", 350_000)
    assert joules() == pytest.approx(0.15 + 0.25)


def test_clock_cpu_energy_is_absent_where_there_is_no_counter(tmp_path: Path) -> None:
    assert cpu_joules(tmp_path) is None


def test_clock_resident_memory_sees_what_a_phase_touches() -> None:
    gauge = ResidentMemory()
    gauge.start()
    before = gauge.stop()["peak_rss_bytes"]
    gauge.start()
    block = bytearray(b"x") * (64 << 20)
    del block
    peak = gauge.stop()["peak_rss_bytes"]
    assert peak >= before + (48 << 20)


def test_clock_minimal_measuring_reads_nothing() -> None:
    import torch

    assert gauges_for(torch.device("cpu"), "minimal") == ()
    assert len(gauges_for(torch.device("cpu"), "full")) >= 1


# ---------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("method", ["ksm", "packnet", "cpg"])
def test_clock_phases_of_a_run_add_up_to_its_wall_time(method: str, tmp_path: Path) -> None:
    """Checked from outside, too: the wall time is what the caller waited, but for writing the record."""
    spec = small_spec(method, epochs=4, train_limit=None)
    run_here(small_spec("head-only", tasks=1, epochs=1), small_options(tmp_path / "first imports"))
    started = time.perf_counter()
    record, _ = run_here(spec, small_options(tmp_path))
    waited = time.perf_counter() - started
    assert record.wall_seconds is not None
    assert accounted(record) == pytest.approx(record.wall_seconds, rel=0.01)
    assert accounted(record) <= record.wall_seconds
    assert record.wall_seconds == pytest.approx(waited, rel=0.1)
    assert {"load", "warm-up"} <= set(record.seconds)
    for row in record.tasks:
        trained = row.status != "task-1 network"
        assert (row.training_seconds > 0) == trained
        assert {"eval", "save"} <= set(row.seconds)
        if trained:
            assert row.seconds_per_epoch == pytest.approx(row.training_seconds / row.epochs)
            assert row.peak_memory_bytes is not None
            assert row.peak_memory_bytes > 1 << 20
            assert set(row.peak_memory["eval"]) == {"peak_rss_bytes"}
    assert {"load", "warm-up"} <= set(record.peak_memory)
    if method == "cpg":
        assert all(row.seconds["goal"] > 0 for row in record.tasks)
        assert record.tasks[0].training_seconds < record.wall_seconds - sum(row.seconds["goal"] for row in record.tasks)
    if method == "ksm":
        assert record.seconds["task-1 network"] > 0
        assert record.task1_network is not None
        assert record.task1_network["seconds"] > 0
        assert record.training_seconds_total == pytest.approx(sum(row.training_seconds for row in record.tasks[1:]))


def test_clock_measuring_costs_less_than_three_percent_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cost of one phase's readings, times the phases of a run on digits, against the run's time."""
    edges = []

    class Counted(ResidentMemory):
        def start(self) -> None:
            edges.append(1)
            super().start()

    from benchmark.measure import gauges

    monkeypatch.setattr(gauges, "ResidentMemory", Counted)
    record, _ = run_here(small_spec("packnet", tasks=2, epochs=4, train_limit=None), small_options(tmp_path))
    monkeypatch.undo()
    assert len(edges) > 20

    def seconds_per_phase(clock: Stopwatch) -> float:
        times = []
        for _ in range(300):
            started = time.perf_counter()
            with clock("train"):
                pass
            times.append(time.perf_counter() - started)
        return sorted(times)[150]

    import torch

    bare = seconds_per_phase(Stopwatch())
    measured = seconds_per_phase(Stopwatch(gauges=gauges_for(torch.device("cpu"), "full")))
    assert record.wall_seconds is not None
    assert (measured - bare) * len(edges) < 0.03 * record.wall_seconds
    assert measured < 0.001


def test_clock_images_per_second_by_hand(tmp_path: Path) -> None:
    """Two classes of 25 training images after the limit of 56 less the tenth that selects: 4 epochs of 50 images."""
    record, _ = run_here(small_spec("packnet", tasks=1, epochs=3, train_limit=56), small_options(tmp_path))
    row = record.tasks[0]
    assert row.train_images == 50
    assert row.images_per_second is not None
    assert row.images_per_second * row.training_seconds == pytest.approx(50 * row.epochs)


class Stopped(BaseException):
    """The end of a process, as seen from inside."""


def test_clock_of_a_run_stopped_and_resumed_holds_the_work_once(tmp_path: Path) -> None:
    from benchmark.execute.runner import run

    spec = small_spec("packnet", epochs=6, train_limit=None)
    options = small_options(tmp_path, checkpoint_seconds=0.0)
    heard = []

    def stop(event: dict[str, Any]) -> None:
        heard.append(event)
        if sum(item["type"] == "epoch" for item in heard) == 10:
            time.sleep(2)  # lost with the process
            raise Stopped

    with pytest.raises(Stopped):
        run(spec, options, stop)
    record, _ = run_here(spec, options)
    assert record.wall_seconds is not None
    assert accounted(record) == pytest.approx(record.wall_seconds, rel=0.01)
    calm, _ = run_here(spec, small_options(tmp_path / "calm", checkpoint_seconds=0.0))
    assert calm.wall_seconds is not None
    assert [row.epochs for row in record.tasks] == [row.epochs for row in calm.tasks]
    assert (
        sum(row.seconds["save"] for row in record.tasks) < 2
    )  # telling is timed as "save": the lost sleep is not in it
    assert record.provenance["repeated_seconds"] > 0
    assert calm.provenance["repeated_seconds"] == 0
