"""Whose settings a run takes: the paper's of its scenario, those for pretrained weights, or those asked for by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import learn, make_strategy, tiny_stream

from benchmark.errors import RequestError
from benchmark.plan.planning import known_protocols, planned, warnings_of
from benchmark.plan.request import request_of
from benchmark.scenarios.loader import load_scenario
from methods.engine.knobs import check_settings
from methods.engine.optimise import Group, Optimizers
from methods.engine.parts import HEAD_BIAS, HEAD_WEIGHT
from methods.engine.schedule import Plateau, Schedule
from methods.engine.state import PhaseState
from methods.engine.weight_training import training_groups
from methods.registry import METHODS
from methods.settings import TrainSettings


def settings(method: str, **wanted: Any) -> Any:
    """What a request makes of a method's settings in a user's scenario with pretrained weights."""
    scenario = dataclasses.replace(load_scenario("digits"), protocol="", pretrained=True, **wanted.pop("scenario", {}))
    (spec,) = planned(request_of({"methods": method, "scenario": "digits", **wanted}), scenario)
    return spec.settings


def test_pretrained_weights_outside_the_papers_bring_their_own_protocol() -> None:
    for method, knobs in (
        ("ksm", {"reach": 3.0, "warm_up": 0.3, "head_lr": 3e-3, "bn_lr": 1e-3, "schedule": "cosine"}),
        ("finetune", {"lr": 1e-2, "head_lr": 1e-2, "clip": 1.0}),
        ("packnet", {"lr": 1e-2, "clip": 1.0, "retrain_lr": 1e-3}),
        ("cpg", {"lr": 1e-2, "clip": 1.0}),
        ("head-only", {"lr": 1e-2}),
    ):
        found = settings(method)
        assert {name: getattr(found, name) for name in knobs} == knobs, method


def test_the_papers_rates_are_one_switch_away() -> None:
    assert settings("ksm", protocol="cifar100-20") == METHODS["ksm"].settings
    assert settings("finetune", protocol="imagenet2sketch").lr == 1e-3
    known = ("cifar100-20", "cifar100-superclass", "digits", "imagenet2sketch", "pretrained", "source")
    assert known_protocols() == known
    with pytest.raises(RequestError, match="Did you mean 'pretrained'"):
        settings("ksm", protocol="pre-trained")


def test_a_scenario_of_a_paper_keeps_its_protocol() -> None:
    scenario = load_scenario("imagenet2sketch")
    (spec,) = planned(request_of({"methods": "ksm", "scenario": "imagenet2sketch"}), scenario)
    assert (spec.settings.reach, spec.settings_of) == (None, "imagenet2sketch")  # type: ignore[attr-defined]


@pytest.mark.parametrize("knob", ["lr", "mask_lr"])
def test_a_rate_by_hand_takes_the_place_of_reach(knob: str) -> None:
    assert settings("ksm", settings={f"ksm.{knob}": 1e-3}).reach is None
    assert settings("ksm", scenario={"settings": {"masked": {knob: 1e-3}}}).reach is None
    both = settings("ksm", scenario={"settings": {"masked": {"reach": 5.0}}}, settings={f"ksm.{knob}": 1e-3})
    assert both.reach is None
    assert settings("ksm", settings={f"ksm.{knob}": 1e-3, "ksm.reach": 4.0}).reach == 4.0
    assert settings("ksm", settings={"ksm.head_lr": 1e-2}).reach == 3.0


def test_a_rate_by_hand_drives_head_and_bn_too() -> None:
    slow = settings("packnet", settings={"packnet.lr": 1e-3})
    assert (slow.head_lr, slow.head_rate(slow.retrain_lr)) == (None, slow.retrain_lr)
    assert settings("ksm", settings={"ksm.lr": 1e-4}).bn_lr is None
    assert settings("finetune", settings={"finetune.clip": 2.0}).head_lr == 1e-2


def test_a_training_of_one_step_moves_no_score_and_says_so() -> None:
    scenario = dataclasses.replace(load_scenario("digits"), protocol="", pretrained=True)
    wanted = {"methods": "ksm", "scenario": "digits", "epochs": 1, "train_limit": 20, "tasks": 2}
    (spec,) = planned(request_of(wanted), scenario)
    (warning,) = warnings_of(spec, 18)
    assert "every mask will keep everything" in warning
    assert warning.endswith("Raise ksm.reach.")


def test_every_protocol_of_every_method_is_within_its_bounds() -> None:
    for card in METHODS.values():
        for knobs in card.protocols.values():
            check_settings(dataclasses.replace(card.settings, **knobs))


# ---------------------------------------------------------------------- heads and clipping


def test_heads_have_their_own_rate_in_proportion_in_later_phases() -> None:
    plain = TrainSettings(lr=1e-2)
    assert plain.head_rate(1e-2) == 1e-2
    assert plain.head_rate(1e-3) == 1e-3
    own = TrainSettings(lr=1e-2, head_lr=5e-2)
    assert own.head_rate(1e-2) == 5e-2
    assert own.head_rate(1e-3) == pytest.approx(5e-3)
    assert TrainSettings(lr=0.0, head_lr=5e-2).head_rate(0.0) == 5e-2


def test_training_groups_part_the_head_by_its_rate() -> None:
    backbone = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    tensors = {
        "override.0.weight": torch.zeros(1, 1, 1, 1, requires_grad=True),
        "override.0.bias": torch.zeros(1, requires_grad=True),
        HEAD_WEIGHT: torch.zeros(2, 1, requires_grad=True),
        HEAD_BIAS: torch.zeros(2, requires_grad=True),
    }
    found = training_groups(tensors, backbone, TrainSettings(lr=1e-3, head_lr=1e-2, weight_decay=1e-4)).groups
    assert [(group.lr, group.weight_decay, len(group.tensors)) for group in found] == [
        (1e-3, 1e-4, 1),  # the convolution
        (1e-3, 0.0, 1),  # its bias
        (1e-2, 0.0, 2),  # the head
    ]
    assert [len(group.tensors) for group in training_groups(tensors, backbone, TrainSettings()).groups] == [1, 3]


@pytest.mark.parametrize(("clip", "moved"), [(None, 5.0), (10.0, 5.0), (1.0, 1.0)])
def test_gradients_are_clipped_together(clip: float | None, moved: float) -> None:
    """Two tensors with gradients 3 and 4: norm 5."""
    one, two = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizers = Optimizers([Group([tensor], "sgd", 1.0, Schedule()) for tensor in (one, two)], clip)
    one.grad, two.grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizers.step()
    assert float(one**2 + two**2) ** 0.5 == pytest.approx(moved)
    assert float(two / one) == pytest.approx(4 / 3)


# ---------------------------------------------------------------------- plateau


def test_rates_fall_where_the_loss_stops_falling() -> None:
    state = PhaseState("train")
    rule = Plateau(patience=2, factor=0.5, lr=0.1, least=0.03)
    scales = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.8, 0.85, 0.85):
        state.follow(rule, loss)
        scales.append(state.scale)
    # two epochs without a lower loss, twice; equal is not lower
    assert scales == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert not rule.ends(0.5) and rule.ends(0.25)


@pytest.mark.parametrize("name", ["ksm", "head-only", "packnet"])
def test_a_phase_with_a_plateau_rule_ends_when_the_rate_has_fallen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = make_strategy(name, epochs=9, pretrained=True)
    strategy.settings = dataclasses.replace(
        strategy.settings, schedule="plateau", patience=1, gamma=0.1, lr=0.01, least_lr=0.0005
    )
    losses = iter([3.0, 3.0, 2.0, 2.5, 2.5, 2.5])
    monkeypatch.setattr(type(strategy), "selection_loss", lambda self, task: next(losses))
    learn(strategy, tiny_stream(1)[0])
    curve = [point for point in strategy.progress.curve if point["phase"] == "train"]
    # the rate falls after epochs 2 and 4, then it is below the least
    rate = curve[0]["lr"]
    assert [point["lr"] / rate for point in curve] == [1, 1, pytest.approx(0.1), pytest.approx(0.1)]


def test_without_images_to_select_on_the_training_loss_decides() -> None:
    strategy = make_strategy("head-only", epochs=2, pretrained=True)
    experiences, _ = tiny_stream(1)
    experiences[0].task_images = dataclasses.replace(experiences[0].task_images, selection=None)
    strategy.settings = dataclasses.replace(strategy.settings, schedule="plateau", patience=1, gamma=0.1)
    learn(strategy, experiences)
    assert len(strategy.progress.curve) == 2


# ---------------------------------------------------------------------- real weights

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.mark.exhaustive
@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason=f"no ImageNet weights in {SHARED / 'weights'}")
@pytest.mark.skipif(not (SHARED / "data" / "multidomain").is_dir(), reason=f"no images in {SHARED / 'data'}")
def test_no_method_is_ruined_on_a_network_without_bn(tmp_path: Path) -> None:
    """docs/findings.md shows it on two networks, three domains and two seeds; here one domain, in small."""
    import benchmark as mb

    art = SHARED / "data" / "multidomain" / "pacs_art"
    (tmp_path / "art.yaml").write_text(
        f"backbone: squeezenet1_1\nimage_size: 64\nnormalisation: imagenet\n"
        f"weights: {SHARED / 'weights' / 'squeezenet1_1_imagenet.safetensors'}\n"
        f"tasks: [{{name: art, train: {art / 'train.parquet'}, test: {art / 'test.parquet'}}}]\n"
    )
    found = mb.run(
        tmp_path / "art.yaml", "head-only,finetune,packnet,piggyback,ksm", epochs=8, train_limit=600, test_limit=500,
        threads=1, results=tmp_path / "runs",
    )  # fmt: skip
    accuracies = {record.spec["method"]: record.mean_accuracy or 0.0 for record in found.records}
    assert accuracies["head-only"] > 0.4
    for accuracy in accuracies.values():
        assert accuracy > accuracies["head-only"] - 0.06, accuracies  # one task, one seed: 2 points and sampling error
