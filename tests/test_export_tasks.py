"""A learned task as a file: loaded in a process that has only torch and safetensors it is as accurate as in the run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import FIVE, run_here, small_options, small_spec
from torch import nn

from benchmark.backbones.builder import build
from benchmark.cli.main import main
from methods.engine.task_file import TaskFileError, TaskNetwork, load_task, read_task
from results.schema import RunRecord

REPOSITORY = Path(__file__).resolve().parent.parent

#: refuses every import but torch's, safetensors' and our own; prints "file: right answers" for each task
ALONE = """
import importlib.abc, json, sys

class Refusing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in ("avalanche", "torchvision", "pandas", "sklearn", "PIL", "scipy", "results", "reports"):
            raise ImportError(f"{name} is not needed to load a task")

sys.meta_path.insert(0, Refusing())
import torch
from safetensors.torch import load_file
from benchmark.backbones.builder import build
from methods import load_task

torch.set_num_threads(1)
answers = {}
for backbone_file, task_file, test_file in json.loads(sys.argv[1]):
    backbone = build("small_cnn", channels=1)
    backbone.load_state_dict(load_file(backbone_file), strict=False)
    network = load_task(backbone, task_file)
    test = load_file(test_file)
    with torch.no_grad():
        batches = test["images"].split(100)
        predicted = torch.cat([network(network.normalise(batch)).argmax(1) for batch in batches])
    answers[task_file] = int((predicted == test["labels"]).sum())
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[RunRecord, Path]]:
    """The five methods, KSM with int8 values, and the two methods that share or overwrite everything."""
    results = tmp_path_factory.mktemp("runs")
    made = {}
    for method in (*FIVE, "scratch", "finetune-sequential"):
        spec = small_spec(method, epochs=1 if method == "cpg" else 3)
        made[method] = (run_here(spec, small_options(results))[0], results / spec.run_id)
    spec = small_spec("ksm", epochs=3, overrides={"mask.values_dtype": "int8"})
    made["ksm int8"] = (run_here(spec, small_options(results))[0], results / spec.run_id)
    return made


def export(folder: Path, task: str, to: Path, backbone_to: Path | None = None) -> int:
    words = ["export", str(folder), "--task", task, "--to", str(to)]
    return main(words + (["--backbone-to", str(backbone_to)] if backbone_to else []))


@pytest.fixture(scope="module")
def tests_of_tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """uint8 test images and labels of the first three digits tasks, one file each."""
    from benchmark.scenarios.contract import silent
    from benchmark.scenarios.loader import load_scenario

    folder = tmp_path_factory.mktemp("images")
    files = {}
    for task in load_scenario("digits").read(None, [1, 2, 3], silent).tasks:
        files[task.index] = folder / f"{task.index}.safetensors"
        images, labels = torch.tensor(task.test.images), torch.tensor(task.test.labels)
        save_file({"images": images, "labels": labels}, str(files[task.index]))
    return files


def test_export_of_each_method_reproduces_its_accuracy_with_torch_and_safetensors_alone(
    runs: dict[str, tuple[RunRecord, Path]], tests_of_tasks: dict[int, Path], tmp_path: Path
) -> None:
    jobs, expected = [], {}
    for name, (record, folder) in runs.items():
        backbone = tmp_path / f"{name}-backbone.st"
        for row in record.tasks:
            to = tmp_path / f"{name}-{row.index}.st"
            assert export(folder, str(row.index), to, backbone) == 0
            jobs.append((str(backbone), str(to), str(tests_of_tasks[row.index])))
            expected[str(to)] = row.accuracy_at_end * row.test_images
    done = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(jobs)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == 3 * len(runs)
    assert answers == {path: round(count) for path, count in expected.items()}
    assert all(abs(count - round(count)) < 1e-9 for count in expected.values())


def backbone_of(folder: Path, tmp_path: Path) -> nn.Module:
    file = tmp_path / "backbone.st"
    assert export(folder, "1", tmp_path / "any.st", file) == 0
    backbone = build("small_cnn", channels=1)
    backbone.load_state_dict(load_file(file), strict=False)
    return backbone


@pytest.fixture
def ksm(runs: dict[str, tuple[RunRecord, Path]], tmp_path: Path) -> tuple[nn.Module, Path, Path]:
    """KSM's backbone and the files of its tasks 2 and 3."""
    _, folder = runs["ksm"]
    files = tmp_path / "two.st", tmp_path / "three.st"
    for task, path in zip(("two-three", "3"), files, strict=True):
        assert export(folder, task, path) == 0
    return backbone_of(folder, tmp_path), *files


