"""Table 2 from the published archives: prepare, check, run the five methods, read the page; and its sizes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import published_archives as published
import pytest
import torch
from published_archives import picture
from report_records import SKETCH_TASKS, record, save
from safetensors.torch import save_file

from benchmark.backbones.builder import build
from benchmark.cli.main import main
from benchmark.execute.tensors import balanced_subset
from benchmark.measure.size import architecture_of, cpg_table_parts, head_size
from benchmark.scenarios.imagenet2sketch import CLASSES
from methods.registry import METHODS
from reports.build import build as build_report

FIVE = {"finetune": "Fine-tune", "packnet": "PackNet", "piggyback": "Piggyback", "cpg": "CPG", "ksm": "KSM"}
NARROW = 0.125  #: width at which the whole way takes seconds
TEST_LIMIT = 2


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def lines_of(path: Path) -> dict[str, dict[str, str]]:
    """A table's lines by the text that heads them."""
    return {next(iter(row.values())): row for row in rows_of(path)}


# ---------------------------------------------------------------------- from archives to the page


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, data or weights but the test's own."""
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("BENCHMARK_DATA_ROOT", raising=False)


def prepared_root(folder: Path) -> Path:
    """A data root made of five archives in the published layouts."""
    root = folder / "root"
    for name in SKETCH_TASKS:
        source = published.write(folder / "archives" / name, published.MAKERS[name]())
        assert main(["data", "prepare", name, "--from", str(source), "--to", str(root)]) == 0
    return root


def validation_images(root: Path) -> int:
    """One small picture for each of 1,000 classes; returns the class of one of the two that are evaluated."""
    for label in range(1000):
        folder = root / "imagenet" / "val" / f"n{label:08d}"
        folder.mkdir(parents=True)
        (folder / "ILSVRC2012_val_00000001.JPEG").write_bytes(picture(label))
    return int(balanced_subset(np.arange(1000), TEST_LIMIT)[0])


def write_weights(path: Path, width: float, answer: int) -> Path:
    """A ResNet-50 drawn at random under torchvision's names; its head gives every image the class ``answer``."""
    torch.manual_seed(0)
    backbone = build("resnet50", width=width)
    bias = torch.zeros(1000)
    bias[answer] = 1.0
    head = {"fc.weight": torch.zeros(1000, int(backbone.feature_dim)), "fc.bias": bias}  # type: ignore[call-overload]
    save_file({**backbone.state_dict(), **head}, path)
    return path


def carry_out(root: Path, results: Path, *words: str) -> dict[str, dict[str, Any]]:
    """``reproduce table2``, two steps a task (a batch holds all of a task's images): the records by method."""
    limits = ["--epochs", "2", "--test-limit", str(TEST_LIMIT)]
    limits += [] if "--method" in words else ["--set", "cpg.prune_ratios=0.5"]
    command = ["reproduce", "table2", "--data-root", str(root), "--results", str(results), "--device", "cpu"]
    assert main([*command, "--threads", "1", "--executor", "local", *limits, *words]) == 0
    found = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*/result.json")]
    return {value["spec"]["method"]: value for value in found}


