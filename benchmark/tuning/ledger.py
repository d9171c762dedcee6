"""The study as Optuna keeps it: one SQLite file with every trial, for its dashboard and its plots.

Runs are the truth: the study is filled from their records, in the order of trial numbers, each once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError
from benchmark.tuning.proposals import Axis


@dataclass(frozen=True)
class Outcome:
    """What a trial came to."""

    number: int
    settings: Mapping[str, Any]  #: value of every axis, also where the trial left it as it was
    score: float | None  #: mean validation accuracy, a fraction; None: the run failed
    pruned: bool
    run_id: str
    seconds: float


def require_optuna() -> None:
    """Raises RequestError where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise RequestError(
            "tune keeps its study with Optuna, which is not installed; get it with: pip install 'maskbench[tune]'"
        )


def fill(file: Path, name: str, space: Sequence[Axis], outcomes: Sequence[Outcome]) -> None:
    """Add the outcomes that the study ``name`` lacks, in order; under a lock, so that two processes add none twice.

    Raises:
        RequestError: the file cannot be used.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    from benchmark.execute.shared_lock import locked

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with locked(file.with_name(f".{file.name}.lock"), lambda: None):
            study = optuna.create_study(
                storage=f"sqlite:///{file.resolve()}", study_name=name, direction="maximize", load_if_exists=True
            )
            known = len(study.get_trials(deepcopy=False))
            for outcome in sorted(outcomes, key=lambda one: one.number)[known:]:
                study.add_trial(_frozen(space, outcome))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise RequestError(f"The study {file} cannot be used ({reason}); move it away, it is made anew.") from error


def _frozen(space: Sequence[Axis], outcome: Outcome) -> Any:
    import optuna
    from optuna.trial import TrialState

    state = TrialState.COMPLETE
    if outcome.score is None:
        state = TrialState.FAIL
    elif outcome.pruned:
        state = TrialState.PRUNED
    return optuna.trial.create_trial(
        state=state,
        value=outcome.score if state == TrialState.COMPLETE else None,
        params=dict(outcome.settings),
        distributions={axis.key: _distribution(axis, outcome.settings[axis.key]) for axis in space},
        user_attrs={"run": outcome.run_id, "seconds": outcome.seconds, "score so far": outcome.score},
    )


def _distribution(axis: Axis, value: Any) -> Any:
    """Optuna's own for an axis; the protocol's value may be one that the axis does not offer."""
    import optuna

    if axis.values:
        choices = axis.values if value in axis.values else (*axis.values, value)
        return optuna.distributions.CategoricalDistribution(choices)
    return optuna.distributions.FloatDistribution(min(axis.low, value), max(axis.high, value), log=True)
