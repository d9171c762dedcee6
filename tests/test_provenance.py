"""Where and with what a run was made, what makes its times doubtful, and when --require-idle-gpu refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from interrupted import stopped_run
from small_runs import read_json, run_here, small_options, small_spec

from benchmark.execute.preflight import fault
from benchmark.measure import caveats, provenance

CUDA, CPU = torch.device("cuda:1"), torch.device("cpu")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A pretended NVML: ``processes`` on card 1 and its ``utilisation``; what was asked is in ``indices``."""
    card = SimpleNamespace(processes=[], utilisation=0, indices=[], throttle=0)
    module = ModuleType("pynvml")

    def handle(index: int) -> int:
        card.indices.append(index)
        return index

    functions = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=pid) for pid in card.processes],
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=card.utilisation),
    }
    for name, function in functions.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return card


@pytest.fixture
def no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)


# ---------------------------------------------------------------------- the GPU is somebody else's


def test_idle_gpu_raises_no_doubt_and_is_not_refused(nvml: SimpleNamespace) -> None:
    nvml.processes = [os.getpid()]  # we ourselves
    assert caveats.before(CUDA) == []
    assert caveats.refusal(CUDA) is None
    assert set(nvml.indices) == {1}


def test_card_is_found_by_its_uuid_where_torch_tells_it(monkeypatch: pytest.MonkeyPatch, nvml: SimpleNamespace) -> None:
    from benchmark.measure.nvml import card

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="ab-12"))
    monkeypatch.setattr(sys.modules["pynvml"], "nvmlDeviceGetHandleByUUID", lambda name: name, raising=False)
    assert card(CUDA) == "GPU-ab-12"


