"""The Python API: the same plan, the same sentences, results to go on with; a notebook; a wheel without checkout."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import benchmark as mb

ROOT = Path(__file__).resolve().parents[1]
QUICK: dict[str, Any] = {"tasks": 2, "epochs": 2, "train_limit": 40, "threads": 1, "executor": "local"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[mb.Results, Path]:
    """Two methods, one of them at two rates, and their folder."""
    folder = tmp_path_factory.mktemp("api") / "runs"
    settings = {"ksm.lr": [1e-3, 2e-3]}
    return mb.run("digits", ["ksm", "head-only"], 0, settings=settings, results=folder, **QUICK), folder


def test_results_hold_the_records_of_the_request(runs: tuple[mb.Results, Path]) -> None:
    results, folder = runs
    assert [record.spec["method"] for record in results.records] == ["ksm", "ksm", "head-only"]
    assert [record.spec["settings"]["lr"] for record in results.records[:2]] == [1e-3, 2e-3]
    assert results.failed == ()
    assert mb.read(folder, folder).records == tuple(sorted(results.records, key=lambda record: record.run_id))


def test_tables_are_the_records_in_percent_and_mib(runs: tuple[mb.Results, Path]) -> None:
    results, _ = runs
    each = results.runs()
    record = results.records[0]
    assert record.mean_accuracy is not None
    assert record.size is not None
    assert each.loc[record.run_id, "accuracy"] == 100 * record.mean_accuracy
    assert each.loc[record.run_id, "MiB"] == record.size.rules["itemised"] / 1024**2
    table = results.table()
    assert sorted(table["method"]) == ["Head only", "KSM (lr 0.001)", "KSM (lr 0.002)"]
    assert list(table["accuracy"]) == sorted(table["accuracy"], reverse=True)
    assert set(table["seeds"]) == {1}


def test_a_second_call_reads_what_is_finished(runs: tuple[mb.Results, Path], capsys: Any) -> None:
    results, folder = runs
    again = mb.run("digits", "head-only", results=folder, **QUICK)
    assert again.records == results.records[2:]
    assert "finished already" in capsys.readouterr().out


def test_the_report_is_of_these_records_alone(runs: tuple[mb.Results, Path], tmp_path: Path) -> None:
    results, folder = runs
    one = mb.Results(results.records[2:]).report(tmp_path / "one")
    assert "Head only" in one.read_text()
    assert "KSM (lr 0.001)" not in one.read_text()
    assert "KSM (lr 0.001)" in mb.report(folder, out=tmp_path / "all").read_text()


def test_a_failed_run_is_among_the_results(tmp_path: Path) -> None:
    results = mb.run("digits", "finetune", settings={"finetune.lr": 1e30}, results=tmp_path / "runs", **QUICK)
    (record,) = results.failed
    assert "diverged" in (record.error or "")
    assert results.table().empty
    assert "diverged" in results._repr_html_()


def test_check_counts_and_names_faults(tmp_path: Path) -> None:
    ready = mb.check("digits", tasks=2)
    assert ready.ready
    assert ready.table()["train"].to_dict() == {1: 289, 2: 289}
    absent = mb.check("cifar100-20", data_root=tmp_path, tasks=1)
    assert not absent.ready
    assert str(tmp_path) in absent.faults[0]
    with pytest.raises(mb.RequestError, match="check has no option 'epochs'"):
        mb.check("digits", epochs=3)


# ---------------------------------------------------------------------- one sentence, wherever a value comes from

#: key of --set, value, what is said of it
WRONG_SETTINGS = [
    ("ksm.schedule", "banana", "must be one of step, cosine, constant, plateau, not 'banana'"),
    ("finetune.optimizer", "lion", "must be one of sgd, adam, not 'lion'"),
    ("packnet.prune_ratio", "1.5", "must be below 1, not 1.5"),
    ("packnet.ratio_of", "frree", "must be one of free, current, not 'frree'"),
    ("mask.units", "banana", "must be one of element, kernel, group, channel, block, not 'banana'"),
    ("ksm.lr", "-1", "must be at least 0, not -1.0"),
    ("ksm.lr", "fast", "must be a number, not 'fast'"),
    ("ksm.lr", "nan", "must be a finite number, not nan"),
    ("ksm.epochs", "0", "must be above 0, not 0"),
    ("ksm.epochs", "2.5", "must be a whole number, not '2.5'"),
    ("ksm.reach", "0.5", "must be above 1, not 0.5"),
    ("packnet.prune_last", "maybe", "must be true or false, not 'maybe'"),
    ("cpg.prune_every", "0", "must be at least 1, not 0"),
    ("mask.soft", "soft", "must be one of none, release, min-max, max-abs, z-score, not 'soft'"),
    ("protocol.cutout", "-3", "must be at least 0, not -3"),
    ("backbone.width", "0", "must be above 0, not 0.0"),
    ("run.measure", "some", "must be one of full, minimal, not 'some'"),
]
#: option, value, what is said of it
WRONG_OPTIONS = [
    ("epochs", "0", "must be at least 1, not 0"),
    ("selection", "best", "must be one of validation, last, legacy-test, not 'best'"),
    ("bn_policy", "thawed", "must be one of frozen, per-task, not 'thawed'"),
    ("seed", "-1", "must be at least 0, not -1"),
    ("train_limit", "few", "must be a whole number, not 'few'"),
    ("precision", "fp8", "must be one of fp32, tf32, bf16, not 'fp8'"),
]


@pytest.mark.parametrize(("key", "value", "told"), WRONG_SETTINGS)
def test_a_wrong_setting_is_the_same_sentence_everywhere(
    key: str, value: str, told: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    sentence = f"{key} {told}"
    with pytest.raises(mb.RequestError) as caught:
        mb.run("digits", "all", settings={key: value}, results=tmp_path / "runs")
    assert str(caught.value) == f"{sentence}."
    given = command("run", "--method", "all", "--set", f"{key}={value}", cwd=tmp_path)
    assert (given.code, given.err) == (2, f"error: {sentence}.\n")
    (tmp_path / "plan.yaml").write_text(f"method: all\nset: {{{key}: {value}}}\n")
    filed = command("run", "--config", "plan.yaml", cwd=tmp_path)
    assert filed.code == 2
    assert told.rpartition(", not ")[0] in filed.err and key in filed.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("name", "value", "told"), WRONG_OPTIONS)
def test_a_wrong_option_is_the_same_sentence_everywhere(
    name: str, value: str, told: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(mb.RequestError, match=told):
        mb.run("digits", **{name: value, "results": tmp_path / "runs"})
    given = command("run", f"--{name.replace('_', '-')}", value, cwd=tmp_path)
    assert (given.code, given.err) == (2, f"error: --{name.replace('_', '-')} {told}.\n")
    (tmp_path / "plan.yaml").write_text(f"{name}: {value}\n")
    filed = command("run", "--config", "plan.yaml", cwd=tmp_path)
    assert filed.code == 2
    assert f"plan.yaml: {name} {told}" in filed.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"settings": {"ksm.learning_rate": 1}}, r"no setting 'ksm\.learning_rate'\. Did you mean 'ksm\.lr'\?"),
        ({"settings": {"packnet.wd": 1}}, r"Did you mean 'packnet\.weight_decay'\?"),
        ({"methods": "head-only", "settings": {"ksm.lr": 1}}, "ksm.lr has no effect: ksm is not among the methods"),
        ({"methods": "head-only", "settings": {"mask.soft": "none"}}, "none of head-only has masks"),
        ({"settings": {"run.measure": ["full", "minimal"]}}, "run.measure takes one value, not 2"),
        ({"random_seed": 3}, r"no option 'random_seed'\. Did you mean 'seeds'\?"),
        ({"learning_rate": 3}, r"no option 'learning_rate'\. It is a setting: --set METHOD\.lr="),
        ({"batch_size": 3}, r"no option 'batch_size'\. It is a setting: --set protocol\.batch_size="),
        ({"seeds": []}, "seeds must name at least 1"),
        ({"methods": []}, "methods must name at least 1"),
        ({"seeds": [[0]]}, r"seeds must be a whole number, not \[0\]"),
        ({"seeds": 1, "seed": 2}, "seed and seeds are one option; give it once"),
        ({"settings": ["ksm.lr=1"]}, "settings must hold keys and values"),
        ({"overrides": {"ksm.lr": 1}}, "There is no option 'overrides'"),
        ({"settings": {"packnet.prune_ratio": ""}}, "packnet.prune_ratio must name at least 1"),
        ({"methods": "packnet", "settings": {"scratch.lr": 1}}, "scratch.lr has no effect"),
        ({"dry_run": True}, "dry_run is an option of the command line only"),
        ({"tasks": 9}, "digits has 5 tasks"),
        ({"protocol": "imagenet"}, r"'imagenet' is unknown\. Did you mean 'imagenet2sketch'\?"),
        ({"device": "gpu"}, "choose auto, cpu, cuda"),
    ],
)
def test_what_is_wrong_with_a_request_is_raised_before_anything_is_written(
    words: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(mb.RequestError, match=told):
        mb.run("digits", **{"methods": "all", **words, "results": tmp_path / "runs"})
    assert not list(tmp_path.iterdir())


def test_other_names_of_an_option_and_other_kinds_of_number(tmp_path: Path) -> None:
    import numpy as np

    how = {**QUICK, "results": tmp_path / "runs", "epochs": np.int64(1)}
    (record,) = mb.run(method="head-only", seed=np.arange(7, 8), **how).records
    assert (record.spec["method"], record.spec["seed"], record.spec["epochs"]) == ("head-only", 7, 1)
    swept = mb.run("digits", "head-only", settings={"head-only.lr": np.logspace(-3, -2, 2)}, **how)
    assert [record.spec["settings"]["lr"] for record in swept.records] == [1e-3, 1e-2]
    assert list(swept.runs()["run"]) == ["head-only s0 (lr 0.001)", "head-only s0 (lr 0.01)"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--lr", "5"], "It is a setting: --set METHOD.lr=…"),
        (["--batch-size", "5"], "It is a setting: --set protocol.batch_size=…"),
        (["--dataset", "digits"], "Did you mean '--scenario'?"),
        (["--algorithm", "ksm"], "Did you mean '--method'?"),
        (["--epochs="], "--epochs needs a value"),
        (["--weights", ""], "--weights needs a value"),
    ],
)
def test_words_of_others_at_the_command_line(words: list[str], told: str, command: Callable[..., Any]) -> None:
    answer = command("run", *words)
    assert answer.code == 2
    assert told in answer.err


# ---------------------------------------------------------------------- sweeps and estimates


def planned(**wanted: Any) -> list[Any]:
    from benchmark.plan.planning import planned as plan
    from benchmark.plan.request import request_of
    from benchmark.scenarios.loader import load_scenario

    return plan(request_of({"scenario": "digits", **wanted}), load_scenario("digits"))


def test_a_sweep_is_the_product_of_what_concerns_a_method() -> None:
    settings = {"ksm.lr": [1e-3, 2e-3], "backbone.width": [0.5, 1], "scratch.lr": [0.01, 0.02]}
    specs = planned(methods=["ksm", "packnet"], settings=settings)
    assert [spec.method for spec in specs] == ["ksm"] * 8 + ["packnet"] * 2  # PackNet has no task-1 network to tune
    assert len({spec.run_id for spec in specs}) == 10
    from benchmark.console import labels

    names = labels([spec.to_json() for spec in specs])
    assert len(set(names)) == 10
    assert "packnet s0 (width 0.5)" in names


def test_estimates_by_hand() -> None:
    from benchmark.execute.estimate import Estimates, in_words, work_of

    (spec,) = planned(methods="ksm", epochs=10, tasks=2)
    images = {1: 100, 2: 50}
    task_1, main = spec.scratch.epochs, spec.settings.epochs
    assert work_of(spec, images) == 90 * task_1 + 45 * main  # a tenth is held out
    assert work_of(spec, images, held_out=False) == 100 * task_1 + 50 * main
    assert work_of(spec, {1: 100}) is None
    found = Estimates(images)
    assert found.seconds(spec) is None
    found.learn_step(spec, 0.32)  # 32 images a step: 0.01 s an image, and a quarter for what is beside the steps
    assert found.seconds(spec) == pytest.approx(1.25 * 0.01 * work_of(spec, images))
    assert found.total([spec, spec, spec], 2) == pytest.approx(1.5 * found.seconds(spec))
    assert found.total([spec], 8) == pytest.approx(found.seconds(spec))
    assert [in_words(value) for value in (0.2, 40, 600, 9000, 400000)] == ["1 s", "40 s", "10 min", "2.5 h", "4.6 days"]


def test_a_finished_runs_estimate_is_its_own_time(runs: tuple[mb.Results, Path]) -> None:
    from benchmark.execute.estimate import Estimates
    from benchmark.plan.spec import RunSpec

    record = runs[0].records[0]
    spec = RunSpec.from_json(record.spec)
    found = Estimates({task.index: round(task.train_images / 0.9) for task in record.tasks})
    found.learn(spec, record)
    assert found.seconds(dataclasses.replace(spec, train_limit=None)) == pytest.approx(record.wall_seconds, rel=0.02)


def test_dry_run_says_what_is_done_already(runs: tuple[mb.Results, Path], command: Callable[..., Any]) -> None:
    words = ["--tasks", 2, "--epochs", 2, "--train-limit", 40, "--results", runs[1], "--dry-run"]
    answer = command("run", "--method", "head-only", *words)
    assert answer.code == 0, answer.err
    assert "done" in answer.out
    assert "1 run, 1 of them finished already; nothing was started." in answer.out


# ---------------------------------------------------------------------- one field


def test_an_option_is_one_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A made-up option: command line, configuration file and Python know it, with its help and its bounds."""
    from benchmark.cli import command_line
    from benchmark.cli.main import parser
    from benchmark.plan import request
    from benchmark.plan.options import option

    @dataclasses.dataclass(frozen=True)
    class Longer(request.Request):
        patience: int = option(3, "days to wait", metavar="N", at_most=7)

    for module in (request, command_line):
        monkeypatch.setattr(module, "Request", Longer)
    assert "--patience N" in subprocess_free_help(parser(("run",)))
    assert "days to wait (default: 3)" in subprocess_free_help(parser(("run",)))
    given = command_line.request_of(parser(("run",)).parse_args(["run", "--patience", "5"]))
    assert given.patience == 5  # type: ignore[attr-defined]
    (tmp_path / "plan.yaml").write_text("patience: 6\n")
    filed = command_line.request_of(parser(("run",)).parse_args(["run", "--config", str(tmp_path / "plan.yaml")]))
    assert filed.patience == 6  # type: ignore[attr-defined]
    assert request.request_of({"patience": 7}).patience == 7  # type: ignore[attr-defined]
    with pytest.raises(mb.RequestError, match="patience must be at most 7, not 8"):
        request.request_of({"patience": 8})


