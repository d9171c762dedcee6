"""From a request to RunSpecs: the cross product of methods and seeds, every default resolved. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.plan.spec import BACKBONE, RunSpec
from benchmark.scenarios.contract import Augmentation, Scenario
from methods.card import BN_POLICIES, Card
from methods.engine.knobs import MaskSettings, Settings, TrainSettings, done_before
from methods.registry import GROUPS, METHODS, reference

SELECTIONS = ("validation", "last", "legacy-test")
DEFAULT_METHODS = ("paper",)


@dataclass(frozen=True)
class Request:
    """What a user asked for; None: the scenario's or method's own default."""

    scenario: str = "digits"
    methods: tuple[str, ...] = DEFAULT_METHODS
    seeds: tuple[int, ...] = (0,)
    tasks: int | None = None
    train_limit: int | None = None
    test_limit: int | None = None
    epochs: int | None = None
    backbone: str | None = None
    weights: Path | None = None
    bn_policy: str | None = None
    selection: str = "validation"
    initial_task: int = 1
    device: str = "cpu"
    precision: str = "fp32"
    compile: str = "off"
    overrides: Mapping[str, Any] = field(default_factory=dict)


def method_names(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Names and groups -> names, each once, in the order given.

    Raises:
        RequestError: an unknown name.
    """
    names: dict[str, None] = {}
    for name in wanted:
        if name not in METHODS and name not in GROUPS:
            known = (*METHODS, *GROUPS)
            raise RequestError(
                f"There is no method {name!r}.{did_you_mean(name, known)} Methods are {', '.join(METHODS)}; "
                f"groups are {', '.join(GROUPS)}."
            )
        names |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(names)


def plan(request: Request, scenario: Scenario, weights_sha256: str | None) -> Iterator[RunSpec]:
    """One RunSpec per (method, seed), seeds outermost so that a first comparison is there early.

    Raises:
        RequestError: the request does not fit the scenario.
    """
    check(request, scenario)
    for seed in request.seeds:
        for name in method_names(request.methods):
            yield _spec(request, scenario, METHODS[name], seed, weights_sha256)


def check(request: Request, scenario: Scenario) -> None:
    """Numbers within bounds, names known, the initial task among the tasks. Raises RequestError."""
    count = len(scenario.task_names)
    for name, value in (
        ("--epochs", request.epochs),
        ("--train-limit", request.train_limit),
        ("--test-limit", request.test_limit),
        ("--tasks", request.tasks),
    ):
        if value is not None and value < 1:
            raise RequestError(f"{name} must be at least 1, not {value}.")
    if request.tasks is not None and request.tasks > count:
        raise RequestError(f"{scenario.name} has {count} tasks, --tasks {request.tasks} asks for more.")
    if not 1 <= request.initial_task <= (request.tasks or count):
        raise RequestError(
            f"--initial-task {request.initial_task} is not among the first {request.tasks or count} tasks of "
            f"{scenario.name}; choose 1 to {request.tasks or count} or raise --tasks."
        )
    if scenario.pretrained and request.initial_task != 1:
        raise RequestError(f"{scenario.name} starts from pretrained weights: --initial-task has no meaning there.")
    for option, chosen, known in (
        ("--selection", request.selection, SELECTIONS),
        ("--bn-policy", request.bn_policy, (None, *BN_POLICIES)),
    ):
        if chosen not in known:
            choices = ", ".join(item for item in known if item)
            raise RequestError(f"{option} {chosen!r} is unknown; choose one of {choices}.")


def task_order(request: Request, scenario: Scenario) -> tuple[int, ...]:
    """1-based indices in the order of learning: the initial task first, the others as in the scenario."""
    count = request.tasks or len(scenario.task_names)
    rest = [index for index in range(1, count + 1) if index != request.initial_task]
    return (request.initial_task, *rest)


def settings_of(card: Card, request: Request, scenario: Scenario) -> Settings:
    """The method's defaults, then what its source or the scenario sets there, then ``--epochs``, then ``--set``."""
    protocol = {**card.protocols.get(scenario.protocol, {}), **scenario.settings.get(card.section, {})}
    settings = dataclasses.replace(card.settings, **protocol)
    if request.epochs is not None:
        settings = settings.with_epochs(request.epochs)
    chosen = _section(request.overrides, card.name)
    if "epochs" in chosen:
        settings = settings.with_epochs(chosen.pop("epochs"))
    return dataclasses.replace(settings, **chosen)


def _section(overrides: Mapping[str, Any], section: str) -> dict[str, Any]:
    prefix = section + "."
    return {key.removeprefix(prefix): value for key, value in overrides.items() if key.startswith(prefix)}


