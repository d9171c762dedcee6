"""tune: proposals that depend on nothing else, trials that see no test image, files that come out the same."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from report_records import record

from benchmark.errors import RequestError
from benchmark.plan.planning import planned
from benchmark.plan.request import Request
from benchmark.scenarios.contract import Split
from benchmark.scenarios.loader import load_scenario
from benchmark.tuning import tuned_file
from benchmark.tuning.ledger import Outcome
from benchmark.tuning.proposals import Axis, axes, proposal
from benchmark.tuning.search import _best, _lower_half, _seconds, carry_out, search_of
from methods.registry import METHODS
from methods.space import usual_space
from results.locations import trials_folder

REPOSITORY = Path(__file__).resolve().parent.parent
SPACE = (Axis("ksm.lr", 1e-5, 1e-3), Axis("ksm.head_lr", 1e-4, 1e-2), Axis("ksm.schedule", values=("step", "cosine")))
QUICK = ["--method", "head-only,piggyback", "--trials", "6", "--tasks", "2", "--epochs", "1", "--train-limit", "40"]


# ---------------------------------------------------------------------- proposals


def test_an_axis_by_hand() -> None:
    axis = Axis("ksm.lr", 1e-4, 1e-2)
    assert [axis.at(share) for share in (0.0, 0.5, 1.0)] == [1e-4, 1e-3, 1e-2]
    assert axis.about == "ksm.lr 0.0001 to 0.01, log"
    words = Axis("ksm.schedule", values=("step", "cosine"))
    assert [words.at(share) for share in (0.0, 0.49, 0.5, 1.0)] == ["step", "step", "cosine", "cosine"]


def test_proposals_depend_on_seed_method_and_number_alone() -> None:
    first = [proposal(SPACE, 0, "ksm", number) for number in range(9)]
    assert first[0] == {}, "the protocol itself"
    assert [proposal(SPACE, 0, "ksm", number) for number in reversed(range(9))][::-1] == first
    assert proposal(SPACE, 1, "ksm", 3) != first[3] != proposal(SPACE, 0, "piggyback", 3)
    for values in first[1:]:
        assert 1e-5 <= values["ksm.lr"] <= 1e-3 and 1e-4 <= values["ksm.head_lr"] <= 1e-2
        assert float(f"{values['ksm.lr']:.4g}") == values["ksm.lr"], "what a person can read"


def test_trials_cover_the_space_evenly() -> None:
    shares = [math.log10(proposal(SPACE, 0, "ksm", number)["ksm.lr"] / 1e-5) / 2 for number in range(1, 9)]
    assert sorted(int(share * 8) for share in shares) == list(range(8)), "one of eight points in each eighth"


@pytest.mark.parametrize("protocol", ["digits", "cifar100-20", "imagenet2sketch", "pretrained"])
def test_every_method_has_a_space_of_equal_size_around_its_protocol(protocol: str) -> None:
    for name, card in METHODS.items():
        if card.needs.networks_of is not None:
            continue  # trains nothing
        settings = dataclasses.replace(card.settings, **card.protocols.get(protocol, {}))
        space = axes(card, settings, card.mask)
        assert len(space) == 3, name
        rate = space[0]
        knob = rate.key.partition(".")[2]
        assert rate.low < getattr(settings, knob) < rate.high, name
    reach = axes(METHODS["ksm"], dataclasses.replace(METHODS["ksm"].settings, reach=3.0))[0]
    assert (reach.key, reach.low, reach.high) == ("ksm.reach", 0.3, 30)


def test_a_method_without_a_space_is_named() -> None:
    from methods.settings import WeightSettings

    assert usual_space(WeightSettings()) == ()
    card = dataclasses.replace(METHODS["cpg"], space=())
    with pytest.raises(RequestError, match="cpg has no search space"):
        axes(card, card.settings)


def outcome(number: int, score: float | None, pruned: bool = False) -> Outcome:
    return Outcome(number, {}, score, pruned, f"run{number}", 1.0)


def test_ties_go_to_the_lower_number_and_pruned_trials_win_nothing() -> None:
    best = _best([outcome(0, 0.5), outcome(2, 0.9), outcome(1, 0.9), outcome(3, None), outcome(4, 0.99, pruned=True)])
    assert best is not None and best.number == 1
    assert _best([outcome(0, None)]) is None


def test_the_lower_half_goes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    search = search_of(Request(methods=("head-only",)), load_scenario("digits"), 5)
    scores = {trial.first.run_id: score for trial, score in zip(search.trials, (0.1, 0.8, 0.8, 0.3, None), strict=True)}
    monkeypatch.setattr("benchmark.tuning.search._record", lambda search, spec: spec.run_id)
    monkeypatch.setattr("benchmark.tuning.search._score", scores.__getitem__)
    # 0.8, 0.8, 0.3 stay; of 0.1 and the failed one trial 0 stays all the same
    assert _lower_half(search, "head-only") == [4]


# ---------------------------------------------------------------------- a known optimum

FAKE = '''
import dataclasses, math
from methods.head_only.card import HEAD_ONLY
from methods.head_only.strategy import HeadOnly

CARD = dataclasses.replace(HEAD_ONLY, name="known", title="Known", strategy="known_optimum:Known", lower_bound=False)
CARDS = (CARD,)


class Known(HeadOnly):
    """Answers as many images rightly as its rate deserves: all at 0.03, fewer the farther away."""

    card = CARD

    def _count(self, images):
        share = max(0.0, 1 - abs(math.log10(self.settings.lr / 0.03)) / 2)
        return int(share * len(images))
'''


def test_it_finds_an_optimum_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "known_optimum.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    from methods.registry import use_plugins

    use_plugins(("known_optimum",))
    try:
        request = Request(
            methods=("known",),
            plugins=("known_optimum",),
            tasks=1,
            epochs=1,
            executor="local",
            results=tmp_path / "runs",
        )
        search = search_of(request, load_scenario("digits"), 8)
        assert carry_out(search, tmp_path / "tuned.yaml", prune=False) == 0
        tuned = tuned_file.read(tmp_path / "tuned.yaml")
        rates = [trial.proposed.get("known.lr", 0.05) for trial in search.trials]
        nearest = min(range(8), key=lambda number: abs(math.log10(rates[number] / 0.03)))
        assert tuned.chosen["known"].trial == nearest
        assert tuned.chosen["known"].validation == pytest.approx(
            1 - abs(math.log10(rates[nearest] / 0.03)) / 2, abs=0.05
        )
        assert tuned.chosen["known"].validation >= (tuned.chosen["known"].untuned or 0)
    finally:
        METHODS._modules.clear()  # type: ignore[attr-defined]
        METHODS._found = None  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- test images


class Poison(np.ndarray[Any, Any]):
    """Images that nobody may look at."""

    def __array_function__(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("a test image was read")

    def __array_ufunc__(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("a test image was read")

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("a test image was read")


def test_no_test_image_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    import benchmark.scenarios.digits as digits

    own, from_numpy, reads = digits.SCENARIO.read, torch.from_numpy, []

    def poisoned(*arguments: Any) -> Any:
        data = own(*arguments)
        tasks = tuple(
            dataclasses.replace(task, test=Split(task.test.images.view(Poison), task.test.labels))
            for task in data.tasks
        )
        reads.append(len(tasks))
        return dataclasses.replace(data, tasks=tasks)

    def guarded(array: Any) -> Any:
        assert not isinstance(array, Poison), "a test image was read"
        return from_numpy(array)

    monkeypatch.setattr(torch, "from_numpy", guarded)
    scenario = dataclasses.replace(digits.SCENARIO, read=poisoned)
    monkeypatch.setattr(digits, "SCENARIO", scenario)
    request = Request(methods=("piggyback",), tasks=2, epochs=1, executor="local", results=tmp_path / "runs")
    assert carry_out(search_of(request, scenario, 2), tmp_path / "tuned.yaml", prune=False) == 0
    assert reads
    records = [json.loads(path.read_text()) for path in (tmp_path / "tune").glob("*/result.json")]
    assert [record["spec"]["measured_on"] for record in records] == ["validation"] * 2
    # the poison works: a run on test images meets it
    (spec,) = planned(request, scenario)
    from benchmark.execute.sweep import carry_out as run
    from benchmark.execute.sweep import sweep_of

    assert run(sweep_of(request, scenario, [spec]), report=False) == 1
    (record,) = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/result.json")]
    assert "a test image was read" in record["error"]


# ---------------------------------------------------------------------- the command


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "benchmark", "tune", *QUICK, "--threads", "1", "--results", str(folder / "runs"),
               "--out", str(folder / "tuned.yaml"), *words]  # fmt: skip
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder)


def finished(process: subprocess.Popen[bytes]) -> str:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which tune was killed, then typed twice at the same time."""
    folder = tmp_path_factory.mktemp("tuned")
    killed = start(folder)
    deadline = time.monotonic() + 200
    while len(list((folder / "tune").glob("*/result.json"))) < 3:
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (folder / "tuned.yaml").exists(), "nothing half-written"
    together = [start(folder), start(folder)]
    said = [finished(process) for process in together]
    assert all("settings:" in text for text in said)
    return folder


