"""A method from outside: installed by entry point or named by hand, run, reported, exported; and broken ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLE = REPOSITORY / "docs" / "example_plugin"


def installed(place: Path, package: str, entry_points: str) -> Path:
    """A folder that looks as pip leaves it: a distribution with entry points; to be put on the path."""
    about = place / f"{package.replace('-', '_')}-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(f"[maskbench.methods]\n{entry_points}\n")
    return place


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of the documentation, installed."""
    place = tmp_path_factory.mktemp("site-packages")
    shutil.copytree(EXAMPLE / "layer_tuning", place / "layer_tuning")
    return installed(place, "maskbench-layer-tuning", "layer-tuning = layer_tuning.card:CARDS")


def paths(*folders: Path) -> str:
    return os.pathsep.join(str(folder) for folder in (REPOSITORY, *folders))


@pytest.fixture(scope="module")
def run(example: Path, command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a run of KSM and of the installed plug-in."""
    results = tmp_path_factory.mktemp("plugin") / "runs"
    words = ("run", "--method", "ksm,layer-tuning", "--tasks", 3, "--epochs", 8, "--threads", 1, "--results", results)
    answer = command(*words, "--keep-weights", "all", "--set", "layer-tuning.layers=2", PYTHONPATH=paths(example))
    assert answer.code == 0, answer.err
    assert "layer-tuning s0" in answer.out
    return results


def record_of(results: Path) -> dict[str, Any]:
    (path,) = results.glob("digits-layer-tuning-*/result.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_installed_method_is_listed_with_its_knobs(example: Path, command: Callable[..., Any]) -> None:
    answer = command("list", "methods", PYTHONPATH=paths(example))
    assert "\n  layer-tuning           copies of the backbone's last layers" in answer.out
    knobs = command("list", "settings", PYTHONPATH=paths(example)).out
    assert "layer-tuning.layers" in knobs
    assert "convolution or linear layers that train, counted from the last [layers]" in knobs


def test_installed_method_learns_and_says_what_it_stores(run: Path) -> None:
    record = record_of(run)
    assert record["status"] == "finished"
    assert record["mean_accuracy"] > 0.9
    assert record["method"]["title"] == "Layer tuning"
    own = [part for part in record["size"]["components"] if part["name"] == "own tensors"]
    assert [part["purpose"] for part in own] == ["the task's own last layers"] * 2
    # the last two convolutions of the small net, 3 x 3: 32 to 64 and 64 to 64 channels
    assert [part["count"] for part in own] == [9 * (32 * 64 + 64 * 64)] * 2


def test_report_shows_a_method_that_is_not_installed(run: Path, command: Callable[..., Any], tmp_path: Path) -> None:
    assert "layer-tuning" not in command("list", "methods").out
    answer = command("report", "--results", run, "--out", tmp_path / "report")
    assert answer.code == 0, answer.err
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Layer tuning" in page
    assert "#3d6b35" in page


def test_export_of_an_installed_method_and_of_one_that_is_not(
    run: Path, example: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    name, file = record_of(run)["run_id"], tmp_path / "task.st"
    words = ("export", name, "--task", 2, "--to", file, "--results", run)
    refused = command(*words)
    assert refused.code == 2
    assert "layer-tuning" in refused.err and "--plugin" in refused.err
    assert not file.exists()
    backbone = tmp_path / "net.st"
    answer = command(*words, "--backbone-to", backbone, PYTHONPATH=paths(example))
    assert answer.code == 0, answer.err
    assert "verified: " in answer.out
    # whoever loads the file needs nothing of the plug-in
    code = (
        "from methods import load_task; from benchmark.backbones.builder import build; import torch;"
        "from safetensors.torch import load_file; net = build('small_cnn', channels=1);"
        f"net.load_state_dict(load_file({str(backbone)!r}), strict=False);"
        f"print(load_task(net, {str(file)!r})(torch.zeros(1, 1, 8, 8)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert "torch.Size([1, 2])" in done.stdout, done.stderr


def test_module_named_by_hand(command: Callable[..., Any], tmp_path: Path) -> None:
    words = (
        "run",
        "--method",
        "layer-tuning",
        "--tasks",
        2,
        "--epochs",
        2,
        "--results",
        tmp_path / "runs",
        "--threads",
        1,
    )
    assert command(*words).code == 2
    answer = command(*words, "--plugin", "layer_tuning.card", PYTHONPATH=paths(EXAMPLE))
    assert answer.code == 0, answer.err
    record = record_of(tmp_path / "runs")
    assert record["provenance"]["options"]["plugins"] == ["layer_tuning.card"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "no licence"),
        ("CARDS = 3", "not iterable"),
        ("CARDS = ['ewc']", "it gives str, not a Card"),
        ("from methods.ksm.card import KSM\nCARDS = KSM", "there is already a method 'ksm'"),
        (
            "import dataclasses\nfrom methods.ksm.card import KSM\nCARDS = dataclasses.replace(KSM, name='../x')",
            "must be of small letters",
        ),
        (
            "import dataclasses\nfrom methods.ksm.card import KSM\nCARDS = dataclasses.replace(KSM, name='paper')",
            "a group",
        ),
        (
            "import dataclasses\nfrom methods.ksm.card import KSM\n"
            "CARDS = dataclasses.replace(KSM, name='k', settings=dataclasses.replace(KSM.settings, schedule='banana'))",
            "schedule must be one of step, cosine, constant",
        ),
        (
            "import dataclasses\nfrom methods.ksm.card import KSM\n"
            "CARDS = [dataclasses.replace(KSM, name='k'), dataclasses.replace(KSM, name='k')]",
            "it has two methods of one name",
        ),
    ],
)
def test_broken_plugin_is_one_warning_that_names_it(
    source: str, reason: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(source)
    place = installed(tmp_path, "my-broken-methods", "mine = broken:CARDS")
    answer = command("list", "methods", PYTHONPATH=paths(place), PYTHONWARNINGS="default")
    assert answer.code == 0
    assert answer.out == command("list", "methods").out
    (line,) = answer.err.strip().splitlines()
    assert line.startswith("warning: the plug-in my-broken-methods (mine) is left out: ")
    assert reason in line


def test_absent_module_named_by_hand_is_one_warning(command: Callable[..., Any]) -> None:
    answer = command("list", "methods", "--plugin", "no_such_module", PYTHONWARNINGS="default")
    assert answer.code == 0
    assert answer.err.strip() == "warning: the plug-in no_such_module is left out: No module named 'no_such_module'"


def test_contract_of_the_example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What its author would run; the fresh process finds it through the path, as an installed one."""
    from benchmark.testing import check_method
    from methods import registry

    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("PYTHONPATH", paths(EXAMPLE))
    try:
        check_method("layer-tuning", plugin="layer_tuning.card", folder=tmp_path)
    finally:
        registry.METHODS._modules.clear()
        registry.METHODS._found = None


def test_roles_are_called_alike_in_cards_and_records() -> None:
    from methods.card import FROM_PRETRAINED, FROM_SCRATCH
    from results.schema import REFERENCES

    assert REFERENCES == (FROM_SCRATCH, FROM_PRETRAINED)
