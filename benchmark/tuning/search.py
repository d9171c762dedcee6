"""``tune``: trials of every method on validation images, then the best settings of each.

A trial is a run like any other, in a results folder of its own: it is locked, resumed after a kill, carried out by as
many workers as runs are, and not repeated when it is finished. Its accuracies are of the images held out from training.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError
from benchmark.plan.overrides import checked
from benchmark.plan.planning import plan, require_settings_used, weights_sha256
from benchmark.plan.request import Request, method_names
from benchmark.plan.spec import RunSpec
from benchmark.tuning import ledger, tuned_file
from benchmark.tuning.ledger import Outcome
from benchmark.tuning.proposals import Axis, axes, proposal
from methods.registry import METHODS
from results.locations import trials_folder
from results.schema import VALIDATION

if TYPE_CHECKING:
    from benchmark.scenarios.contract import Scenario
    from results.schema import RunRecord

#: trials of a method, and tasks that a trial learns, unless told otherwise
TRIALS, TASKS = 8, 3
MOST_TRIALS = 1000


@dataclass(frozen=True)
class Trial:
    """One set of settings of one method, as a run; ``first``: the same on the first task alone, for pruning."""

    method: str
    number: int
    proposed: Mapping[str, Any]
    spec: RunSpec
    first: RunSpec


@dataclass(frozen=True)
class Search:
    """All trials of a command."""

    request: Request
    scenario: Scenario
    spaces: Mapping[str, tuple[Axis, ...]]
    trials: tuple[Trial, ...]  #: by number, so that all methods have come equally far at any time

    def of(self, method: str) -> list[Trial]:
        """A method's trials, by number."""
        return [trial for trial in self.trials if trial.method == method]


def count_of(given: str | int) -> int:
    """A number of trials. Raises RequestError."""
    try:
        count = int(given)
    except ValueError:
        count = 0
    if not 1 <= count <= MOST_TRIALS:
        raise RequestError(f"--trials {given} must be a whole number from 1 to {MOST_TRIALS}.")
    return count


def search_of(request: Request, scenario: Scenario, count: int) -> Search:
    """The trials that a request asks for: ``count`` of every method.

    Raises:
        RequestError: the request does not fit the scenario, or a method cannot be searched.
    """
    if request.selection != VALIDATION:
        raise RequestError(f"tune chooses on validation images; leave out --selection {request.selection}.")
    if request.synthetic_data:
        raise RequestError("tune chooses by accuracy, of which generated images have none: leave out --synthetic-data.")
    if len(request.seeds) != 1:
        raise RequestError(
            f"tune takes one seed, not {len(request.seeds)}; 'run --tuned' then takes as many as you like."
        )
    if request.shard is not None:
        raise RequestError("tune compares all of its trials; leave out --shard.")
    if request.tuned is not None:
        raise RequestError("tune makes the file that --tuned takes; leave --tuned out.")
    if swept := [key for key, value in request.overrides.items() if isinstance(value, list)]:
        raise RequestError(f"tune searches by itself: give {swept[0]} one value, or leave it out.")
    names = method_names(request.methods)
    require_settings_used(request, scenario, names)
    sha256 = weights_sha256(request, scenario)
    trial_request = dataclasses.replace(
        request, tasks=request.tasks or min(TASKS, len(scenario.task_names)), results=trials_folder(request.results)
    )
    spaces = {name: _space(trial_request, scenario, name, sha256) for name in names}
    trials = []
    for number in range(count):
        for name in names:
            proposed = proposal(spaces[name], request.seeds[0], name, number)
            overrides = {**request.overrides, **checked(proposed)}
            specs = [
                dataclasses.replace(_only(changed, scenario, sha256), measured_on=VALIDATION)
                for changed in (
                    dataclasses.replace(trial_request, methods=(name,), overrides=overrides, tasks=tasks)
                    for tasks in (trial_request.tasks, 1)
                )
            ]
            trials.append(Trial(name, number, proposed, *specs))
    return Search(trial_request, scenario, spaces, tuple(trials))


def _only(request: Request, scenario: Scenario, sha256: str | None) -> RunSpec:
    (spec,) = plan(request, scenario, sha256)
    return spec


def _space(request: Request, scenario: Scenario, name: str, sha256: str | None) -> tuple[Axis, ...]:
    spec = _only(dataclasses.replace(request, methods=(name,)), scenario, sha256)
    space = axes(METHODS[name], spec.settings, spec.mask)
    if fixed := [axis.key for axis in space if axis.key in request.overrides]:
        raise RequestError(f"tune searches {fixed[0]} itself; leave out --set {fixed[0]}.")
    return space


