"""Several devices: what the words mean, that runs are spread over all and stay where they began, what records say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from small_runs import numbers, run_here, small_options, small_spec, stored

from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.execute import estimate
from benchmark.plan import device
from benchmark.plan.device import devices_of


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cpu", ("cpu",)),
        ("cpu:0,cpu:1", ("cpu:0", "cpu:1")),
        ("cuda:1", ("cuda:1",)),
        ("cuda:1, cuda:0, cuda:1", ("cuda:1", "cuda:0")),
        ("cuda", ("cuda:0", "cuda:1", "cuda:2")),
    ],
)
def test_what_devices_mean(words: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cards", lambda: 3)
    assert devices_of(words) == expected


@pytest.mark.parametrize("visible", [("0,3", 2), ("", 0), ("-1", 0), ("GPU-8f,GPU-9a,MIG-1", 3)])
def test_cards_are_counted_as_the_environment_shows_them(
    visible: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible[0])
    assert device._cards() == visible[1]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("cpu,cuda:0", "one kind of device"),
        ("gpu", "is unknown; choose auto, cpu, cuda, cuda:N, or several with commas"),
        ("cuda:x", "is unknown"),
        ("cuda:²", "is unknown"),
        ("cpu:٣", "is unknown"),
        ("cpu:", "is unknown"),
        ("cuda:0,", "is unknown"),
        ("auto,cpu", "is unknown"),
        ("cuda:0,mps", "not supported"),
    ],
)
def test_devices_that_are_none(words: str, fault: str) -> None:
    with pytest.raises(RequestError, match=fault):
        devices_of(words)


def test_runs_are_spread_over_the_devices_and_learn_what_they_learn_on_one(
    command: Callable[..., Answer], tmp_path: Path
) -> None:
    """Two places on the processor stand in for two cards."""
    results = tmp_path / "runs"
    words = ["--method", "ksm,packnet", "--seed", "0,1", "--tasks", "3", "--epochs", "2", "--train-limit", "60"]
    words += ["--set", "ksm.lr=5e-3", "--set", "ksm.head_lr=5e-3", "--threads", "1", "--keep-weights", "all"]
    done = command("run", *words, "--device", "cpu:0,cpu:1", "--results", results)
    assert done.code == 0, done.err
    assert "4 runs on cpu:0, cpu:1" in done.out
    records = {path.parent.name: json.loads(path.read_text()) for path in results.glob("*/result.json")}
    places = Counter(record["provenance"]["options"]["device"] for record in records.values())
    assert places.keys() == {"cpu:0", "cpu:1"} and sum(places.values()) == 4
    for method in ("ksm", "packnet"):
        spec = small_spec(method, seeds=(1,))
        alone, _ = run_here(spec, small_options(tmp_path / "alone"))
        together = records[spec.run_id]
        assert together["accuracy_matrix"] == json.loads(json.dumps(alone.to_json()["accuracy_matrix"]))
        assert together["learned_sha256"] == alone.learned_sha256
        assert stored(results / spec.run_id) == stored(tmp_path / "alone" / spec.run_id)


def test_a_run_goes_on_from_its_checkpoint_on_another_device(tmp_path: Path) -> None:
    spec, heard = small_spec("packnet"), []
    undisturbed, _ = run_here(spec, small_options(tmp_path / "calm"))

    class Stopped(BaseException):
        pass

    def stop(event: dict[str, Any]) -> None:
        heard.append(event)
        if event["type"] == "task-end":
            raise Stopped

    from benchmark.execute.runner import run

    with pytest.raises(Stopped):
        run(spec, small_options(tmp_path / "runs", device="cpu:0"), stop)
    record, _ = run_here(spec, small_options(tmp_path / "runs", device="cpu:1"))
    assert numbers(record) == numbers(undisturbed)
    assert record.provenance["sessions"] == 2
    assert record.provenance["options"]["device"] == "cpu:1"


def test_cards_of_two_models_are_named_before_the_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"cuda:0": "A 80", "cuda:1": "B 40", "cuda:2": None}
    monkeypatch.setattr(estimate, "device_name", models.get)
    (line,) = estimate.different_cards(("cuda:0", "cuda:1", "cuda:2"))
    assert line.startswith("cuda:0 is a A 80, cuda:1 is a B 40: the report shows times of each model apart")
    assert estimate.different_cards(("cuda:0", "cuda:2")) == []


def test_one_process_has_one_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--executor", "local", "--device", "cpu:0,cpu:1"]) == 2
    assert "--executor local is one process on one device" in capsys.readouterr().err