def _spec(request: Request, scenario: Scenario, card: Card, seed: int, weights_sha256: str | None) -> RunSpec:
    from benchmark.backbones.registry import known_backbones

    name = request.backbone or scenario.backbone
    if name not in known_backbones():
        raise RequestError(
            f"There is no backbone {name!r}.{did_you_mean(name, known_backbones())} Known are "
            f"{', '.join(known_backbones())}."
        )
    order = task_order(request, scenario)
    overrides = request.overrides
    options = dict(scenario.backbone_options) if name == scenario.backbone else {}
    protocol = {"batch_size": scenario.batch_size, "eval_batch_size": scenario.eval_batch_size}
    augmentation = _section(overrides, "protocol")
    protocol |= {key: augmentation.pop(key) for key in tuple(protocol) if key in augmentation}
    mask = dataclasses.replace(card.mask, **_section(overrides, "mask")) if card.mask else None
    weights = request.weights or scenario.weights
    pretrained = scenario.pretrained or request.weights is not None
    return RunSpec(
        scenario=scenario.name,
        scenario_title=scenario.title or scenario.name,
        method=card.name,
        seed=seed,
        task_indices=order,
        task_names=tuple(scenario.task_names[index - 1] for index in order),
        initial_task=request.initial_task,
        selection=request.selection,
        bn_policy=request.bn_policy or card.bn_policy,
        backbone={
            "name": name,
            **BACKBONE,
            **options,
            **_section(overrides, "backbone"),
            "channels": scenario.channels,
            "image_size": scenario.image_size,
            "pretrained": pretrained,
            "weights": weights.name if weights else None,
            "weights_sha256": weights_sha256,
        },
        protocol=protocol | {"augmentation": augmentation},
        settings=dataclasses.asdict(settings_of(card, request, scenario)),
        scratch=dataclasses.asdict(settings_of(reference(pretrained), request, scenario)),
        mask=dataclasses.asdict(mask) if mask else None,
        train_limit=request.train_limit,
        test_limit=request.test_limit,
        device=request.device.split(":")[0],
        precision=request.precision,
        compile=request.compile,
    )


def resolved_settings(spec: RunSpec) -> Settings:
    """The spec's settings as the method's dataclass; knobs that are younger than the spec do as was done then."""
    kind = type(METHODS[spec.method].settings)
    return kind(**{**done_before(kind), **_tuples(spec.settings)})


def scratch_settings(spec: RunSpec) -> TrainSettings:
    """The task-1 network's settings."""
    return TrainSettings(**_tuples(spec.scratch))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists, as JSON has them, as the tuples that settings hold."""
    return {key: tuple(item) if isinstance(item, list) else item for key, item in values.items()}


def mask_settings(spec: RunSpec) -> MaskSettings | None:
    """The spec's point of the mask grid."""
    return MaskSettings(**spec.mask) if spec.mask is not None else None


def augmentation_of(spec: RunSpec, own: Augmentation) -> Augmentation:
    """A task's augmentation with what ``--set protocol.*`` replaces."""
    return dataclasses.replace(own, **spec.protocol.get("augmentation", {}))


def warnings_of(spec: RunSpec, train_images: int) -> list[str]:
    """What a user should know before the run starts; ``train_images``: per task, after limit and validation split."""
    found = []
    if spec.mask is not None:
        steps = max(1, -(-train_images // spec.protocol["batch_size"]))
        reach = steps * _rate_sum(spec.settings)
        distance = abs(spec.mask["initial"] - spec.mask["threshold"]) - spec.mask.get("initial_spread", 0.0)
        if spec.mask.get("keep", "threshold") == "threshold" and reach <= distance:
            found.append(
                f"{spec.method}: epochs x steps x learning rate = {reach:.4f} is too small for any mask score to cross "
                f"the threshold ({distance:.4f} away): every mask will keep everything. Train longer or raise "
                f"{spec.method}.lr."
            )
    if METHODS[spec.method].needs.goal and spec.selection == "last":
        found.append(
            f"{spec.method}: with --selection last there are no images to compare with an accuracy goal; its training "
            "accuracy decides instead."
        )
    return found


def _rate_sum(settings: Mapping[str, Any]) -> float:
    """Sum over epochs of the learning rate (Adam moves a score by about the rate each step)."""
    epochs, own = settings["epochs"], settings.get("mask_lr")
    rate = settings["lr"] if own is None else own
    if settings["schedule"] == "cosine":
        return float(rate * epochs / 2)
    if settings["schedule"] == "step":
        milestones, gamma = settings["milestones"], settings["gamma"]
        return float(sum(rate * gamma ** sum(epoch >= item for item in milestones) for epoch in range(epochs)))
    return float(rate * epochs)
