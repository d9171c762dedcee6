"""The trials of ``tune`` as searches: for every method of a panel, what each trial tried and what it reached."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from methods.registry import METHODS
from methods.space import Scaled, usual_space
from reports.grouping import Panel, shared_setting
from reports.method_facts import MethodFacts
from reports.specification import canonical, complete, flatten
from reports.tuning import searched, tuning_of
from results.schema import RunRecord
from results.shapes import LARGEST

FINISHED, PRUNED, FAILED = "finished", "given up early", "failed"

#: how far a rate in a record may be from the protocol's own, of which a text has six digits
SAME_RATE = 1e-3

_BOUNDS = re.compile(r"\S+ (\S+) to (\S+), log")


@dataclass(frozen=True)
class Trial:
    """One trial; ``settings`` are a flattened specification's ``settings.*`` and ``mask.*``."""

    run: RunRecord
    settings: Mapping[str, Any]
    rate: float  #: of the first axis searched
    status: str
    own: bool = False  #: has the protocol's own rate: trial 0
    chosen: bool = False  #: its settings are those of the tuned runs

    @property
    def score(self) -> float | None:
        """Mean validation accuracy, a fraction; None where the trial did not come to its end."""
        return self.run.mean_accuracy if self.status == FINISHED else None


@dataclass(frozen=True)
class Search:
    """The trials of one method."""

    facts: MethodFacts
    axis: str  #: key of the first axis searched: ``settings.lr``
    own_rate: float | None  #: the protocol's; None where nothing says it
    tasks: int  #: that a trial learns
    trials: tuple[Trial, ...]  #: by rate

    def count(self, status: str) -> int:
        """How many trials came to this."""
        return sum(trial.status == status for trial in self.trials)

    @property
    def varied(self) -> tuple[str, ...]:
        """The settings in which trials differ, the axis first."""
        keys = sorted({key for trial in self.trials for key in trial.settings})
        found = [key for key in keys if len({canonical(trial.settings.get(key)) for trial in self.trials}) > 1]
        return tuple(sorted(found, key=lambda key: key != self.axis))


def with_trials(panels: Sequence[Panel], trials: Sequence[RunRecord]) -> tuple[Panel, ...]:
    """Give each trial to the first panel of its scenario and setting: to one with tuned runs, where there is any."""
    by_setting: dict[str, list[RunRecord]] = defaultdict(list)
    for trial in trials:
        by_setting[_setting(trial)].append(trial)
    found = list(panels)
    for place in sorted(range(len(panels)), key=lambda place: not panels[place].tuned):
        mine = by_setting.pop(_setting(panels[place].runs[0]), [])
        found[place] = dataclasses.replace(panels[place], trials=tuple(mine))
    return tuple(found)


def _setting(record: RunRecord) -> str:
    return canonical([record.spec.get("scenario"), shared_setting(record)])


