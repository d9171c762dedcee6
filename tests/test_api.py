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
    ("ksm.schedule", "banana", "must be one of step, cosine, constant, not 'banana'"),
    ("finetune.optimizer", "lion", "must be one of sgd, adam, not 'lion'"),
    ("packnet.prune_ratio", "1.5", "must be below 1, not 1.5"),
    ("packnet.ratio_of", "frree", "must be one of free, current, not 'frree'"),
    ("mask.units", "banana", "must be one of element, kernel, group, channel, not 'banana'"),
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
        ({"random_seed": 3}, r"no option 'random_seed'\. Did you mean 'seed'\?"),
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