def carry_out(search: Search, out: Path, prune: bool) -> int:
    """Run all trials, fill the study, and write the best settings; exit codes as ``run``.

    Args:
        prune: first one task for every trial; the lower half of them, but not trial 0, goes no further.

    Raises:
        RequestError: something is wrong with the request, the data or a folder; finished trials are kept.
    """
    from benchmark.execute.sweep import STOPPED, sweep_of
    from benchmark.execute.sweep import carry_out as run_all

    def run(specs: Sequence[RunSpec]) -> int:
        return run_all(sweep_of(search.request, search.scenario, specs), report=False)

    given_up: set[tuple[str, int]] = set()
    if prune and any(len(trial.spec.task_indices) > 1 for trial in search.trials):
        if run([trial.first for trial in search.trials]) == STOPPED:
            return STOPPED
        for method in search.spaces:
            given_up |= {(method, number) for number in _lower_half(search, method)}
    if run([trial.spec for trial in search.trials if (trial.method, trial.number) not in given_up]) == STOPPED:
        return STOPPED
    chosen, seconds = {}, {}
    for method, space in search.spaces.items():
        outcomes = [_outcome(search, trial, (method, trial.number) in given_up) for trial in search.of(method)]
        ledger.fill(search.request.results / "study.sqlite3", _study_name(search, method, prune), space, outcomes)
        if (best := _best(outcomes)) is None:
            print(f"{method}: every trial failed; look at their records in {search.request.results}", file=sys.stderr)
            continue
        chosen[method] = _chosen(search, method, outcomes, best)
        seconds[method] = sum(one.seconds for one in outcomes)
    _print(search, chosen, seconds)
    if len(chosen) < len(search.spaces):
        return 1
    tuned_file.write(out, _about(search), chosen, seconds)
    print(f"\nsettings: {out}\nstudy: {search.request.results / 'study.sqlite3'}\nnext: {_next(search, out)}")
    return 0


def _record(search: Search, spec: RunSpec) -> RunRecord | None:
    from benchmark.execute.store import run_folder

    return run_folder(search.request.results, *spec.ids).read()


def _score(record: RunRecord | None) -> float | None:
    return record.mean_accuracy if record is not None and record.finished else None


def _lower_half(search: Search, method: str) -> list[int]:
    """Trials of a method that go no further after one task: all but the better half, and never trial 0."""
    scores = {trial.number: _score(_record(search, trial.first)) for trial in search.of(method)}
    ranked = sorted(scores, key=lambda number: (-(scores[number] or 0.0), number))
    return [number for number in ranked[(len(ranked) + 1) // 2 :] if number != 0]


def _outcome(search: Search, trial: Trial, pruned: bool) -> Outcome:
    record = _record(search, trial.first if pruned else trial.spec)
    values = {axis.key: _value_at(trial.spec, axis.key) for axis in search.spaces[trial.method]}
    run_id = record.run_id if record else trial.spec.run_id
    return Outcome(trial.number, values, _score(record), pruned, run_id, _seconds(record))


def _seconds(record: RunRecord | None) -> float:
    """What a trial took, without the task-1 network that it may have trained for all runs of its seed."""
    if record is None or record.wall_seconds is None:
        return 0.0
    shared = record.task1_network or {}
    return max(0.0, record.wall_seconds - (0.0 if shared.get("reused", True) else shared["seconds"]))


def _value_at(spec: RunSpec, key: str) -> Any:
    """What a run has for a key of ``--set``; a rate that stands for none is the method's ``lr``."""
    section, _, knob = key.partition(".")
    value = getattr(spec.mask if section == "mask" else spec.settings, knob)
    return getattr(spec.settings, "lr", None) if value is None else value


def _best(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The highest score; among equals the lower number."""
    finished = [one for one in outcomes if one.score is not None and not one.pruned]
    return min(finished, key=lambda one: (-(one.score or 0.0), one.number), default=None)


def _chosen(search: Search, method: str, outcomes: Sequence[Outcome], best: Outcome) -> tuned_file.Chosen:
    (proposed,) = [trial.proposed for trial in search.of(method) if trial.number == best.number]
    assert best.score is not None
    return tuned_file.Chosen(
        settings=dict(proposed),
        trial=best.number,
        trials=len(outcomes),
        pruned=sum(one.pruned for one in outcomes),
        validation=best.score,
        untuned=outcomes[0].score,
        space=tuple(axis.about for axis in search.spaces[method]),
    )


def _about(search: Search) -> dict[str, Any]:
    request, backbone = search.request, search.trials[0].spec.backbone
    return {
        "scenario": search.scenario.name,
        "backbone": backbone.name,
        "width": backbone.width,
        "tasks": request.tasks,
        "seed": request.seeds[0],
        "epochs": request.epochs,
        "bn_policy": request.bn_policy,
    }


def _study_name(search: Search, method: str, prune: bool) -> str:
    """Trials of one study differ in nothing but what is searched: named after what trial 0 is."""
    first = search.of(method)[0].spec
    return f"{first.run_id}{'-pruned' if prune else ''}"


def _print(search: Search, chosen: Mapping[str, tuned_file.Chosen], seconds: Mapping[str, float]) -> None:
    """The closing table: what was found, and what it is worth on validation images."""
    from benchmark.execute.estimate import in_words

    width = max(len(name) for name in search.spaces)
    print(f"\n{'method':<{width}}  trials  best  validation  untuned      took  settings")
    for name, one in chosen.items():
        settings = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in one.settings.items())
        untuned = "failed" if one.untuned is None else f"{one.untuned:.4f}"
        print(
            f"{name:<{width}}  {one.trials:>6}  {one.trial:>4}  {one.validation:>10.4f}  {untuned:>7}  "
            f"{in_words(seconds[name]):>8}  {settings or 'the protocol’s own'}"
        )


def _next(search: Search, out: Path) -> str:
    """The command that takes the file, with what it must agree in."""
    import shlex

    from benchmark.plan.options import declared

    known, words = declared(Request), ["python", "-m", "benchmark", "run"]
    for name in ("scenario", "data_root", "weights", "backbone", "protocol", "epochs", "bn_policy", "plugins"):
        value = getattr(search.request, name)
        for one in value if isinstance(value, tuple) else () if value is None else (value,):
            words += [known[name].flag, str(one)]
    for key, value in search.request.overrides.items():
        words += ["--set", f"{key}={value}"]
    return shlex.join([*words, "--tuned", str(out)])
