"""Bad input at the command line: one clear sentence, exit code 2, nothing written."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

MEASURED = str(Path(__file__).parents[1] / "results" / "measured" / "cifar100-thin-cpu")


@pytest.fixture
def refused(command: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused; returns its one sentence."""

    def run(*words: str | Path) -> str:
        results = tmp_path / "results" / "runs"
        given = [] if "--results" in words or words[0] != "run" else ["--results", results]
        answer = command(*words, *given, cwd=tmp_path, MASKBENCH_CACHE=str(tmp_path / "cache"))
        assert answer.code == 2, answer
        assert "Traceback" not in answer.err
        lines = [line for line in answer.err.splitlines() if line.startswith(("error:", "python -m benchmark"))]
        assert len(lines) == 1, answer.err
        assert not list(results.glob("*/result.json"))
        return str(lines[0])

    return run


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--method", "piggybak"], "Did you mean 'piggyback'?"),
        (["run", "--scenario", "digit"], "Did you mean 'digits'?"),
        (["run", "--set", "ksm.lrr=1"], "Did you mean 'ksm.lr'?"),
        (["run", "--set", "ksm.lr"], "key=value"),
        (["run", "--set", "ksm.lr=fast"], "ksm.lr must be a number, not 'fast'"),
        (["run", "--set", "protocol.batch_size=0"], "above 0"),
        (["run", "--backbone", "resnet19"], "Did you mean 'resnet18'?"),
        (["run", "--epoch", "3"], "Did you mean '--epochs'?"),
        (["rnu"], "Did you mean 'run'?"),
        (["run", "--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["run", "--epochs", "three"], "--epochs must be a whole number, not 'three'"),
        (["run", "--train-limit", "-5"], "--train-limit must be at least 1"),
        (["run", "--test-limit", "0"], "--test-limit must be at least 1"),
        (["run", "--tasks", "6"], "digits has 5 tasks"),
        (["run", "--tasks", "2", "--initial-task", "3"], "--initial-task 3 is not among the first 2 tasks"),
        (["run", "--seed", "0,one"], "--seed must be a whole number, not 'one'"),
        (["run", "--seed", "-1"], "--seed must be at least 0"),
        (["run", "--seed", f"0,{2**32}"], "--seed must be at most 4,294,967,295, not 4294967296."),
        (["run", "--epochs", "9" * 30], f"--epochs must be at most 1,000,000,000,000, not {'9' * 30}."),
        (["run", "--set", f"ksm.epochs={'9' * 30}"], "ksm.epochs must be at most 1,000,000,000,000"),
        (["run", "--threads", "1000000"], "--threads must be at most 1,024, not 1000000."),
        (["run", "--bn-policy", "thawed"], "frozen, per-task"),
        (["run", "--selection", "best"], "validation, last, legacy-test"),
        (["run", "--device", "gpu"], "choose auto, cpu, cuda"),
        (["run", "--precision", "fp8"], "fp32, tf32, bf16"),
        (["run", "--workers", "0"], "--workers must be at least 1"),
        (["run", "--config", "nowhere.yaml"], "cannot be read"),
        (["run", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["run", "--scenario", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "--from-record", "nowhere.json"], "cannot be repeated"),
        (["run", "--from-record", "nowhere.json", "--seed", "1"], "leave out --seed"),
        (["run", "--require-idle-gpu", "--device", "cpu"], "--require-idle-gpu needs a GPU"),
        (["run", "--download", "--data-root", __file__], "cannot be made a folder"),
        (["run", "--scenario", "cifar100-20", "--data-root", "x" * 5000], "which is no folder"),
        (["run", "--scenario", "x" * 5000 + ".yaml"], "cannot be read"),
        (["run", "--weights", "x" * 5000], "cannot be read"),
        (["report", "--results", "x" * 5000], "File name too long"),
        (["export", "x" * 5000, "--task", "1", "--to", "y"], "File name too long"),
        (["reproduce", "table3", "--initial-task", "3"], "table3 varies --initial-task itself"),
        (["reproduce", "table4", "--bn-policy", "frozen"], "table4 varies --bn-policy itself"),
        (["report", "--results", "nowhere"], "nowhere"),
        (["report", "--results", MEASURED, "--out", __file__], "The report cannot be made"),
        (["check", "--scenario", "digits", "--tasks", "9"], "digits has 5 tasks, --tasks 9 asks for more"),
    ],
)
def test_a_wrong_request_is_one_sentence(words: list[str], expected: str, refused: Callable[..., str]) -> None:
    assert expected in refused(*words)


def test_a_missing_data_root_says_what_is_expected_where(refused: Callable[..., str]) -> None:
    told = refused("run", "--scenario", "cifar100-20", "--data-root", "nowhere")
    assert "nowhere" in told
    told = refused("run", "--scenario", "imagenet2sketch")
    assert "weights" in told.lower()


def test_a_results_folder_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    assert "cannot be written" in refused("run", "--results", tmp_path / "occupied" / "runs")


def test_a_truncated_parquet_file(refused: Callable[..., str], shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cifar100"
    folder.mkdir()
    for source in (shared_data / "cifar100").glob("*.parquet"):
        (folder / source.name).write_bytes(source.read_bytes()[:5000])
    told = refused("run", "--scenario", "cifar100-20", "--data-root", tmp_path)
    assert ".parquet" in told


def test_an_unknown_key_of_a_configuration_file(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("epoch: 3\n")
    assert "Did you mean 'epochs'?" in refused("run", "--config", tmp_path / "plan.yaml")


# ---------------------------------------------------------------------- hostile data, in a scenario of one's own


def image_bytes(level: int = 100) -> bytes:
    """A small grey PNG."""
    stream = io.BytesIO()
    Image.new("L", (8, 8), level).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def own_scenario(tmp_path: Path) -> Path:
    """A sound scenario of two tasks with two classes each, to be spoiled by the tests."""
    for task in ("one", "two"):
        for split in ("train", "test"):
            for number, name in enumerate(("cat", "dog")):
                folder = tmp_path / task / split / name
                folder.mkdir(parents=True)
                for index in range(4):
                    (folder / f"{index}.png").write_bytes(image_bytes(50 * number + 10 * index))
    definition = {
        "name": "mine",
        "tasks": [{"name": "one", "folder": "one"}, {"name": "two", "folder": "two"}],
        "backbone": "small_cnn",
        "image_size": 8,
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(definition))
    return path


def test_the_sound_scenario_passes_the_check(command: Callable[..., Any], own_scenario: Path, tmp_path: Path) -> None:
    answer = command("check", "--scenario", own_scenario, MASKBENCH_CACHE=str(tmp_path / "cache"))
    assert answer.code == 0, answer.err


def test_an_image_that_does_not_decode(refused: Callable[..., str], own_scenario: Path) -> None:
    (own_scenario.parent / "two" / "train" / "dog" / "2.png").write_bytes(image_bytes()[:40])
    assert "2.png" in refused("run", "--scenario", own_scenario)


def test_a_class_in_test_that_train_lacks(refused: Callable[..., str], own_scenario: Path) -> None:
    folder = own_scenario.parent / "one" / "test" / "wolf"
    folder.mkdir()
    (folder / "0.png").write_bytes(image_bytes())
    assert "wolf" in refused("run", "--scenario", own_scenario)


def test_an_empty_class(refused: Callable[..., str], own_scenario: Path) -> None:
    for path in (own_scenario.parent / "one" / "train" / "cat").iterdir():
        path.unlink()
    assert "cat" in refused("run", "--scenario", own_scenario)


def test_duplicate_task_names(refused: Callable[..., str], own_scenario: Path) -> None:
    definition = yaml.safe_load(own_scenario.read_text())
    definition["tasks"][1]["name"] = "one"
    own_scenario.write_text(yaml.safe_dump(definition))
    assert "one" in refused("run", "--scenario", own_scenario)


def test_a_label_out_of_range(refused: Callable[..., str], own_scenario: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    for split, labels in (("train", [0, 1, 0, 1]), ("test", [0, 5, 0, 1])):
        images = [{"bytes": image_bytes(20 * index), "path": None} for index in range(4)]
        table = pyarrow.table({"image": images, "label": labels})
        table = table.replace_schema_metadata({"class_names": '["cat", "dog"]'})
        pyarrow.parquet.write_table(table, own_scenario.parent / f"{split}.parquet")
    definition = yaml.safe_load(own_scenario.read_text())
    definition["tasks"][1] = {"name": "two", "train": "train.parquet", "test": "test.parquet"}
    own_scenario.write_text(yaml.safe_dump(definition))
    told = refused("run", "--scenario", own_scenario)
    assert "test.parquet" in told
    assert "5" in told


class Boom:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the pickle ran')",))


def refused_in_process(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """As ``refused``, without a second import of torch: faults of weights are found where the network is built."""
    from benchmark.cli.main import main

    assert main([str(word) for word in arguments]) == 2
    told = capsys.readouterr().err
    assert told.count("error:") == 1, told
    return told


def test_weights_with_code_or_of_another_network(
    own_scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "boom.pth").write_bytes(pickle.dumps({"features.0.weight": Boom()}))
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    for name in ("boom.pth", "other.pth", "cut.safetensors"):
        words = ["run", "--scenario", own_scenario, "--executor", "local", "--results", tmp_path / "runs"]
        assert name in refused_in_process([*words, "--weights", tmp_path / name], capsys)
    assert not list((tmp_path / "runs").glob("*/result.json"))
