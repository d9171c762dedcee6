"""``--protocol source``: what each method's own code did on ImageNet-to-Sketch, as settings and as training."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream

from benchmark.errors import RequestError
from benchmark.plan.papers import PRESETS
from benchmark.plan.planning import plan
from benchmark.plan.request import Request
from benchmark.plan.spec import RunSpec
from benchmark.plan.tables import expand
from benchmark.scenarios.loader import load_scenario
from methods.card import SOURCE
from methods.engine.knobs import check_settings
from methods.engine.optimise import Group, Optimizers
from methods.engine.parts import OVERRIDE
from methods.engine.schedule import Plateau, Schedule
from methods.engine.state import PhaseState
from methods.registry import METHODS

CARS = "stanford_cars_cropped"
SHA256 = "ab" * 32


def specs(**request: Any) -> dict[str, RunSpec]:
    scenario = load_scenario(str(request.pop("scenario", "imagenet2sketch")))
    wanted = Request(scenario=scenario.name, device="cpu", **request)
    return {spec.method: spec for spec in plan(wanted, scenario, SHA256)}


# ---------------------------------------------------------------------- settings


def test_what_the_sources_did_otherwise() -> None:
    usual, source = specs(), specs(protocol=SOURCE)
    for method in ("finetune", "piggyback", "ksm"):
        assert source[method].run_id == usual[method].run_id
    packnet, cpg = source["packnet"], source["cpg"]
    assert (usual["packnet"].bn_policy, packnet.bn_policy) == ("per-task", "frozen")
    assert packnet.settings == usual["packnet"].settings
    settings: Any = cpg.settings
    assert (settings.epochs, settings.schedule, settings.plateau_of, settings.patience) == (
        300,
        "plateau",
        "accuracy",
        5,
    )
    assert (settings.most_falls, settings.pick_gamma, settings.pruned_epoch) == (3, 0.2, "best")
    assert cpg.protocol.augmentation == {"cutout": 16} and not packnet.protocol.augmentation
    assert cpg.task_settings == {CARS: {"settings.lr": 1e-2, "scratch.lr": 1e-2}}
    # its goal maker: SGD with Nesterov's momentum and decay, at most 100 epochs
    goal = cpg.scratch
    assert (goal.epochs, goal.lr, goal.nesterov, goal.weight_decay, goal.patience) == (100, 1e-3, True, 4e-5, 10)
    assert all(spec.task_settings is None for spec in source.values() if spec is not cpg)


def test_runs_of_other_protocols_keep_their_names() -> None:
    """As they were before there was the protocol, but for random crops, which now come from whole images."""
    assert all(spec.crops == "whole" for spec in specs().values())
    assert {dataclasses.replace(spec, crops="square").run_id for spec in specs().values()} == {
        "imagenet2sketch-finetune-s0-1a790efd04", "imagenet2sketch-packnet-s0-e4336518c4",
        "imagenet2sketch-piggyback-s0-954e0de07f", "imagenet2sketch-cpg-s0-5093836e53",
        "imagenet2sketch-ksm-s0-6401ba9349",
    }  # fmt: skip


def test_what_the_user_sets_goes_for_all_tasks() -> None:
    found = specs(protocol=SOURCE, bn_policy="per-task", overrides={"cpg.lr": 5e-3, "protocol.cutout": 0})
    assert found["cpg"].task_settings == {CARS: {"scratch.lr": 1e-2}}
    assert found["cpg"].protocol.augmentation == {"cutout": 0}
    assert found["packnet"].bn_policy == "per-task"
    assert specs(protocol=SOURCE, tasks=1)["cpg"].task_settings is None  # birds alone
    assert specs(protocol=SOURCE, epochs=2)["cpg"].scratch.epochs == 2


@pytest.mark.parametrize("scenario", ["digits", "cifar100-20"])
def test_where_no_source_did_otherwise_the_protocol_is_refused(scenario: str) -> None:
    with pytest.raises(RequestError, match=f"--protocol source says nothing of {scenario}: .* leave it out"):
        specs(scenario=scenario, protocol=SOURCE)


def test_single_tasks_settings_are_read_back_from_a_record() -> None:
    spec = specs(protocol=SOURCE)["cpg"]
    value = json.loads(json.dumps(spec.to_json()))
    again = RunSpec.from_json(value)
    assert again.run_id == spec.run_id and again.task_settings == spec.task_settings
    assert again.of_task(CARS, "settings") == {"lr": 1e-2} and again.of_task("flowers", "settings") == {}
    for wrong in ({CARS: {"settings.speed": 1}}, {CARS: {"lr": 1}}, {CARS: 3}, [1], {CARS: {"settings.lr": "fast"}}):
        with pytest.raises(ValueError, match="its settings of single tasks are not readable"):
            RunSpec.from_json({**value, "task_settings": wrong})


def test_sources_are_within_their_bounds() -> None:
    for card in METHODS.values():
        for protocol, source in card.sources.items():
            for knobs in ({}, *source.tasks.values()):
                check_settings(
                    dataclasses.replace(card.settings, **{**card.protocols.get(protocol, {}), **source.knobs, **knobs})
                )


def test_table2_is_the_five_methods_under_their_sources_protocol() -> None:
    preset, scenario = PRESETS["table2"], load_scenario("imagenet2sketch")
    request = Request(scenario=scenario.name, selection=preset.selection, protocol=preset.protocol, device="cpu")
    found = list(expand(preset, request, scenario, SHA256))
    assert [spec.method for spec in found] == ["ksm", "piggyback", "finetune", "packnet", "cpg"]
    assert {(spec.settings_of, spec.selection, len(spec.task_names)) for spec in found} == {(SOURCE, "legacy-test", 5)}


# ---------------------------------------------------------------------- the plateau rule on accuracy


def test_accuracy_must_become_higher_and_the_last_fall_is_followed_by_one_epoch() -> None:
    state = PhaseState("train")
    rule = Plateau(patience=2, factor=0.1, lr=1.0, least=0.0, of="accuracy", most=2)
    seen = []
    for accuracy in (0.5, 0.5, 0.4, 0.6, 0.6, 0.6, 0.9, 0.9):
        state.follow(rule, -accuracy)
        seen.append((state.falls, state.plateau_ends(rule)))
    # falls after the third and the sixth epoch; the seventh is the last
    assert [falls for falls, _ in seen] == [0, 0, 1, 1, 1, 2, 2, 2]
    assert [ends for _, ends in seen] == [False] * 6 + [True] * 2


def test_picks_fall_once_and_by_their_own_factor() -> None:
    one, two = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    even = Schedule("plateau", 9)
    optimizers = Optimizers([Group([one], "sgd", 1.0, even), Group([two], "adam", 0.5, even, falls=(0.2,))])
    rates = []
    for falls, reduced in ((0, 1.0), (1, 0.1), (2, 0.01)):
        optimizers.falls, optimizers.reduced = falls, reduced
        optimizers.set_rates(3)
        rates.append([entry["lr"] for entry in optimizers.param_groups])
    assert rates == [[1.0, 0.5], [0.1, pytest.approx(0.1)], [0.01, pytest.approx(0.1)]]


def test_cpg_trains_by_accuracy_and_keeps_the_best_epoch_after_the_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = make_strategy("cpg", epochs=9, pretrained=True)
    strategy.settings = dataclasses.replace(
        strategy.settings, schedule="plateau", plateau_of="accuracy", patience=1, most_falls=2, lr=0.01,
        min_train_accuracy=0.0, prune_ratios=(0.3,), prune_epochs=4, prune_ramp=3, pruned_epoch="best",
        retrain_epochs=0,
    )  # fmt: skip
    # trains four epochs: better, worse (fall), worse (fall), and one more; then four of the ratio, of which the first
    # two lie within the ramp
    answers = iter([0.5, 0.4, 0.4, 0.3, 0.9, 0.9, 0.6, 0.7])
    monkeypatch.setattr(type(strategy), "selection_accuracy", lambda self, task: next(answers))
    learn(strategy, tiny_stream(1)[0])
    progress = strategy.progress
    rates = [point["lr"] for point in progress.curve if point["phase"] == "train"]
    assert [rate / rates[0] for rate in rates] == [1, 1, pytest.approx(0.1), pytest.approx(0.01)]
    assert progress.done["train"]["epochs"] == 4 and progress.done["train"]["best_epoch"] == 1
    pruned = progress.done["prune 0.3"]
    assert (pruned["selection"], pruned["best_epoch"]) == (0.7, 4)


def test_a_task_may_have_a_rate_of_its_own() -> None:
    strategy = make_strategy("head-only", epochs=1, pretrained=True, task_settings={1: {"lr": 0.5}})
    rates = []
    for experience in tiny_stream(3)[0]:
        learn(strategy, [experience])
        rates.append(strategy.progress.curve[0]["lr"])
    usual = METHODS["head-only"].settings.lr
    assert rates == [usual, 0.5, usual]


def test_frozen_packnet_leaves_biases_and_bn_as_they_came() -> None:
    strategy = make_strategy("packnet", epochs=2, pretrained=True, bn_policy="frozen")
    before = {name: tensor.clone() for name, tensor in strategy.latest.items()}
    learn(strategy, tiny_stream(2)[0])
    assert "hidden.bias" in before and "bn1.running_mean" in before
    assert all(torch.equal(tensor, strategy.latest[name]) for name, tensor in before.items())
    assert not any(name.startswith(OVERRIDE) for parts in strategy.learned.values() for name in parts)