def subprocess_free_help(parser: Any) -> str:
    """The help of ``run``, unwrapped."""
    (verbs,) = (action for action in parser._actions if hasattr(action, "choices") and action.choices)
    return " ".join(verbs.choices["run"].format_help().split())


def test_every_knob_and_option_has_a_line_of_help() -> None:
    from benchmark.plan.options import declared
    from benchmark.plan.overrides import known_keys
    from benchmark.plan.request import Request

    for name, key in known_keys().items():
        assert key.about.help, name
        assert "\n" not in key.about.help, name
    for name, one in declared(Request).items():
        assert one.about.help, name


# ---------------------------------------------------------------------- where people use it


@pytest.mark.exhaustive
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the extra 'test' brings it")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: the extra 'test' brings it")
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert (tmp_path / "notebook-results" / "report" / "index.html").is_file()
    lines = "".join(output.text for output in shown if output.output_type == "stream")
    assert "train 0." not in lines, "epochs are shown in one line that changes"


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    script = "import benchmark as mb\nresults = mb.run('digits', 'head-only', epochs=1, tasks=1, threads=1)\n"
    (tmp_path / "script.py").write_text(script + "print('accuracy', results.records[0].mean_accuracy)\n")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=_environment(ROOT), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy ") >= 1 and "RuntimeError" not in done.stderr