def require_table2(report: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """The page's accuracies beside the printed ones, the ImageNet row on top and in no mean."""
    assert set(records) == set(FIVE)
    rows = {(row["row"], row["column"]): row for row in rows_of(report / "tables" / "imagenet2sketch-accuracy.csv")}
    printed = {"PackNet": 75.71, "Piggyback": 76.16, "CPG": 75.81, "KSM": 76.16}
    for method, title in FIVE.items():
        value = records[method]
        assert value["status"] == "finished" and [task["epochs"] >= 2 for task in value["tasks"]] == [True] * 5
        row = value["pretrained_row"]
        assert (row["accuracy"], row["images"]) == (0.5, TEST_LIMIT)  # one of the two has the class that all get
        freed = {"packnet": 0.5, "cpg": 0.4}.get(method, 0.0)
        assert row["freed"] == pytest.approx(freed, abs=2e-4)
        assert ("without retraining on ImageNet" in row["note"]) == (freed > 0)
        imagenet, mean = rows["ImageNet", title], rows["Mean", title]
        assert float(imagenet["mean"]) == 50 and imagenet["published"] == str(printed.get(title, ""))
        assert float(mean["mean"]) == pytest.approx(100 * value["mean_accuracy"])
    assert rows["1 cubs cropped", "KSM"]["published"] == "83.81"
    assert (records["packnet"]["spec"]["bn_policy"], records["cpg"]["spec"]["settings"]["schedule"]) == (
        "frozen", "plateau",
    )  # fmt: skip
    assert records["cpg"]["spec"]["inputs"][0]["augmentation"]["cutout"] == 16
    page = (report / "index.html").read_text(encoding="utf-8")
    # narrow and short, so that no table is called the paper's; its numbers stand beside
    for words in ("Table 2 of the KSM paper", "ImageNet", "Model size", "What the published sizes are made of"):
        assert words in page


def test_from_five_archives_to_table2_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A narrow ResNet-50 at 224 pixels. Typed again, everything is there already."""
    root = prepared_root(tmp_path)
    answer = validation_images(root)
    write_weights(root / "resnet50-19c8e357.pth", 1.0, answer)
    capsys.readouterr()
    assert main(["check", "--scenario", "imagenet2sketch", "--data-root", str(root)]) == 0
    checked = capsys.readouterr().out
    assert "the ImageNet row will be evaluated on 1,000 images in" in checked
    assert f"weights: {root / 'resnet50-19c8e357.pth'}" in checked and checked.endswith("ready\n")
    narrow = write_weights(tmp_path / "narrow.safetensors", NARROW, answer)
    words = ["--weights", str(narrow), "--set", f"backbone.width={NARROW}"]
    records = carry_out(root, tmp_path / "runs", *words)
    told = capsys.readouterr().out
    before, _, after = told.partition("ksm s0: 5 tasks")
    assert "\nabout " in before and "by a few timed steps" in before and after  # the estimate comes first
    require_table2(tmp_path / "report", records)
    again = carry_out(root, tmp_path / "runs", *words)
    assert {name: value["provenance"]["started"] for name, value in again.items()} == {
        name: value["provenance"]["started"] for name, value in records.items()
    }


@pytest.mark.exhaustive
def test_from_five_archives_to_table2(tmp_path: Path) -> None:
    """The same on torchvision's whole ResNet-50, whose weights are found by their name in the data root."""
    root = prepared_root(tmp_path)
    answer = validation_images(root)
    write_weights(root / "resnet50-19c8e357.pth", 1.0, answer)
    assert main(["check", "--scenario", "imagenet2sketch", "--data-root", str(root)]) == 0
    records = carry_out(root, tmp_path / "runs")
    require_table2(tmp_path / "report", records)
    found = lines_of(tmp_path / "report" / "tables" / "imagenet2sketch-published-size.csv")
    # 89.879 + 1000-way and five 2-way heads 7.894 + five BN sets 2.026, and what each method adds
    sizes = {"PackNet": 108.188, "Piggyback": 113.780, "CPG": 113.780}
    for title, size in sizes.items():
        assert float(found["as measured"][title]) == pytest.approx(size, abs=0.001)


def test_without_images_the_row_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = prepared_root(tmp_path)
    narrow = write_weights(tmp_path / "narrow.safetensors", NARROW, 0)
    words = ["--weights", str(narrow), "--set", f"backbone.width={NARROW}", "--tasks", "1", "--method", "packnet"]
    (value,) = carry_out(root, tmp_path / "runs", *words).values()
    row = value["pretrained_row"]
    assert row["accuracy"] is None and row["freed"] > 0.49
    assert row["note"] == "not run: no validation images in imagenet/val below the data root"
    report = tmp_path / "report"
    text = (report / "tables.md").read_text(encoding="utf-8")
    assert f"ImageNet, PackNet: {row['note']}." in text and "| ImageNet | not run |" in text
    # a folder that is laid out otherwise is refused before anything starts
    (root / "imagenet" / "val" / "n00000001").mkdir(parents=True)
    command = ["reproduce", "table2", "--data-root", str(root), "--results", str(tmp_path / "other"), *words]
    assert main([*command, "--device", "cpu", "--epochs", "2"]) == 2
    assert "has 1 class folders, ImageNet has 1,000" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_an_empty_folder_says_what_to_get(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["reproduce", "table2", "--data-root", str(tmp_path / "empty"), "--results", str(tmp_path / "r")]) == 2
    told = capsys.readouterr().err
    assert "name the file with --weights, or put it into the data root" in told
    assert told.count("python -m benchmark data prepare ") == 5
    assert not (tmp_path / "r").exists()


# ---------------------------------------------------------------------- sizes


def parts_of(method: str, soft: float = 0.0) -> dict[str, int]:
    """Of a whole ResNet-50 with the papers' classes."""
    with torch.device("meta"):
        backbone = build("resnet50")
    architecture = architecture_of(backbone, [head_size(2048, count) for count in CLASSES], head_size(2048, 1000))
    rule = METHODS[method].size_rule
    assert rule is not None
    return cpg_table_parts(rule, architecture, soft)


def test_parts_of_the_published_sizes() -> None:
    """MiB, as worked out by hand: 97.695 with the head that the weights came with, five heads, five BN sets."""
    in_mib = {method: {part: size / 2**20 for part, size in parts_of(method).items()} for method in FIVE}
    common = {"backbone": 89.8787, "heads": 15.1869, "BN and biases": 2.0264}
    assert sum(common.values()) == pytest.approx(107.092, abs=5e-4)
    added = {"packnet": {"owner index": 8.3881}, "ksm": {"mask bits": 7.9786}}
    added |= {method: {"mask bits": 13.9802} for method in ("piggyback", "cpg")}
    for method, parts in added.items():
        assert in_mib[method] == pytest.approx({**common, **parts}, abs=5e-4)
    assert in_mib["finetune"] == pytest.approx({"whole networks": 539.272, "heads": 15.1869}, abs=5e-4)
    soft = parts_of("ksm", 0.121)
    assert soft["soft values"] / 2**20 == pytest.approx(0.121 * 5 * 13_385_920 * 4 / 2**20, abs=1e-4)


def test_the_page_itemises_the_published_sizes(tmp_path: Path) -> None:
    """554, 115, 121 and 121 by part; KSM's as measured at 30 % soft values, and the printed 146 at 12.1 %."""
    records = []
    for method, title in FIVE.items():
        soft = 0.3 if method == "ksm" else 0.0
        parts = parts_of(method, soft)
        total = sum(parts.values())
        made = record(
            method, 0, [0.8] * 5, scenario="imagenet2sketch", names=SKETCH_TASKS,
            sizes={"itemised": total, "cpg_table": total, "written": total}, facts=METHODS[method].facts(),
        )  # fmt: skip
        value = made.to_json()
        value["size"] |= {"table_parts": parts, "soft_share": soft if method == "ksm" else None}
        records.append(type(made).from_json(value))
        assert title == METHODS[method].title
    build_report(save(tmp_path / "runs", records), tmp_path / "report")
    found = lines_of(tmp_path / "report" / "tables" / "imagenet2sketch-published-size.csv")
    measured = {title: float(found["as measured"][title]) for title in FIVE.values()}
    assert {title: round(size, 2) for title, size in measured.items()} == {
        "Fine-tune": 554.46, "PackNet": 115.48, "Piggyback": 121.07, "CPG": 121.07, "KSM": 191.67,
    }  # fmt: skip
    assert [float(found["printed"][title]) for title in FIVE.values()] == [554, 115, 121, 121, 146]
    assert round(float(found["at 12.1 % soft values"]["KSM"])) == 146
    assert found["at 12.1 % soft values"]["Piggyback"] == ""
    assert float(found["share of soft values"]["KSM"]) == pytest.approx(30)


def test_parts_that_do_not_make_the_published_size_are_refused(tmp_path: Path) -> None:
    from results.reader import read_runs

    made = record("ksm", 0, [0.8], sizes={"itemised": 10, "cpg_table": 10})
    value = made.to_json()
    value["size"]["table_parts"] = {"backbone": 4, "heads": 5}
    save(tmp_path, [type(made).from_json(value)])
    (left_out,) = read_runs(tmp_path).left_out
    assert "its published size is 10 bytes, the parts of it make 9" in left_out.reason
