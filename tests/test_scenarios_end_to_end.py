"""Whole commands on a user's own scenario and on ImageNet-to-Sketch's layout, in this process (torch imported once)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import published_archives as published
import pytest
import yaml
from PIL import Image

from benchmark.cli.main import main

FIVE = ("finetune", "packnet", "piggyback", "cpg", "ksm")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))


def run(*words: str | Path) -> int:
    return main(["run", "--executor", "local", *(str(word) for word in words)])


def records(results: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in results.glob("*/result.json")]
    return {record["spec"]["method"]: record for record in found}


def parquet_pair(folder: Path) -> dict[str, str]:
    """The two files of one domain, as a scenario's keys."""
    return {split: str(folder / f"{split}.parquet") for split in ("train", "test")}


@pytest.mark.exhaustive
def test_three_real_domains_from_imagenet_weights(shared_data: Path, shared_weights: Path, tmp_path: Path) -> None:
    domains = shared_data / "multidomain"
    definition = {
        "name": "three-domains",
        "tasks": [
            {"name": "signs", **parquet_pair(domains / "gtsrb")},
            {"name": "art", **parquet_pair(domains / "pacs_art")},
            {"name": "sketches", "folder": str(domains / "pacs_sketch")},
        ],
        "backbone": "squeezenet1_1",
        "weights": str(shared_weights / "squeezenet1_1_imagenet.safetensors"),
        "image_size": 64,
        "normalisation": "imagenet",
    }  # fmt: skip
    path = tmp_path / "three.yaml"
    path.write_text(yaml.safe_dump(definition))
    results = tmp_path / "runs"
    code = run("--scenario", path, "--method", "ksm,head-only", "--train-limit", "80", "--test-limit", "60",
               "--epochs", "4", "--set", "ksm.lr=1e-3", "--set", "ksm.head_lr=1e-2", "--results", results)  # fmt: skip
    assert code == 0
    found = records(results)
    assert [task["classes"] for task in found["ksm"]["tasks"]] == [43, 7, 7]
    assert all(task["status"] == "learned" for task in found["ksm"]["tasks"])  # pretrained: no task-1 network
    assert found["ksm"]["task1_network"] is None
    assert found["ksm"]["forgetting"] == 0.0
    # two of the three tasks have 7 classes: far above a seventh after four epochs
    assert min(task["accuracy"] for task in found["ksm"]["tasks"][1:]) > 0.25


def test_what_prepare_warned_of_stands_in_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CIFAR-100 with 300 images, from its archive to a record: the totals unlike the published ones are told there."""
    source = published.write(tmp_path / "archives", published.cifar100())
    assert main(["data", "prepare", "cifar100", "--from", str(source), "--to", str(tmp_path / "root")]) == 0
    results = tmp_path / "runs"
    code = run("--scenario", "cifar100-20", "--data-root", tmp_path / "root", "--tasks", "1", "--method", "scratch",
               "--set", "backbone.width=0.125", "--epochs", "1", "--results", results)  # fmt: skip
    assert code == 0
    expected = "aquatic_mammals: 200 training and 100 test images were prepared; 50,000 and 10,000 are published"
    assert expected in records(results)["scratch"]["warnings"]
    assert f"warning: {expected}" in capsys.readouterr().out


def tree(root: Path) -> None:
    """ImageNet-to-Sketch's layout with two classes of three images each."""
    generator = np.random.default_rng(0)
    for task in ("cubs_cropped", "stanford_cars_cropped", "flowers", "wikiart", "sketches"):
        for split in ("train", "test"):
            for label in range(2):
                folder = root / "imagenet2sketch" / task / split / f"class{label}"
                folder.mkdir(parents=True)
                for index in range(3):
                    pixels = generator.integers(0, 120, (40, 48, 3), dtype=np.uint8)
                    pixels[:, :, label] += 120
                    Image.fromarray(pixels).save(folder / f"{index}.jpg")


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_all_five_methods_run_on_a_small_imagenet2sketch_tree(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from benchmark.backbones.builder import build

    tree(tmp_path / "data")
    weights = tmp_path / "resnet50_thin.safetensors"
    save_file(build("resnet50", width=0.125).state_dict(), str(weights))
    results = tmp_path / "runs"
    code = run("--scenario", "imagenet2sketch", "--data-root", tmp_path / "data", "--weights", weights, "--epochs", "1",
               "--set", "backbone.width=0.125", "--set", "cpg.prune_ratios=0.5", "--results", results)  # fmt: skip
    assert code == 0
    found = records(results)
    assert set(found) == set(FIVE)
    for method, record in found.items():
        assert record["status"] == "finished", record["error"]
        assert len(record["tasks"]) == 5
        assert record["forgetting"] == 0.0, method
        assert record["size"]["rules"]["cpg_table"] > 0
        assert record["spec"]["crops"] == "whole"
        assert [task["resize"] for task in record["spec"]["inputs"]] == ["exact"] * 2 + ["short-side, whole"] * 3
    assert [task["name"] for task in found["cpg"]["tasks"]][:2] == ["cubs_cropped", "stanford_cars_cropped"]
    # an exported task sees the same pixels: its accuracy is compared with the record's
    words = [
        "export",
        str(results / found["ksm"]["run_id"]),
        "--task",
        "4",
        "--to",
        str(tmp_path / "wikiart.safetensors"),
    ]
    assert main(words) == 0


def test_reproduce_runs_a_small_table(tmp_path: Path) -> None:
    from benchmark.cli.main import main

    words = ["reproduce", "table4", "--scenario", "digits", "--tasks", "2", "--epochs", "1", "--executor", "local",
             "--results", str(tmp_path / "runs")]  # fmt: skip
    assert main(words) == 0
    found = list((tmp_path / "runs").glob("*/result.json"))
    assert len(found) == 12  # six rows under two BN policies
    assert all(json.loads(path.read_text())["spec"]["selection"] == "legacy-test" for path in found)
    before = {path: path.stat().st_mtime_ns for path in found}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in found} == before


def test_the_superclass_table_of_wsn_in_small(shared_data: Path, tmp_path: Path) -> None:
    from benchmark.cli.main import main

    words = ["reproduce", "wsn-superclass", "--data-root", str(shared_data), "--tasks", "2", "--epochs", "2",
             "--train-limit", "100", "--test-limit", "50", "--executor", "local",
             "--results", str(tmp_path / "runs")]  # fmt: skip
    assert main(words) == 0
    found = records(tmp_path / "runs")
    assert set(found) == {"supsup", "wsn", "packnet"}
    for record in found.values():
        spec = record["spec"]
        assert (spec["backbone"]["name"], spec["selection"], spec["batch_size"]) == ("lenet", "validation", 64)
        assert spec["settings"]["schedule"] == "plateau"
        assert spec["inputs"][0]["mean"] == pytest.approx([0.4914, 0.4824, 0.4467], abs=1e-4)
        assert not any(spec["inputs"][0]["augmentation"].values())
        assert record["forgetting"] == 0.0
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'id="cifar100-superclass-accuracy"' in page and "Twenty tasks of CIFAR-100 on LeNet" in page


def test_the_tables_that_reproduce_offers_are_the_presets() -> None:
    from benchmark.cli.reproduce import TABLES
    from benchmark.plan.papers import PRESETS

    assert tuple(PRESETS) == TABLES