def test_smoke_from_the_wheel_alone(tmp_path: Path) -> None:
    """Built as users get it: no file of the checkout is within reach."""
    source, site = tmp_path / "source", tmp_path / "site"
    tracked = [*(ROOT / name for name in ("benchmark", "methods", "reports", "results"))]
    import shutil

    for package in tracked:
        skip = shutil.ignore_patterns("__pycache__", "runs", "report")
        shutil.copytree(package, source / package.name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    built = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "elsewhere").mkdir()
    code = "import sys, benchmark; from benchmark.cli.main import main; print(benchmark.__file__); sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "smoke", "--out", "kept"],
        cwd=tmp_path / "elsewhere",
        env={key: value for key, value in _environment(site).items() if key != "BENCHMARK_DATA_ROOT"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(site) in done.stdout.splitlines()[0]
    assert "smoke: passed" in done.stdout
    assert "CIFAR-100 is left out" in done.stdout
    assert (tmp_path / "elsewhere" / "kept" / "digits" / "report" / "index.html").is_file()


def _environment(path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"}


def test_tune_returns_what_it_writes_and_runs_take_it(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out, options = tmp_path / "tuned.yaml", {**QUICK, "results": tmp_path / "runs"}
    found = mb.tune("digits", "head-only", trials=2, out=out, **options)
    own = found["methods"]["head-only"]
    assert (own["trials"], found["tasks"], found["epochs"]) == (2, 2, 2)
    assert own["validation"] >= own["untuned"]
    results = mb.run("digits", "head-only", tuned=out, **options)
    (record,) = results.records
    assert record.spec["tuning"]["validation"] == own["validation"]
    read = mb.read(tmp_path / "runs")
    assert (len(read.records), len(read.trials)) == (1, 2)
    assert "Tuned with 2 trials on validation images of 2 tasks" in read.report(tmp_path / "page").read_text()
    with pytest.raises(mb.RequestError, match="--trials 0 must be a whole number"):
        mb.tune(trials=0)
    with pytest.raises(mb.RequestError, match="must be the name of a YAML file"):
        mb.tune(out=tmp_path / "tuned.txt", **options)
