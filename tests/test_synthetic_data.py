"""--synthetic-data: times, memory and sizes of a scenario without its images, and nowhere an accuracy."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_records import SKETCH_TASKS, record, save

from benchmark.data.pixel_file import PixelFile
from benchmark.errors import RequestError
from benchmark.plan.planning import planned
from benchmark.plan.request import request_of
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import silent
from benchmark.scenarios.loader import load_scenario
from reports.build import Built, build
from results.schema import RunRecord

MIB = 2**20
#: no time or size below has these digits
ACCURACIES = [0.8642, 0.7531, 0.9753, 0.6428, 0.8246]
DIGITS = ("86.4", "75.3", "97.5", "64.3", "82.5", "0.864", "0.753", "0.975", "0.642", "0.824", "81.2", "0.812")


def specs(**options: Any) -> list[RunSpec]:
    request = request_of({"methods": "ksm", **options})
    return planned(request, load_scenario(request.scenario, synthetic=request.synthetic_data))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- the images -------------------------------------------------------------------------------------------------------


def test_large_images_are_as_many_and_as_wide_as_the_real_ones(cache: Path) -> None:
    """The published totals; crops of 224 x 224, the others 256 pixels and more; 40 images a task on the disk."""
    tasks = load_scenario("imagenet2sketch", synthetic=True).read(None, range(1, 6), silent).tasks
    counts = [(len(task.train), len(task.test)) for task in tasks]
    assert counts == [(5994, 5794), (8144, 8041), (2040, 6149), (42129, 10628), (16000, 4000)]
    assert [len(task.class_names) for task in tasks] == [200, 196, 102, 195, 250]
    for task in tasks:
        images = task.train.images
        assert isinstance(images, PixelFile) and len(images) == len(task.train)
        assert np.unique(task.train.labels).tolist() == list(range(len(task.class_names)))
        if task.index < 3:
            assert (images.shapes == 224).all() and not task.whole
        else:
            assert (images.shapes.min(1) == 256).all() and task.whole
            assert len(np.unique(images.shapes, axis=0)) > 20 and 300 < images.shapes.max() <= 384
        np.testing.assert_array_equal(images.read(0), images.read(32))
        assert not np.array_equal(images.read(0), images.read(1)[: len(images.read(0))])
    written = sum(path.stat().st_size for path in cache.rglob("*.npy"))
    assert written < 64 * MIB and tasks[3].train.images.nbytes > 9e9


def test_small_images_are_as_many_as_the_real_ones() -> None:
    for name in ("cifar100-20", "cifar100-superclass"):
        one, two = load_scenario(name, synthetic=True).read(None, [1, 20], silent).tasks
        assert (one.train.images.shape, two.test.images.shape) == ((2500, 3, 32, 32), (500, 3, 32, 32))  # type: ignore[union-attr]
        assert two.class_names == ("lawn_mower", "rocket", "streetcar", "tank", "tractor")
        assert not np.array_equal(one.test.images, two.test.images)
        assert one.augmentation.flip is (name == "cifar100-20")


def test_the_same_images_every_time(cache: Path) -> None:
    first, second = (load_scenario("cifar100-20", synthetic=True).read(None, [3], silent) for _ in range(2))
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.tasks[0].train.images, second.tasks[0].train.images)


def test_a_scenario_whose_sizes_are_not_known_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^--synthetic-data needs to know how many images.*Take cifar100-20"):
        load_scenario("digits", synthetic=True)


# --- the runs ---------------------------------------------------------------------------------------------------------


def test_ids_differ_from_those_of_runs_on_real_images() -> None:
    """In the network of task 1 and in accuracy goals, too; without the option nothing has changed."""
    (real,), (synthetic,) = specs(scenario="cifar100-20"), specs(scenario="cifar100-20", synthetic_data=True)
    assert not real.synthetic and synthetic.synthetic
    assert dataclasses.replace(synthetic, synthetic=False) == real
    assert real.run_id != synthetic.run_id and real.initial_key != synthetic.initial_key
    assert real.goal_key(2) != synthetic.goal_key(2)
    assert RunSpec.from_json(json.loads(json.dumps(synthetic.to_json()))) == synthetic


def test_runs_on_whole_images_have_names_of_their_own() -> None:
    """Those that take crops of a square keep theirs: a field that is as usual is not hashed."""
    (whole,) = specs(scenario="imagenet2sketch", weights=None)
    (squares,) = specs(scenario="imagenet2sketch", tasks=2)
    assert (whole.crops, squares.crops) == ("whole", "square")
    assert whole.run_id != dataclasses.replace(whole, crops="square").run_id
    older = {key: value for key, value in squares.to_json().items() if key not in ("crops", "synthetic")}
    assert RunSpec.from_json(older).ids == squares.ids


def test_tune_is_refused() -> None:
    from benchmark.tuning.search import search_of

    request = request_of({"scenario": "cifar100-20", "synthetic_data": True})
    with pytest.raises(RequestError, match=r"tune chooses by accuracy"):
        search_of(request, load_scenario("cifar100-20", synthetic=True), 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on two small tasks, from a folder without data, by the command."""
    from benchmark.cli.main import main

    folder = tmp_path_factory.mktemp("synthetic")
    words = ["run", "--scenario", "cifar100-20", "--synthetic-data", "--tasks", "2", "--method", "finetune,ksm",
             "--train-limit", "60", "--test-limit", "40", "--epochs", "1", "--set", "backbone.width=0.125",
             "--set", "protocol.batch_size=30", "--executor", "local", "--results", str(folder / "runs")]  # fmt: skip
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(words)
    (folder / "said").write_text(said.getvalue())
    assert code == 0, said.getvalue()
    return folder


