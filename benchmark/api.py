"""The suite from Python: what the command line does, with results to go on with.

>>> import benchmark as mb                                                       # doctest: +SKIP
>>> results = mb.run(methods=["ksm", "piggyback"], seeds=[0, 1], epochs=5)       # doctest: +SKIP
>>> results.table()                                                              # doctest: +SKIP

Options have the names that ``run`` has (``train_limit``, ``bn_policy``, ...); ``settings`` are those of ``--set``. What
is wrong with a request is one sentence, raised as ``RequestError`` before anything is written.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError
from benchmark.measure.size import mib
from results.schema import RunRecord

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from benchmark.scenarios.readiness import Readiness
    from methods.engine.task_file import TaskNetwork
    from reports.grouping import Panel


Methods = str | Iterable[str]


@dataclass(frozen=True)
class Results:
    """Records of runs, and what a report makes of them."""

    records: tuple[RunRecord, ...]
    left_out: tuple[str, ...] = ()  #: one sentence for every file that could not be used
    trials: tuple[RunRecord, ...] = ()  #: of ``tune``: their accuracies are of validation images

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """Records of runs that failed; ``error`` says why."""
        return tuple(record for record in self.records if not record.finished)

    def runs(self) -> pd.DataFrame:
        """One row a run: what it was, accuracy and forgetting in percent, training seconds, size in MiB."""
        import pandas as pd

        from benchmark.console import labels

        names = labels([record.spec for record in self.records])
        rows = [_row(record, name) for record, name in zip(self.records, names, strict=True)]
        return pd.DataFrame(rows).set_index("run_id") if rows else pd.DataFrame()

    def table(self) -> pd.DataFrame:
        """One row a configuration, best first, over its seeds: the ranking of the report.

        Columns: scenario, setting (what all methods of one comparison share), method, seeds, accuracy and its 95 %
        half-width (percent), forgetting (points), seconds of training, MiB as itemised. Half-widths are missing where
        there is one seed.
        """
        import pandas as pd

        from reports.tables.ranking import ranking

        rows = []
        for panel in self._panels:
            for item in ranking(panel):
                rows.append(
                    {
                        "scenario": panel.scenario,
                        "setting": panel.describe(),
                        "method": item.configuration.label,
                        "seeds": item.accuracy.n,
                        "accuracy": 100 * item.accuracy.mean,
                        "±": math.nan if item.accuracy.half_width is None else 100 * item.accuracy.half_width,
                        "forgetting": math.nan if item.forgetting is None else 100 * item.forgetting.mean,
                        "training s": math.nan if item.seconds is None else item.seconds.mean,
                        "MiB": math.nan if item.size is None else mib(item.size.mean),
                    }
                )
        return pd.DataFrame(rows)

    def report(self, out: str | Path = "results/report") -> Path:
        """Write the report on these records into ``out``; returns its page.

        Raises:
            RequestError: there is no usable record, or no place to write.
        """
        from reports.build import build_records
        from reports.records import sorted_out

        with _faults_told(out):
            loaded = sorted_out((*self.records, *self.trials), list(self.left_out), "these results hold")
            return build_records(loaded, Path(out)).index

    @cached_property
    def _panels(self) -> tuple[Panel, ...]:
        from reports.grouping import group

        return tuple(group([record for record in self.records if record.finished])[0])

    def _repr_html_(self) -> str:
        failed = "".join(
            f"<p>{html.escape(f'{record.run_id} failed: {_reason(record)}')}</p>" for record in self.failed
        )
        table: str = self.table().to_html(index=False, float_format="{:.2f}".format, na_rep="")
        return table + failed


def run(
    scenario: str | Path = "digits",
    methods: str | Iterable[str] | None = None,
    seeds: int | Iterable[int] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Results:
    """Train and measure methods on a scenario; finished runs are read, not repeated.

    Args:
        scenario: a name, or a YAML file of your own.
        methods: names or groups of methods; None: the five of the paper.
        seeds: one or several; None: 0.
        settings: as for ``--set``; several values for a setting that takes one are a sweep.
        options: any other option of ``run``, by its name without dashes: ``epochs=5``, ``results="runs"``.

    Returns:
        The records of the runs asked for; failed ones are in ``failed``.

    Raises:
        RequestError: the request is wrong or the data is missing; nothing was started.
        KeyboardInterrupt: stopped; finished runs are kept and unfinished ones go on from their checkpoint.
    """
    from benchmark.execute.store import run_folder
    from benchmark.execute.sweep import STOPPED, carry_out, sweep_of
    from benchmark.plan.planning import planned
    from benchmark.plan.request import request_of
    from benchmark.scenarios.start_weights import scenario_of

    if "dry_run" in options:
        raise RequestError("dry_run is an option of the command line only.")
    given = {"scenario": str(scenario), "methods": methods, "seeds": seeds, "settings": settings}
    request = request_of({**options, **{name: value for name, value in given.items() if value is not None}})
    chosen = scenario_of(request)
    specs = planned(request, chosen)
    if carry_out(sweep_of(request, chosen, specs, "the same call, without force")) == STOPPED:
        raise KeyboardInterrupt
    found = [run_folder(request.results, *spec.ids).read() for spec in specs]
    return Results(tuple(record for record in found if record is not None))


def tune(
    scenario: str | Path = "digits",
    methods: str | Iterable[str] | None = None,
    *,
    trials: int = 8,
    out: str | Path = "tuned.yaml",
    prune: bool = False,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Find settings by trials on validation images, the same number for every method, and write them into ``out``.

    Args:
        trials: of every method, the protocol's own settings among them.
        out: a YAML file, which ``run(..., tuned=out)`` takes.
        prune: try one task first; the worse half of the trials goes no further.
        settings, options: as for ``run``.

    Returns:
        The content of ``out``: ``["methods"][NAME]`` has ``settings``, ``trial``, ``validation``, ``untuned``, ….

    Raises:
        RequestError: the request is wrong, the data is missing, or every trial of a method failed.
        KeyboardInterrupt: stopped; the same call goes on from there.
    """
    from benchmark.execute.sweep import STOPPED
    from benchmark.plan.request import request_of
    from benchmark.scenarios.start_weights import scenario_of
    from benchmark.tuning.ledger import require_optuna
    from benchmark.tuning.search import carry_out, count_of, search_of
    from benchmark.tuning.tuned_file import content_of, require_place

    if "dry_run" in options:
        raise RequestError("dry_run is an option of the command line only.")
    given = {"scenario": str(scenario), "methods": methods, "settings": settings}
    request = request_of({**options, **{name: value for name, value in given.items() if value is not None}})
    search = search_of(request, scenario_of(request), count_of(trials))
    require_optuna()
    require_place(Path(out))
    code = carry_out(search, Path(out), prune)
    if code == STOPPED:
        raise KeyboardInterrupt
    if code:
        raise RequestError(f"Every trial of a method failed; their records in {search.request.results} say why.")
    return content_of(Path(out))


