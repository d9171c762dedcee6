"""Results folder in, report folder out. A pure function of the run records and the published numbers."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports import background, formats, page, published, tuning
from reports.claims import Checked, check_claims
from reports.effects import Effects, effects_of
from reports.figures import canvas, draw
from reports.figures.effect_dots import effect_dots
from reports.figures.step_bars import step_times
from reports.grouping import Panel, group
from reports.method_facts import Methods
from reports.papers import PAPERS
from reports.papers.ksm_claims import CLAIMS
from reports.records import Loaded, load
from reports.setting import departures, drawn
from reports.step_times import Steps, load_steps
from reports.table_files import write_effects, write_grid, write_sheet
from reports.tables import accuracy, cost, model_size, training_time
from reports.tables.grid import Grid
from reports.tables.own_measures import own_measures
from reports.tables.ranking import ranking_sheet
from reports.tables.sheet import Sheet
from reports.tables.step_sheet import method_of, steps_sheet
from reports.tables.tuned_beside_untuned import tuned_beside_untuned
from reports.trials import with_trials
from results.atomic import write_text
from results.temporary import sweep_below

FIGURES = "figures"


@dataclass(frozen=True)
class Built:
    """What a report consists of: the page, the keys of tables and figures, and a line for all that was left out."""

    index: Path
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    left_out: tuple[str, ...]


def build(results: Path | Sequence[Path], out: Path) -> Built:
    """Write the report on the run folders below ``results`` into ``out``.

    Raises:
        ReportError: a folder does not exist, or there is no usable record; nothing is written then.
    """
    folders = [results] if isinstance(results, Path) else list(results)
    loaded = load(*folders)
    read = [load_steps(folder) for folder in folders]
    steps = [item for found, _ in read for item in found]
    return build_records(loaded, out, steps, tuple(line for _, unread in read for line in unread))


def build_records(loaded: Loaded, out: Path, steps: Sequence[Steps] = (), unread: tuple[str, ...] = ()) -> Built:
    """Write the report on records, and on measurements of steps, into ``out``."""
    if out.is_dir():
        sweep_below(out)
    gc.freeze()  # the records stay to the end; the collector need not visit them after every figure
    try:
        return _build(loaded, steps, unread, out)
    finally:
        gc.unfreeze()


def _build(loaded: Loaded, steps: Sequence[Steps], unread: tuple[str, ...], out: Path) -> Built:
    methods = Methods([*loaded.all, *loaded.trials])
    panels, repeated = group(loaded.finished, methods)
    panels = with_trials(panels, loaded.trials)
    left_out = loaded.left_out + repeated + unread
    checked = [(panel, check_claims(panel, CLAIMS)) for panel in panels]
    figures_of = draw(panels, out / FIGURES, FIGURES)
    beside = _beside(panels)
    shown = [
        _panel(panel, claims, drawn, loaded, out, beside)
        for (panel, claims), drawn in zip(checked, figures_of, strict=True)
    ]
    measured_steps = [(write_sheet(steps_sheet(one, methods), out), _step_figure(one, methods, out)) for one in steps]
    configurations = background.configuration_sheet(panels)
    configurations_view = write_sheet(configurations, out)
    files = ["runs.csv", "claims.csv", "tables.md"]
    pairs = [pair for view in shown for pair in view.effects] + measured_steps
    tables = [table for view in shown for table in (view.ranking, *view.beside, *view.tables)] + [
        table for table, _ in pairs
    ]
    figures = [figure for view in shown for figure in view.figures] + [figure for _, figure in pairs]
    write_text(out / "runs.csv", formats.runs_csv(panels))
    write_text(out / "claims.csv", formats.claims_csv(checked))
    shown_methods = {item.method for panel in panels for item in panel.everything}
    shown_methods |= {method_of(row) for one in steps for row in one.rows if row.kind == "method"}
    caveats = background.caveats(shown_methods, methods)
    text = formats.markdown([sheet for table in tables for sheet in table.sheets])
    write_text(out / "tables.md", text + "".join(f"\n{formats.escape_markdown(line)}\n" for line in caveats))
    absent = _absent(panels, loaded)
    warnings = background.warnings(loaded.all, methods)
    title = "Mask-based continual learning, measured"
    html = page.render(
        "index.html.j2",
        title,
        page.index_contents(
            shown,
            [table for table, _ in measured_steps],
            {
                "not-run": bool(absent),
                "failed": bool(loaded.failed),
                "left-out": bool(left_out),
                "warnings": bool(warnings),
            },
        ),
        dict.fromkeys(look for panel in panels for look in panel.looks),
        {
            "lead": _lead(loaded, panels),
            "notices": [*caveats, *_notices(loaded, left_out)],
            "facts": background.facts(loaded, panels),
            "panels": shown,
            "measured_steps": measured_steps,
            "looks": page.swatches(item for panel in panels for item in panel.everything),
            "absent": absent,
            "failed": background.failures(loaded.failed, methods),
            "left_out": left_out,
            "warnings": warnings,
            "configurations": configurations_view,
            "origin": background.origin(loaded),
            "commands": background.commands(loaded.all),
            "slips": [note.text for note in published.notes() if note.kind == "slip"],
            "files": files,
        },
    )
    write_text(out / "index.html", html)
    return Built(out / "index.html", tuple(t.key for t in tables), tuple(f.key for f in figures), left_out)


def _panel(
    panel: Panel,
    claims: tuple[Checked, ...],
    drawn: tuple[page.FigureView, ...],
    loaded: Loaded,
    out: Path,
    beside: Mapping[str, Sheet],
) -> page.PanelView:
    failed = loaded.failed
    grids: list[Grid | None] = [accuracy.accuracy(panel, failed), *training_time.training_times(panel, failed)]
    tables = [write_grid(grid, out) for grid in grids if grid]
    tables += [write_sheet(sheet, out) for sheet in cost.costs(panel)]
    sizes = model_size.sizes(panel, failed)
    tables += [write_grid(sizes, out)] if sizes else []
    parts = model_size.components(panel)
    tables += [write_sheet(parts, out)] if parts else []
    own = own_measures(panel)
    tables += [write_sheet(own, out)] if own else []
    tables += [write_grid(grid, out) for grid in accuracy.initial_tasks(panel)]
    ablation = accuracy.ablation(panel, failed)
    tables += [write_grid(ablation, out)] if ablation else []
    return page.PanelView(
        key=panel.slug,
        title=panel.title + (", tuned" if panel.tuned else ""),
        setting=panel.describe(),
        notices=_panel_notices(panel),
        ranking=write_sheet(ranking_sheet(panel), out),
        claims=claims,
        tables=tuple(tables),
        figures=drawn,
        beside=tuple(write_sheet(sheet, out) for slug, sheet in beside.items() if slug == panel.slug),
        effects=tuple((write_effects(panel, item, out), _effect_figure(item, out)) for item in effects_of(panel)),
    )


def _beside(panels: Sequence[Panel]) -> dict[str, Sheet]:
    """Tuned beside untuned, by the slug of the panel under whose ranking it stands: the first of the two."""
    found = {}
    for untuned, tuned in tuning.twins(panels):
        if (sheet := tuned_beside_untuned(untuned, tuned)) is not None:
            found[min(untuned, tuned, key=panels.index).slug] = sheet
    return found


def _effect_figure(effects: Effects, out: Path) -> page.FigureView:
    with canvas.style():
        return canvas.save(effect_dots(effects), out / FIGURES, FIGURES)


def _step_figure(steps: Steps, methods: Methods, out: Path) -> page.FigureView:
    with canvas.style():
        return canvas.save(step_times(steps, methods), out / FIGURES, FIGURES)


def _lead(loaded: Loaded, panels: Sequence[Panel]) -> str:
    scenarios = len({panel.scenario for panel in panels})
    methods = len({item.method for panel in panels for item in panel.everything})
    parts = [
        _count(len(loaded.finished), "finished run"),
        _count(methods, "method"),
        _count(scenarios, "scenario"),
        _count(len(loaded.failed), "failed run") if loaded.failed else "",
    ]
    return " · ".join(part for part in parts if part)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _notices(loaded: Loaded, left_out: Sequence[str]) -> list[str]:
    found = []
    if loaded.failed:
        found.append(f"{_count(len(loaded.failed), 'run')} failed; nothing of them is in any number (see Failed runs).")
    if left_out:
        found.append(f"{_count(len(left_out), 'record')} left out: {left_out[0]}{' …' if len(left_out) > 1 else ''}")
    if not loaded.finished:
        found.append("No run finished: there is nothing to tabulate.")
    return found


def _panel_notices(panel: Panel) -> tuple[str, ...]:
    found = []
    if panel.setting.get("selection") == "legacy-test":
        found.append(
            "legacy-test: epochs were selected on the test set, as the official codes do; accuracies are optimistic."
        )
    if len(shown := drawn(panel)) < len(panel.configurations):
        found.append(
            f"Figures show {len(shown)} of {len(panel.configurations)} configurations, those with a method's own mask "
            "first; the tables have all."
        )
    one = [item.label for item in panel.configurations if len(item.seeds) == 1]
    if one:
        whose = "Everything here rests" if len(one) == len(panel.configurations) else f"{', '.join(one[:4])}: rests"
        found.append(f"{whose} on one seed: no interval, and no verdict on accuracies or times.")
    for item in panel.configurations:
        met, goals = cost.goals_met(item.runs)
        if met < goals:
            found.append(
                f"{item.label} met its accuracy goal on {met} of {goals} tasks: what it does when a goal is met "
                "(choosing how much to prune by it) happened there only."
            )
    away = departures(panel)
    if away:
        found.append(f"Not the paper's setting ({', '.join(away)}): published numbers stand beside for orientation.")
    if len(panel.hardware) > 1:
        found.append(
            f"Timed on {len(panel.hardware)} different devices: times stand in one table per device, never averaged."
        )
    return tuple(found)


def _absent(panels: Sequence[Panel], loaded: Loaded) -> list[str]:
    """The paper's scenarios that no finished run belongs to, one line each."""
    run = {panel.scenario for panel in panels}
    found = []
    for scenario, paper in PAPERS.items():
        if scenario in run:
            continue
        failed = sum(record.spec.get("scenario") == scenario for record in loaded.failed)
        why = f"{_count(failed, 'run')} failed" if failed else "no run among the records"
        found.append(
            f"{paper.title} ({paper.contents} of the paper): {why}. "
            f"Whether its data are there: python -m benchmark check --scenario {scenario}"
        )
    return found