@pytest.mark.parametrize(
    ("visible", "version", "answer"),
    [(None, "2.11.0", "cuda:0"), ("", "2.11.0", "cpu"), ("-1", "2.11.0", "cpu"), ("3", "2.11.0+cpu", "cpu")],
)
def test_auto_is_a_gpu_only_where_it_can_be_used(
    visible: str | None, version: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.plan.device import device_of

    monkeypatch.setattr(Path, "is_dir", lambda path: str(path) == "/proc/driver/nvidia/gpus")
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device_of("auto") == answer


def test_busy_gpu_is_noted_and_refused(nvml: SimpleNamespace) -> None:
    nvml.processes = [os.getpid(), 1]
    assert caveats.before(CUDA) == ["the GPU was busy with 1 other process when the run began"]
    nvml.processes = [1, 2]
    assert caveats.before(CUDA) == ["the GPU was busy with 2 other processes when the run began"]
    refusal = caveats.refusal(CUDA)
    assert refusal == "The GPU is busy with 2 other processes; wait, or leave out --require-idle-gpu."


def test_gpu_used_from_outside_the_container_is_noted_by_its_utilisation(nvml: SimpleNamespace) -> None:
    nvml.utilisation = 80
    (doubt,) = caveats.before(CUDA)
    assert "80 % utilisation" in doubt
    assert caveats.refusal(CUDA) is not None


def test_without_nvml_the_idle_gpu_cannot_be_promised(no_nvml: None) -> None:
    assert caveats.before(CUDA) == []
    refusal = caveats.refusal(CUDA)
    assert refusal is not None
    assert "nvidia-ml-py" in refusal


@pytest.mark.parametrize("required", [True, False])
def test_preflight_refuses_a_busy_gpu_only_when_asked(
    required: bool, nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvml.processes = [1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    options = small_options(tmp_path, device="cuda:1", require_idle_gpu=required)
    answer = fault(small_spec("packnet"), options)
    assert (answer is not None and "busy with 1 other process" in answer) == required
    assert (answer is None) != required


def test_preflight_names_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    answer = fault(small_spec("packnet"), small_options(tmp_path, device="cuda:1"))
    assert answer == "There is no device cuda:1; torch sees 1."


# ---------------------------------------------------------------------- other doubts


@pytest.mark.parametrize(
    ("reasons", "words"),
    [(0, []), (0x1, []), (0x20, ["heat"]), (0x4 | 0x80, ["its power limit", "a power brake"])],
)
def test_throttled_gpu_is_noted_by_reason(reasons: int, words: list[str]) -> None:
    expected = [f"the GPU was throttled by {word} when the run began" for word in words]
    assert caveats.of_device({"throttle_reasons": reasons}) == expected
    ended = [text.replace("began", "ended") for text in expected]
    assert caveats.of_device({"throttle_reasons": reasons}, "ended") == ended


def test_what_befell_the_gpu_during_the_run_is_noted_at_its_end(
    nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.processes = [os.getpid(), 7]
    monkeypatch.setattr(provenance, "device", lambda chosen: {"type": "cuda", "throttle_reasons": 0x20})
    facts = {"notes": ["hot before"], "device": {"type": "cuda"}}
    assert provenance.afterwards(CUDA, facts, 100.0) == {
        "notes": [
            "hot before",
            "the GPU was throttled by heat when the run ended",
            "1 other process used the GPU when the run ended",
        ]
    }


def test_runs_that_share_a_gpu_say_so() -> None:
    assert caveats.shared_card(1) == []
    assert caveats.shared_card(4) == ["up to 4 runs of one command shared the GPU"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "tf32"}, "tf32 is an arithmetic of CUDA devices"),
        ({"compile": "backbone"}, "needs a C++ compiler"),
    ],
)
def test_preflight_refuses_what_this_machine_cannot_compute(
    changes: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    answer = fault(small_spec("finetune", **changes), small_options(tmp_path))
    assert answer is not None
    assert words in answer


def test_debug_builds_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert caveats.before(CPU) == []
    monkeypatch.setattr(torch.version, "debug", True)
    monkeypatch.setattr(caveats.sysconfig, "get_config_var", lambda name: 1 if name == "Py_DEBUG" else None)
    assert caveats.before(CPU) == ["torch is a debug build", "Python is a debug build"]


def test_busy_cpu_is_noted_from_three_quarters_of_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caveats, "cores", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (6.0, 0.0, 0.0))
    assert caveats.before(CPU) == []
    monkeypatch.setattr(os, "getloadavg", lambda: (6.1, 0.0, 0.0))
    assert caveats.before(CPU) == ["the CPU was busy: load 6.1 on 8 cores when the run began"]


def test_shared_and_throttled_cpu_is_noted_from_what_others_took() -> None:
    earlier = {"total": 1000.0, "stolen": 5.0, "throttled": 2.0}
    assert caveats.during(earlier, {"total": 1100.0, "stolen": 6.0, "throttled": 2.0}, 50) == []  # 1 %: not a word
    later = {"total": 1100.0, "stolen": 25.0, "throttled": 9.0}
    assert caveats.during(earlier, later, 50) == [
        "the CPU was shared: 20 % of its time went to other virtual machines during the run",
        "the CPU was throttled by the container's quota for 7 s during the run",
    ]
    assert caveats.during({}, later, 50) == []
    assert caveats.during({"hot": 3.0}, {"hot": 3.0}, 50) == []
    assert caveats.during({"hot": 3.0}, {"hot": 5.0}, 50) == ["the CPU was throttled by heat during the run"]


def test_earlier_runs_on_another_device_are_noted(tmp_path: Path) -> None:
    spec = small_spec("ksm")

    def record(folder: str, device: str, scenario: str = "digits", status: str = "finished") -> None:
        path = tmp_path / folder / "result.json"
        path.parent.mkdir()
        value = {"spec": {"scenario": scenario}, "status": status, "provenance": {"device": {"name": device}}}
        path.write_text(json.dumps(value))

    options = small_options(tmp_path)
    record("digits-ksm-s1-0", "CPU A")
    assert caveats.other_devices({"name": "CPU A"}, options, spec) == []
    record("digits-packnet-s0-0", "GPU B")
    record("digits-cpg-s0-0", "GPU C", status="failed")
    record("digits-like-s0-0", "GPU D", scenario="digits-like")
    (tmp_path / "digits-damaged").mkdir()
    (tmp_path / "digits-damaged" / "result.json").write_text("{")
    (tmp_path / "digits-deep").mkdir()
    (tmp_path / "digits-deep" / "result.json").write_text("[" * 100_000)
    (tmp_path / "digits-fifo").mkdir()
    os.mkfifo(tmp_path / "digits-fifo" / "result.json")
    (doubt,) = caveats.other_devices({"name": "CPU A"}, options, spec)
    assert doubt == "earlier runs of digits in this folder were made on GPU B, this one on CPU A"


# ---------------------------------------------------------------------- the record


def test_record_says_all_that_is_needed_to_repeat_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(caveats, "before", lambda chosen: ["torch is a debug build"])
    spec = small_spec("head-only", tasks=2, epochs=1)
    run_here(spec, small_options(tmp_path, command="python -m benchmark run --method head-only"))
    found = read_json(tmp_path / spec.run_id / "result.json")["provenance"]
    assert found["command"] == "python -m benchmark run --method head-only"
    assert found["packages"]["torch"] == torch.__version__
    assert {"python", "avalanche-lib", "safetensors", "numpy"} <= set(found["packages"])
    assert found["host"]["threads"] == 1
    assert found["host"]["cores"] >= 1
    assert found["device"]["type"] == "cpu"
    assert found["device"]["name"] == found["host"]["cpu"] == provenance.cpu_name()
    assert found["flags"]["tf32_matmul"] is False
    assert found["options"]["scenario_source"] == "digits"
    assert found["notes"][0] == "torch is a debug build"
    assert "counters" not in found
    assert len(found["data_fingerprint"]) == 64
    assert found["started"] <= found["finished"]
    assert found["started"].endswith("+00:00")
    assert (found["sessions"], found["repeated_seconds"]) == (1, 0.0)


def test_git_state_knows_commit_and_dirt(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert provenance.git_state(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert provenance.git_state(tmp_path) == {"commit": head, "dirty": False}
    (tmp_path / "file").write_text("two")
    assert provenance.git_state(tmp_path) == {"commit": head, "dirty": True}


def test_failed_run_keeps_what_was_known_and_why_it_failed(tmp_path: Path) -> None:
    spec = small_spec("packnet", tasks=1, overrides={"packnet.lr": 1e30})
    record, events = run_here(spec, small_options(tmp_path))
    assert record.status == "failed"
    assert record.error is not None
    assert "lower the learning rate" in record.error.partition("\n")[0]
    assert "Traceback" in record.error
    assert record.provenance["device"]["type"] == "cpu"
    assert len(record.provenance["data_fingerprint"]) == 64
    assert "counters" not in record.provenance
    assert events[-1]["type"] == "run-end"
    assert "lower the learning rate" in events[-1]["error"]


# ---------------------------------------------------------------------- a run in several sessions


def _session(**changes: object) -> dict[str, object]:
    facts = {
        "started": "then",
        "git": {"commit": "a"},
        "packages": {"torch": "2"},
        "device": {"name": "card", "driver": "1", "throttle_reasons": 0},
        "notes": [],
        "host": {"threads": 1, "cpu": "chip"},
    }
    return provenance.of_session(facts | changes)


def test_notes_of_every_session_are_kept_each_once() -> None:
    sessions = [_session(notes=["busy"]), _session(notes=["busy", "hot"]), _session(notes=["hot"])]
    assert provenance.notes_of_sessions(sessions, ["hot", "shared"]) == ["busy", "hot", "shared"]


def test_a_run_that_went_on_elsewhere_says_so() -> None:
    same = _session(device={"name": "card", "driver": "1", "throttle_reasons": 4})
    assert provenance.notes_of_sessions([_session(), same], []) == []
    moved = _session(device={"name": "other card", "driver": "1"}, git={"commit": "b"})
    assert provenance.notes_of_sessions([_session(), moved], []) == [
        "the run was interrupted and went on with other device: its times mix both",
        "the run was interrupted and went on with other commit: its times mix both",
    ]


def test_resumed_run_keeps_what_its_first_session_knew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(caveats, "before", lambda device: ["the CPU was busy: load 9.0"])
        spec, options = stopped_run(tmp_path)
    record, _ = run_here(spec, options)
    assert "the CPU was busy: load 9.0" in record.provenance["notes"]
    (earlier,) = record.provenance["earlier_sessions"]
    assert earlier["packages"] == record.provenance["packages"]


@pytest.mark.parametrize(("load", "own", "busy"), [(1.9, 1, False), (2.6, 1, True), (1.6, 0, True), (1.4, 0, False)])
def test_load_of_others_is_noted_and_our_own_is_not(
    load: float, own: int, busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(caveats, "cores", lambda: 2)
    expected = [f"the CPU was busy: load {load} on 2 cores when the run ended"] if busy else []
    assert caveats.busy_cpu("ended", own) == expected
