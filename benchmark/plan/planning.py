"""A request on a scenario -> RunSpecs: methods x seeds x swept settings, every default resolved. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError, did_you_mean
from benchmark.plan.crossing import bases, points
from benchmark.plan.device import device_of
from benchmark.plan.needed import with_needed
from benchmark.plan.overrides import require_used, variants
from benchmark.plan.request import DEFAULT_METHODS, Request, method_names
from benchmark.plan.run_parts import Backbone, Batches
from benchmark.plan.shards import shard_of
from benchmark.plan.source_protocol import reference_for, require_source, source_of, task_settings
from benchmark.plan.spec import RunSpec
from benchmark.scenarios.contract import Augmentation, Scenario
from methods.card import PRETRAINED, SOURCE, USUAL, Card
from methods.engine.knobs import knobs_of
from methods.engine.schedule import driving_knob, score_travel
from methods.registry import METHODS, reference
from methods.settings import MaskedSettings
from results.schema import SQUARE, WHOLE

if TYPE_CHECKING:
    from benchmark.tuning.tuned_file import Tuned


def weights_sha256(request: Request, scenario: Scenario) -> str | None:
    """Of the file that the backbone starts from; None without one. Raises RequestError."""
    from benchmark.backbones.weights import file_sha256

    weights = request.weights or scenario.weights
    return file_sha256(weights) if weights is not None else None


def planned(request: Request, scenario: Scenario) -> list[RunSpec]:
    """Every run of a request, or of its part. Raises RequestError."""
    request = with_tuned_methods(request)
    require_settings_used(request, scenario, bases(request))
    return shard_of(list(plan(request, scenario, weights_sha256(request, scenario))), request.shard)


def plan(request: Request, scenario: Scenario, sha256: str | None) -> Iterator[RunSpec]:
    """One RunSpec per (method, seed), seeds outermost so that a first comparison is there early; of a grid one per
    point and seed, each once. Before a run that starts from another one's networks comes that one.

    Raises:
        RequestError: the request does not fit the scenario.
    """
    check(request, scenario)
    yield from with_needed(_asked_for(request, scenario, sha256))


def _asked_for(request: Request, scenario: Scenario, sha256: str | None) -> Iterator[RunSpec]:
    if request.grid is not None:
        yield from _grid(request, scenario, sha256)
        return
    tuned = tuned_settings(request, scenario)
    cards = [METHODS[name] for name in method_names(request.methods)]
    pretrained = starts_pretrained(request, scenario)
    shared = reference(pretrained).name
    for seed in request.seeds:
        for card in cards:
            found = {**tuned.chosen[card.name].settings, **request.overrides} if tuned else request.overrides
            for overrides in variants(found, card, shared, uses_reference(card, pretrained)):
                spec = _spec(request, scenario, card, seed, sha256, overrides)
                yield tuned.marked(spec) if tuned else spec


def with_tuned_methods(request: Request) -> Request:
    """Where ``--tuned`` is given and no method is named: the file's. Raises RequestError."""
    if request.tuned is None or request.methods != DEFAULT_METHODS:
        return request
    from benchmark.tuning.tuned_file import read

    return dataclasses.replace(request, methods=tuple(read(request.tuned).chosen))


def tuned_settings(request: Request, scenario: Scenario) -> Tuned | None:
    """What ``--tuned`` holds for the methods of the request. Raises RequestError: not all of them, or another plan."""
    if request.tuned is None:
        return None
    from benchmark.tuning.tuned_file import read

    tuned = read(request.tuned)
    tuned.require_fit(request, scenario.name, method_names(request.methods))
    return tuned


def _grid(request: Request, scenario: Scenario, sha256: str | None) -> Iterator[RunSpec]:
    seen: set[str] = set()
    for seed in request.seeds:
        for point in points(dataclasses.replace(request, seeds=(seed,))):
            for spec in plan(point, scenario, sha256):
                if spec.run_id not in seen:
                    seen.add(spec.run_id)
                    yield spec


def starts_pretrained(request: Request, scenario: Scenario) -> bool:
    """The backbone comes with weights."""
    return scenario.pretrained or request.weights is not None