def searches(panel: Panel) -> tuple[Search, ...]:
    """One for every method with at least two finished trials: of several that of the tuned runs, else the largest."""
    by_method: dict[str, dict[str, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for run in panel.trials:
        by_method[str(run.spec.get("method"))][_identity(run)].append(run)
    found = []
    for method in panel.methods.in_order(by_method):
        tuned = next((item for item in panel.of(method) if tuning_of(item)), None)
        runs = max(
            by_method[method].values(), key=lambda runs: (_seed_of(tuned) == runs[0].spec.get("seed"), len(runs))
        )
        if (search := _search(panel.methods[method], runs, tuned)) is not None:
            found.append(search)
    return tuple(found)


def _seed_of(tuned: Any) -> Any:
    return tuning_of(tuned)["seed"] if tuned else None


def _identity(run: RunRecord) -> str:
    """What the trials of one search share."""
    spec = complete(run)
    return canonical({key: value for key, value in spec.items() if key not in ("settings", "mask", *_OF_TASKS)})


_OF_TASKS = ("tasks", "task_names", "task_indices")


def _search(facts: MethodFacts, runs: Sequence[RunRecord], tuned: Any) -> Search | None:
    counts = Counter(_tasks(run) for run in runs)
    usual = max(counts, key=lambda tasks: (counts[tasks], tasks))
    whole = tuning_of(tuned)["tasks"] if tuned and tuning_of(tuned)["tasks"] in counts else usual
    settings = {id(run): _settings(run) for run in runs}
    full = [run for run in runs if _tasks(run) == whole]
    known = {canonical(settings[id(run)]) for run in full}
    early = [run for run in runs if _tasks(run) < whole and canonical(settings[id(run)]) not in known]
    axis = _axis(facts.name, [settings[id(run)] for run in (*full, *early)], tuned)
    if axis is None:
        return None
    trials = []
    for run in (*full, *early):
        if (rate := _rate(settings[id(run)], axis)) is not None:
            status = FAILED if not run.finished else PRUNED if run in early else FINISHED
            trials.append(Trial(run, settings[id(run)], rate, status))
    own = _own_rate(facts.name, axis, tuned, trials)
    nearest = min(trials, key=lambda trial: abs(math.log(trial.rate / (own or 1.0))), default=None)
    marked = [
        dataclasses.replace(
            trial,
            own=trial is nearest and own is not None and math.isclose(trial.rate, own, rel_tol=SAME_RATE),
            chosen=tuned is not None and _is_chosen(trial, tuned),
        )
        for trial in sorted(trials, key=lambda trial: (trial.rate, trial.run.run_id))
    ]
    if sum(trial.score is not None for trial in marked) < 2:
        return None
    return Search(facts, axis, own, whole, tuple(marked))


def _tasks(run: RunRecord) -> int:
    tasks = run.spec.get("tasks")
    return tasks if isinstance(tasks, int) else len(run.spec.get("task_indices") or run.tasks)


def _settings(run: RunRecord) -> dict[str, Any]:
    spec = {part: run.spec[part] for part in ("settings", "mask") if isinstance(run.spec.get(part), Mapping)}
    return flatten(spec)


def _axis(method: str, tried: Sequence[Mapping[str, Any]], tuned: Any) -> str | None:
    """The key of the first axis searched: as the tuned runs say, else the method's card, else the first that varies."""
    if tuned and (first := next(iter(searched(tuned)), "")) in {key for settings in tried for key in settings}:
        return first
    varied = [
        key
        for key in dict.fromkeys(key for settings in tried for key in settings)
        if len({rate for settings in tried if (rate := _rate(settings, key)) is not None}) > 1
    ]
    card = METHODS.get(method)
    for one in (card.space or usual_space(card.settings)) if card else ():
        for knob in one.knobs if isinstance(one, Scaled) else ():
            key = knob if "." in knob else f"settings.{knob}"
            if key in varied:
                return key
    return varied[0] if varied else None


def _rate(settings: Mapping[str, Any], key: str) -> float | None:
    """A positive number; one that stands for none is the method's ``lr``."""
    value = settings.get(key)
    value = settings.get("settings.lr") if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return float(value)


def _own_rate(method: str, axis: str, tuned: Any, trials: Sequence[Trial]) -> float | None:
    """The middle of the axis on its log scale, as the tuned runs have it; else the card's, where a trial has it."""
    if tuned and (bounds := _BOUNDS.fullmatch(next(iter(tuning_of(tuned)["space"]), ""))):
        try:
            middle = math.sqrt(float(bounds[1]) * float(bounds[2]))
        except ValueError:
            return None
        return middle if 0 < middle < LARGEST else None
    card = METHODS.get(method)
    if card is None or not trials:
        return None
    knobs = dataclasses.asdict(card.settings) | dict(card.protocols.get(str(trials[0].run.spec.get("settings_of")), {}))
    own = _rate({f"settings.{name}": value for name, value in knobs.items()}, axis)
    return own if own and any(math.isclose(trial.rate, own, rel_tol=SAME_RATE) for trial in trials) else None


def _is_chosen(trial: Trial, tuned: Any) -> bool:
    spec = flatten(tuned.spec)
    return trial.status == FINISHED and all(trial.settings.get(key) == spec.get(key) for key in searched(tuned))