def test_the_command_runs_without_data_and_says_no_accuracy(run: Path) -> None:
    said = (run / "said").read_text()
    lines = [line for line in said.splitlines() if line.startswith(("finetune s0", "ksm s0", "["))]
    assert lines and not any("accuracy" in line or "train 0." in line for line in lines)
    table = [line for line in lines if line.split()[1] == "s0" and not line.split()[1].endswith(":")]
    assert sum("synthetic data" in line for line in table) >= 2
    assert "warning: aquatic_mammals: its images are generated" in said


def test_the_record_says_so(run: Path) -> None:
    records = [json.loads(path.read_text()) for path in (run / "runs").glob("*/result.json")]
    assert len(records) == 2
    for found in records:
        assert found["spec"]["synthetic"] is True
        assert any("generated" in warning for warning in found["warnings"])
        # 12 images of each of five classes, of which one is held out
        assert found["tasks"][1]["train_images"] == 55 and found["size"]["rules"]["itemised"] > 0
        assert found["training_seconds_total"] > 0 and found["peak_memory"]


def test_the_page_of_that_run_has_costs_and_no_claim(run: Path) -> None:
    page = (run / "report/index.html").read_text()
    assert "Cost on synthetic data" in page and "no claim is checked" in page
    assert "claims-overview" not in page and "Accuracy (" not in page


def test_export_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.cli.main import main

    folder = next((run / "runs").glob("*ksm*"))
    assert main(["export", str(folder), "--task", "2", "--to", str(run / "x.safetensors")]) == 2
    assert "learned generated images" in capsys.readouterr().err


# --- the report -------------------------------------------------------------------------------------------------------


def table_2(synthetic: bool = True) -> list[RunRecord]:
    """Five tasks by the methods of table 2, with the sizes that the papers count and their own rules."""
    rules = {"finetune": 554, "packnet": 115, "piggyback": 121, "cpg": 121, "ksm": 146}
    spec = {"scenario": "imagenet2sketch", **({"synthetic": True} if synthetic else {})}
    return [
        record(method, seed, ACCURACIES, names=SKETCH_TASKS, scenario="imagenet2sketch", seconds=[31.0] * 5,
               sizes={"itemised": size * MIB, "cpg_table": size * MIB}, spec=spec, task1=None,
               curve=[{"phase": "train", "epoch": 1, "lr": 0.1, "loss": 1.0, "train": 0.8642, "validation": 0.7531}],
               provenance={"data_fingerprint": "g" if synthetic else "r"},
               run_id=f"imagenet2sketch-{method}-s{seed}-{'0123456789' if synthetic else '9876543210'}")
        for method, size in rules.items()
        for seed in (0, 1)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("report")
    return build(save(folder / "runs", table_2()), folder / "out")


def test_no_accuracy_stands_anywhere_in_the_report(built: Built) -> None:
    """Page, CSV, LaTeX, Markdown and the figures' text; published accuracies of the papers stand in no table either."""
    for path in built.index.parent.rglob("*"):
        if path.suffix in (".html", ".csv", ".tex", ".md"):
            text = path.read_text()
            text = text.partition("<h2")[2] if path.suffix == ".html" else text  # behind styles and scripts
            for digits in DIGITS:
                assert digits not in text.replace("M" + digits, ""), (path, digits)


def test_the_papers_sizes_and_the_times_are_in_the_page(built: Built) -> None:
    page = built.index.read_text()
    for size in ("554", "115", "121", "146"):
        assert size in page
    assert "155" in page  # five tasks of 31 s
    assert "synthetic data" in page


def test_runs_csv_says_synthetic_data_in_place_of_accuracies(built: Built) -> None:
    import csv

    with (built.index.parent / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50
    for name in ("accuracy", "accuracy_at_end", "validation_accuracy", "mean_accuracy"):
        assert {row[name] for row in rows} == {"synthetic data"}
    assert {row["forgetting"] for row in rows} == {""}
    assert {row["training_seconds"] for row in rows} == {"31"}


def test_claims_and_rankings_take_real_runs_alone(tmp_path: Path) -> None:
    """Beside real runs synthetic ones have a part of the page of their own, behind; every claim is of the real ones."""
    from benchmark.api import Results

    real = table_2(synthetic=False)
    records = [*real, *table_2()]
    out = build(save(tmp_path / "runs", records), tmp_path / "out")
    claims = (out.index.parent / "claims.csv").read_text().splitlines()[1:]
    assert claims and {line.partition(",")[0] for line in claims} == {"imagenet2sketch"}
    table = Results(tuple(records)).table()
    assert len(table) == 5 and not table["setting"].str.contains("synthetic").any()
    runs = Results(tuple(records)).runs()
    assert (
        runs.loc[runs["synthetic"], "accuracy"].isna().all() and runs.loc[~runs["synthetic"], "accuracy"].notna().all()
    )


def test_compare_shows_no_accuracy(tmp_path: Path) -> None:
    from reports.compare import compare

    a, b = save(tmp_path / "a", table_2()), save(tmp_path / "b", table_2())
    page = compare(a, b, tmp_path / "out").index.read_text()
    body = page.partition("<h1")[2].partition("<script")[0]
    assert "synthetic data" in body and not [digits for digits in DIGITS if digits in body]