def uses_reference(card: Card, pretrained: bool) -> bool:
    """The method starts from a task-1 network, or has accuracy goals, which another method trains."""
    return card.starts_from_task1(pretrained) or card.needs.goal


def require_settings_used(request: Request, scenario: Scenario, methods: tuple[str, ...]) -> None:
    """Raises RequestError for a setting that none of the methods (or groups) has."""
    cards, pretrained = [METHODS[name] for name in method_names(methods)], starts_pretrained(request, scenario)
    references = {card.name: reference(pretrained).name for card in cards if uses_reference(card, pretrained)}
    require_used(request.overrides, cards, references)


def check(request: Request, scenario: Scenario) -> None:
    """The tasks asked for are there, the protocol is known. Raises RequestError."""
    if request.grid is not None and request.tuned is not None:
        raise RequestError("--grid crosses choices under one protocol, --tuned sets them by method: leave out one.")
    count = len(scenario.task_names)
    require_tasks(request.tasks, scenario)
    if not 1 <= request.initial_task <= (request.tasks or count):
        raise RequestError(
            f"--initial-task {request.initial_task} is not among the first {request.tasks or count} tasks of "
            f"{scenario.name}; choose 1 to {request.tasks or count} or raise --tasks."
        )
    if scenario.pretrained and request.initial_task != 1:
        raise RequestError(f"{scenario.name} starts from pretrained weights: --initial-task has no meaning there.")
    if request.protocol is not None and request.protocol not in known_protocols():
        raise RequestError(
            f"--protocol {request.protocol!r} is unknown.{did_you_mean(request.protocol, known_protocols())} "
            f"Choose one of {', '.join(known_protocols())}."
        )
    require_source(request.protocol, scenario)


def require_tasks(tasks: int | None, scenario: Scenario) -> None:
    """Raises RequestError: the scenario has fewer tasks."""
    if tasks is not None and tasks > len(scenario.task_names):
        raise RequestError(f"{scenario.name} has {len(scenario.task_names)} tasks, --tasks {tasks} asks for more.")


def task_order(request: Request, scenario: Scenario) -> tuple[int, ...]:
    """1-based indices in the order of learning: the initial task first, the others as in the scenario."""
    count = request.tasks or len(scenario.task_names)
    rest = [index for index in range(1, count + 1) if index != request.initial_task]
    return (request.initial_task, *rest)


def protocol_name(request: Request, scenario: Scenario) -> str:
    """Whose settings the methods take: those asked for, those of the scenario's paper, or, where a scenario of no paper
    starts from pretrained weights, those for pretrained weights."""
    if request.protocol is not None:
        return request.protocol
    return (
        PRETRAINED
        if starts_pretrained(request, scenario) and scenario.protocol not in known_protocols()
        else scenario.protocol
    )


def known_protocols() -> tuple[str, ...]:
    """Names of protocols for which some method's card sets something, and that of the cards' defaults."""
    return tuple(sorted({USUAL, SOURCE, *(name for card in METHODS.values() for name in card.protocols)}))


def settings_of(card: Card, request: Request, scenario: Scenario, overrides: Mapping[str, Any]) -> Any:
    """The method's defaults, then its protocol's, then the scenario's own, then ``--epochs``, then ``--set``."""
    chosen, own = _section(overrides, card.name), dict(scenario.settings.get(card.section, {}))
    name = protocol_name(request, scenario)
    protocol = dict(card.protocols.get(scenario.protocol if name == SOURCE else name, {}))
    protocol |= source_of(card, name, scenario).knobs
    for name, about in knobs_of(card.settings).items():
        if any(knob in chosen for knob in about.yields_to):
            own.pop(name, None)
        if any(knob in chosen or knob in own for knob in about.yields_to):
            protocol.pop(name, None)
    settings = dataclasses.replace(card.settings, **{**protocol, **own})
    if request.epochs is not None:
        settings = settings.with_epochs(request.epochs)
    if "epochs" in chosen:
        settings = settings.with_epochs(chosen.pop("epochs"))
    return dataclasses.replace(settings, **chosen)