def test_export_says_what_the_task_is(ksm: tuple[nn.Module, Path, Path], tests_of_tasks: dict[int, Path]) -> None:
    backbone, two, _ = ksm
    network = load_task(backbone, two)
    assert isinstance(network, nn.Module)
    assert network.class_names == ("2", "3")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    about = read_task(two).about
    assert (about["name"], about["index"], about["backbone"]["name"]) == ("two-three", 2, "small_cnn")
    assert {name: (shape, unit) for name, shape, unit in about["layers"]}["features.3.weight"] == ([64, 32, 3, 3], 9)
    black = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    assert network.normalise(black).flatten()[0].item() == pytest.approx(-about["mean"][0] / about["std"][0])
    images = load_file(tests_of_tasks[2])["images"]
    assert network(network.normalise(images)).shape == (len(images), 2)


def test_export_switching_gives_what_loading_gives_and_leaves_the_backbone(
    ksm: tuple[nn.Module, Path, Path], tests_of_tasks: dict[int, Path]
) -> None:
    backbone, two, three = ksm
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    images = load_file(tests_of_tasks[2])["images"]

    def logits(network: TaskNetwork) -> torch.Tensor:
        return network(network.normalise(images))

    fresh = {path: logits(load_task(backbone, path)) for path in (two, three)}
    assert not torch.equal(fresh[two], fresh[three])
    network = load_task(backbone, two)
    for path in (three, two, two, three):
        assert torch.equal(logits(network.switch(read_task(path))), fresh[path])
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_export_switching_takes_milliseconds(ksm: tuple[nn.Module, Path, Path]) -> None:
    backbone, two, three = ksm
    tasks = [read_task(two), read_task(three)]
    network = TaskNetwork(backbone).switch(tasks[0])
    times = []
    for turn in range(20):
        started = time.perf_counter()
        network.switch(tasks[turn % 2])
        times.append(time.perf_counter() - started)
    assert sorted(times)[10] < 0.02


def test_export_prepared_tasks_are_switched_between_in_under_a_millisecond(
    ksm: tuple[nn.Module, Path, Path],
) -> None:
    backbone, two, three = ksm
    images = torch.rand(4, 1, 8, 8)
    plain = {path: load_task(backbone, path)(images) for path in (two, three)}
    network = TaskNetwork(backbone).prepare(two, three)
    times = []
    for turn in range(20):
        path = (two, three)[turn % 2]
        started = time.perf_counter()
        network.switch(path)
        times.append(time.perf_counter() - started)
        assert torch.equal(network(images), plain[path])
    assert sorted(times)[10] < 0.001


def test_export_without_a_task_selected_says_so() -> None:
    network = TaskNetwork(build("small_cnn", channels=1))
    with pytest.raises(RuntimeError, match="no task is selected"):
        network(torch.zeros(1, 1, 8, 8))


def test_export_refuses_a_backbone_with_other_weights(ksm: tuple[nn.Module, Path, Path]) -> None:
    _, two, _ = ksm
    with pytest.raises(TaskFileError, match="with other weights.*--backbone-to"):
        load_task(build("small_cnn", channels=1), two)


def test_export_refuses_another_network(ksm: tuple[nn.Module, Path, Path]) -> None:
    _, two, _ = ksm
    with pytest.raises(TaskFileError, match="belongs to the backbone small_cnn"):
        load_task(build("small_cnn", width=0.5, channels=1), two)


def test_export_a_refused_switch_leaves_the_network_as_it_was(
    ksm: tuple[nn.Module, Path, Path], runs: dict[str, tuple[RunRecord, Path]], tmp_path: Path
) -> None:
    backbone, two, _ = ksm
    network = load_task(backbone, two)
    images = torch.rand(4, 1, 8, 8)
    before = network(images)
    other = tmp_path / "packnet.st"
    assert export(runs["packnet"][1], "2", other) == 0
    with pytest.raises(TaskFileError):
        network.switch(other)
    assert torch.equal(network(images), before)


@pytest.mark.parametrize("damage", ["truncated", "not safetensors", "no task", "absent"])
def test_export_damaged_files_are_named(ksm: tuple[nn.Module, Path, Path], damage: str, tmp_path: Path) -> None:
    backbone, two, _ = ksm
    path = tmp_path / "damaged.st"
    if damage == "truncated":
        path.write_bytes(two.read_bytes()[:-10])
    elif damage == "not safetensors":
        path.write_bytes(b"\x80\x04PK" * 100)
    elif damage == "no task":
        save_file({"weight": torch.zeros(2)}, str(path))
    with pytest.raises(TaskFileError, match="damaged.st"):
        load_task(backbone, path)