def read(*folders: str | Path) -> Results:
    """The records below results folders, each run once; trials of ``tune`` beside them are in ``trials``.

    Raises:
        RequestError: no such folder, or nothing in it that can be used.
    """
    from reports.records import load

    with _faults_told():
        loaded = load(*(Path(folder) for folder in folders or ("results/runs",)))
    return Results(loaded.all, loaded.left_out, loaded.trials)


def check(scenario: str | Path = "digits", **options: Any) -> Readiness:
    """Is a scenario's data there and right?

    Args:
        options: ``data_root``, ``tasks`` (only the first so many), ``weights``.

    Raises:
        RequestError: no such scenario; what is wrong with the data is in ``faults``.
    """
    from benchmark.plan.planning import require_tasks
    from benchmark.plan.request import request_of
    from benchmark.scenarios.readiness import conclude, task_checks
    from benchmark.scenarios.sources import root_of
    from benchmark.scenarios.start_weights import scenario_of

    if beyond := set(options) - {"data_root", "tasks", "weights"}:
        raise RequestError(f"check has no option {sorted(beyond)[0]!r}; it takes data_root, tasks and weights.")
    request = request_of({**options, "scenario": str(scenario)})
    chosen = scenario_of(request)
    require_tasks(request.tasks, chosen)
    root = root_of(chosen, request.data_root)
    tasks = tuple(task_checks(chosen, root, request.tasks or len(chosen.task_names)))
    return conclude(chosen, root, request.weights, tasks)


def report(*folders: str | Path, out: str | Path = "results/report", kind: str = "page", methods: Methods = ()) -> Path:
    """Write the report on results folders into ``out``; returns its index. Raises RequestError.

    Args:
        kind: "page"; "paper", figures and LaTeX tables of ``methods`` (none named: all); or "site".
    """
    from reports.kinds import write

    with _faults_told(out):
        return write(kind, [Path(folder) for folder in folders or ("results/runs",)], Path(out), methods)


def load_task(backbone: nn.Module, path: str | Path) -> TaskNetwork:
    """An exported task on a backbone: see ``methods.engine.task_file.load_task``."""
    from methods.engine.task_file import load_task as load

    return load(backbone, path)


@contextmanager
def _faults_told(out: str | Path = "the results") -> Iterator[None]:
    """What a report cannot do as a RequestError; ``out``: where it writes."""
    from reports.report_error import ReportError

    try:
        yield
    except ReportError as error:
        raise RequestError(str(error)) from error
    except OSError as error:
        raise RequestError(f"{error.filename or out} cannot be used ({error.strerror}).") from error


def _reason(record: RunRecord) -> str:
    """Why a run failed, in a line."""
    return (record.error or "no reason given").partition("\n")[0]


def _row(record: RunRecord, label: str) -> dict[str, Any]:
    from reports.without_accuracy import without_accuracy

    record, spec = without_accuracy(record), record.spec
    size = record.size.rules.get("itemised") if record.size else None
    return {
        "run_id": record.run_id,
        "run": label,
        "scenario": spec.get("scenario"),
        "method": spec.get("method"),
        "seed": spec.get("seed"),
        "bn_policy": spec.get("bn_policy"),
        "status": record.status,
        "accuracy": None if record.mean_accuracy is None else 100 * record.mean_accuracy,
        "forgetting": None if record.forgetting is None else 100 * record.forgetting,
        "synthetic": record.is_synthetic,
        "training s": record.training_seconds_total,
        "MiB": None if size is None else mib(size),
        "error": "" if record.finished else _reason(record),
    }