def _section(overrides: Mapping[str, Any], section: str) -> dict[str, Any]:
    prefix = section + "."
    return {key.removeprefix(prefix): value for key, value in overrides.items() if key.startswith(prefix)}


def _spec(
    request: Request,
    scenario: Scenario,
    card: Card,
    seed: int,
    sha256: str | None,
    overrides: Mapping[str, Any],
) -> RunSpec:
    from benchmark.backbones.builder import require_known

    name = request.backbone or scenario.backbone
    require_known(name)
    order = task_order(request, scenario)
    names = tuple(scenario.task_names[index - 1] for index in order)
    options = dict(scenario.backbone_options) if name == scenario.backbone else {}
    protocol = protocol_name(request, scenario)
    source = source_of(card, protocol, scenario)
    batches, augmentation = _section(overrides, "protocol"), dict(source.augmentation)
    for key in knobs_of(Augmentation):
        if key in batches:
            augmentation[key] = batches.pop(key)
    weights = request.weights or scenario.weights
    pretrained, of = starts_pretrained(request, scenario), card.needs.networks_of
    trainer = reference_for(card, reference(pretrained), protocol, scenario)
    return RunSpec(
        scenario=scenario.name,
        scenario_title=scenario.title or scenario.name,
        method=card.name,
        seed=seed,
        task_indices=order,
        task_names=names,
        initial_task=request.initial_task,
        selection=request.selection,
        bn_policy=request.bn_policy or source.bn_policy or card.bn_policy,
        backbone=Backbone(
            name=name,
            channels=scenario.channels,
            image_size=scenario.image_size,
            pretrained=pretrained,
            weights=weights.name if weights else None,
            weights_sha256=sha256,
            **{**options, **_section(overrides, "backbone")},
        ),
        protocol=Batches(
            **{"batch_size": scenario.batch_size, "eval_batch_size": scenario.eval_batch_size, **batches},
            augmentation=augmentation,
        ),
        settings=settings_of(card, request, scenario, overrides),
        scratch=settings_of(trainer, request, scenario, overrides),
        mask=dataclasses.replace(card.mask, **_section(overrides, "mask")) if card.mask else None,
        networks=settings_of(METHODS[of], request, scenario, overrides) if of is not None else None,
        task_settings=task_settings(card, trainer, protocol, scenario, names, overrides),
        train_limit=request.train_limit,
        test_limit=request.test_limit,
        device=device_of(request.device).split(":")[0],
        precision=request.precision,
        compile=request.compile,
        crops=WHOLE if set(order) & set(scenario.whole) else SQUARE,
        synthetic=request.synthetic_data,
        settings_of=protocol,
    )


def augmentation_of(spec: RunSpec, own: Augmentation) -> Augmentation:
    """A task's augmentation with what ``--set protocol.*`` replaces."""
    return dataclasses.replace(own, **spec.protocol.augmentation)


def warnings_of(spec: RunSpec, train_images: int) -> list[str]:
    """What a user should know before the run starts; ``train_images``: per task, after limit and validation split."""
    found = []
    if spec.mask is not None:
        steps = max(1, -(-train_images // spec.protocol.batch_size))
        assert isinstance(spec.settings, MaskedSettings)
        travel = score_travel(spec.settings, spec.mask, steps)
        distance = abs(spec.mask.initial - spec.mask.threshold) - spec.mask.initial_spread
        if spec.mask.keep == "threshold" and travel <= distance:
            knob = driving_knob(spec.settings)
            longer = "" if knob == "reach" else "Train longer or "
            found.append(
                f"{spec.method}: epochs x steps x learning rate = {travel:.4f} is too small for any mask score to "
                f"cross the threshold ({distance:.4f} away): every mask will keep everything. {longer}"
                f"{'Raise' if not longer else 'raise'} {spec.method}.{knob}."
            )
    if spec.synthetic and spec.backbone.pretrained and spec.backbone.weights is None:
        found.append("no --weights: the backbone starts from random ones, which changes no time and no size rule.")
    if METHODS[spec.method].needs.goal and spec.selection == "last":
        found.append(
            f"{spec.method}: with --selection last there are no images to compare with an accuracy goal; its training "
            "accuracy decides instead."
        )
    return found