def test_equal_trials_and_the_same_file_after_a_kill_and_with_two_processes(tuned: Path, tmp_path: Path) -> None:
    content = yaml.safe_load((tuned / "tuned.yaml").read_text())
    assert {name: one["trials"] for name, one in content["methods"].items()} == {"head-only": 6, "piggyback": 6}
    assert len(list((tuned / "tune").glob("*/result.json"))) == 12, "no trial twice"
    undisturbed = start(tmp_path)
    finished(undisturbed)
    assert (tmp_path / "tuned.yaml").read_bytes() == (tuned / "tuned.yaml").read_bytes()


def test_the_study_holds_every_trial_once_in_order(tuned: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{tuned / 'tune' / 'study.sqlite3'}"
    studies = optuna.get_all_study_names(storage)
    assert len(studies) == 2
    content = yaml.safe_load((tuned / "tuned.yaml").read_text())["methods"]
    for name in studies:
        study = optuna.load_study(study_name=name, storage=storage)
        assert [trial.number for trial in study.trials] == list(range(6))
        method = "piggyback" if "piggyback" in name else "head-only"
        assert study.best_value == content[method]["validation"]
        assert study.trials[0].value == content[method]["untuned"]


def test_a_run_with_tuned_settings_says_so(tuned: Path) -> None:
    scenario = load_scenario("digits")
    request = Request(tuned=tuned / "tuned.yaml", epochs=1, seeds=(0, 1))
    specs = planned(request, scenario)
    assert [(spec.method, spec.seed) for spec in specs] == [
        ("head-only", 0), ("piggyback", 0), ("head-only", 1), ("piggyback", 1),
    ]  # fmt: skip
    content = yaml.safe_load((tuned / "tuned.yaml").read_text())["methods"]
    for spec in specs:
        own = content[spec.method]
        assert spec.tuning is not None and (spec.tuning.trials, spec.tuning.tasks, spec.tuning.seed) == (6, 2, 0)
        assert (spec.tuning.validation, spec.tuning.trial) == (own["validation"], own["trial"])
        assert spec.tuning_seconds is not None and spec.tuning_seconds > 0
        for key, value in own["settings"].items():
            assert getattr(spec.settings, key.partition(".")[2]) == value
        again = type(spec).from_json(json.loads(json.dumps(spec.to_json())))
        assert again.run_id == spec.run_id
        assert dataclasses.replace(spec, tuning_seconds=1.0).run_id == spec.run_id, "seconds name no run"
        assert dataclasses.replace(spec, tuning=None).run_id != spec.run_id


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 2}, "was made with --epochs 1, not 2"),
        ({"methods": ("ksm",)}, "holds no settings of ksm"),
        ({"bn_policy": "frozen"}, "was made with --bn-policy none, not frozen"),
        ({"scenario": "cifar100-20"}, "was made with --scenario digits, not cifar100-20"),
        ({"overrides": {"backbone.width": 0.5}}, "found on small_cnn of width 1, not on small_cnn of width 0.5"),
    ],
)
def test_settings_hold_for_what_they_were_found_on(tuned: Path, changes: dict[str, Any], told: str) -> None:
    request = dataclasses.replace(Request(tuned=tuned / "tuned.yaml", epochs=1), **changes)
    with pytest.raises(RequestError, match=told):
        planned(request, load_scenario(request.scenario))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.pop("seed"), "no file of tuned settings: it has no 'seed'"),
        (lambda content: content.update(sead=1), "unknown key 'sead'"),
        (lambda content: content["methods"]["piggyback"]["settings"].update({"piggyback.lrr": 1}), "no setting 'pigg"),
        (lambda content: content["methods"]["piggyback"].pop("trial"), "they differ in 'trial'"),
        (lambda content: content["methods"]["piggyback"].update(validation="high"), "validation is 'high'"),
    ],
)
def test_a_file_that_is_none_is_refused(tuned: Path, tmp_path: Path, change: Any, told: str) -> None:
    content = yaml.safe_load((tuned / "tuned.yaml").read_text())
    change(content)
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(RequestError, match=told):
        tuned_file.read(tmp_path / "other.yaml")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": (0, 1)}, "tune takes one seed"),
        ({"selection": "last"}, "leave out --selection last"),
        ({"overrides": {"ksm.lr": 1e-3}}, "tune searches ksm.lr itself"),
        ({"overrides": {"mask.slope": [6.0, 12.0]}}, "give mask.slope one value"),
    ],
)
def test_requests_that_make_no_search(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        search_of(Request(methods=("ksm",), **changes), load_scenario("digits"), 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trials", "0"], "--trials 0 must be a whole number from 1 to 1000"),
        (["--trials", "many"], "--trials many must be"),
        (["--out", "tuned.txt"], "must be the name of a YAML file"),
        (["--out", "nowhere/tuned.yaml"], "there is no such folder"),
    ],
)
def test_the_command_refuses(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.cli.main import main

    assert main(["tune", "--method", "ksm", *words]) == 2
    assert told in capsys.readouterr().err


def test_trials_lie_beside_the_runs() -> None:
    assert trials_folder(Path("results/runs")) == Path("results/tune")
    assert trials_folder(Path("elsewhere")) == Path("elsewhere/tune")


@pytest.mark.parametrize(("reused", "seconds"), [(False, 40.0), (True, 100.0)])
def test_a_trial_is_not_charged_for_the_network_that_all_start_from(reused: bool, seconds: float) -> None:
    found = dataclasses.replace(
        record("ksm", 0, [0.5]), wall_seconds=100.0, task1_network={"seconds": 60.0, "reused": reused}
    )
    assert _seconds(found) == seconds and _seconds(None) == 0.0