def test_export_never_unpickles(ksm: tuple[nn.Module, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a task file was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    backbone, two, _ = ksm
    assert load_task(backbone, two).class_names == ("2", "3")


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """What a refused command prints; its exit code is 2."""
    capsys.readouterr()
    assert main(["export", *(str(word) for word in words)]) == 2
    return capsys.readouterr().err


def test_export_wrong_requests_are_one_sentence(
    runs: dict[str, tuple[RunRecord, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = runs["ksm"]
    to = tmp_path / "out.st"
    assert "Did you mean 'two-three'?" in said(capsys, folder, "--task", "two-thre", "--to", to)
    assert "1 (zero-one), 2 (two-three), 3 (four-five)" in said(capsys, folder, "--task", "9", "--to", to)
    error = said(capsys, "digits-ksm-s7", "--task", "1", "--to", to, "--results", folder.parent)
    assert "There is no run 'digits-ksm-s7'" in error
    assert "cannot be written" in said(capsys, folder, "--task", "1", "--to", "/proc/nowhere/task.st")
    assert not to.exists()


def test_export_by_id_and_by_record(runs: dict[str, tuple[RunRecord, Path]], tmp_path: Path) -> None:
    record, folder = runs["piggyback"]
    by_id, by_record = tmp_path / "id.st", tmp_path / "record.st"
    assert main(["export", record.run_id, "--task", "2", "--to", str(by_id), "--results", str(folder.parent)]) == 0
    assert main(["export", str(folder / "result.json"), "--task", "2", "--to", str(by_record)]) == 0
    assert by_id.read_bytes() == by_record.read_bytes()


def test_export_without_kept_weights_says_how_to_keep_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = small_spec("finetune", tasks=2, epochs=1)
    run_here(spec, small_options(tmp_path, keep_weights="tasks"))
    error = said(capsys, tmp_path / spec.run_id, "--task", "1", "--to", tmp_path / "out.st")
    assert "did not keep its weights" in error
    assert "--keep-weights all" in error


def test_export_truncated_run_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = small_spec("head-only", tasks=2, epochs=1)
    run_here(spec, small_options(tmp_path))
    path = tmp_path / spec.run_id / "tasks" / "task002.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    error = said(capsys, tmp_path / spec.run_id, "--task", "2", "--to", tmp_path / "out.st")
    assert "task002.safetensors is damaged" in error


def test_export_refuses_places_before_it_writes_anything(
    runs: dict[str, tuple[RunRecord, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = runs["ksm"]
    file = tmp_path / "task.st"
    assert export(folder, "3", tmp_path) == 2
    assert f"{tmp_path} is a folder; name the file to write" in capsys.readouterr().err
    assert export(folder, "3", file, file) == 2
    assert "give each a file of its own" in capsys.readouterr().err
    (tmp_path / "occupied").write_text("a file")
    assert export(folder, "3", file, tmp_path / "occupied" / "net.st") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not file.exists()


def test_export_masks_that_do_not_fit_their_layers_change_nothing(
    ksm: tuple[nn.Module, Path, Path], tmp_path: Path
) -> None:
    from methods.engine.task_file import METADATA

    backbone, two, three = ksm
    images = torch.rand(4, 1, 8, 8)
    network = load_task(backbone, two)
    before = network(images)
    about = {METADATA: json.dumps(dict(read_task(three).about))}
    for change in ({"mask.bits": torch.zeros(3, dtype=torch.uint8)}, {"mask.values": torch.zeros(1)}):
        spoiled = tmp_path / "spoiled.st"
        save_file(load_file(three) | change, spoiled, about)
        with pytest.raises(TaskFileError, match="its masks do not fit its layers"):
            network.switch(spoiled)
        assert torch.equal(network(images), before)


def test_export_prepared_and_unprepared_tasks_do_not_share_memory(ksm: tuple[nn.Module, Path, Path]) -> None:
    backbone, two, three = ksm
    images = torch.rand(4, 1, 8, 8)
    expected = {path: load_task(backbone, path)(images) for path in (two, three)}
    network = TaskNetwork(backbone).prepare(two)
    for path in (three, two, three, two):
        assert torch.equal(network.switch(path)(images), expected[path])
