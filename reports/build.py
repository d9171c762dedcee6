"""Results folder in, report folder out. A pure function of the run records and the published numbers."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reports import background, explore, formats, glossary, notices, page, published, tuning
from reports.answers import answers
from reports.claims import Checked, check_claims
from reports.effects import Effects, effects_of
from reports.figures import canvas, draw
from reports.figures.at_a_glance import at_a_glance
from reports.figures.effect_dots import effect_dots
from reports.figures.matrix import sentences
from reports.figures.step_bars import step_times
from reports.grouping import Panel, group
from reports.method_facts import Methods
from reports.naming import plural
from reports.other_measurements import Measurement, load_measurements
from reports.papers import PAPERS
from reports.papers.ksm_claims import CLAIMS
from reports.records import Loaded, load
from reports.statistics import forget_draws
from reports.step_times import Steps, load_steps
from reports.table_files import write_effects, write_grid, write_sheet
from reports.tables import accuracy, cost, model_size, training_time
from reports.tables.own_measures import own_measures
from reports.tables.published_size import published_size
from reports.tables.ranking import ranking_sheet
from reports.tables.sheet import Sheet
from reports.tables.step_sheet import method_of, steps_sheet
from reports.tables.synthetic_cost import cost_sheet
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
    others = [item for folder in folders for item in load_measurements(folder)]
    return build_records(loaded, out, steps, tuple(line for _, unread in read for line in unread), others)


def build_records(
    loaded: Loaded,
    out: Path,
    steps: Sequence[Steps] = (),
    unread: tuple[str, ...] = (),
    others: Sequence[Measurement] = (),
) -> Built:
    """Write the report on records, and on measurements of steps and others, into ``out``."""
    if out.is_dir():
        sweep_below(out)
    gc.freeze()  # the records stay to the end; the collector need not visit them after every figure
    try:
        return _build(loaded, steps, unread, others, out)
    finally:
        gc.unfreeze()


def _build(
    loaded: Loaded, steps: Sequence[Steps], unread: tuple[str, ...], others: Sequence[Measurement], out: Path
) -> Built:
    methods = Methods([*loaded.all, *loaded.trials])
    panels, repeated = group(loaded.finished, methods)
    panels = with_trials(panels, loaded.trials)
    left_out = loaded.left_out + repeated + unread
    checked = [(panel, () if panel.synthetic else check_claims(panel, CLAIMS)) for panel in panels]
    glances = [_glance(panel, out) for panel in panels]  # first: the second process inherits the ranking that it makes
    forget_draws()
    figures_of = draw(panels, out / FIGURES, FIGURES)
    beside = _beside(panels)
    shown = [
        _panel(panel, claims, drawn, glance, loaded, out, beside)
        for (panel, claims), drawn, glance in zip(checked, figures_of, glances, strict=True)
    ]
    measured_steps = [(write_sheet(steps_sheet(one, methods), out), _step_figure(one, methods, out)) for one in steps]
    configurations = background.configuration_sheet(panels)
    configurations_view = write_sheet(configurations, out) if panels else None
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
    choices = explore.data(panels)
    title = "Mask-based continual learning, measured"
    html = page.render(
        "index.html.j2",
        title,
        page.index_contents(
            shown,
            [*(table for table, _ in measured_steps), *others],
            {
                "not-run": bool(absent),
                "failed": bool(loaded.failed),
                "left-out": bool(left_out),
                "warnings": bool(warnings),
                "configurations": bool(panels),
            },
        ),
        dict.fromkeys(look for panel in panels for look in panel.looks),
        {
            "home": loaded.home,
            "lead": _lead(loaded, panels),
            "notices": notices.of_report(loaded, left_out, caveats),
            "facts": background.facts(loaded, panels),
            "panels": shown,
            "measured_steps": measured_steps,
            "measurements": others,
            "looks": page.swatches(item for panel in panels for item in panel.everything),
            "absent": absent,
            "failed": background.failures(loaded.failed, methods),
            "left_out": left_out,
            "warnings": warnings,
            "configurations": configurations_view,
            "origin": background.origin(loaded),
            "commands": background.commands(loaded.all),
            "explore": choices,
            "explore_data": explore.script_data(choices),
            "mask": glossary.mask_drawing(),
            "mask_caption": glossary.MASK_CAPTION,
            "glossary": glossary.entries(),
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
    glance: page.FigureView | None,
    loaded: Loaded,
    out: Path,
    beside: Mapping[str, Sheet],
) -> page.PanelView:
    failed = loaded.failed
    real = not panel.synthetic
    shown = [write_grid(accuracy.accuracy(panel, failed), out)] if real else []
    shown += [write_sheet(sheet, out) for sheet in cost.costs(panel)]
    sizes, ablation = model_size.sizes(panel, failed), accuracy.ablation(panel, failed) if real else None
    starts = accuracy.initial_tasks(panel) if real else ()
    shown += [write_grid(grid, out) for grid in (sizes, *starts, ablation) if grid]
    folded = [write_grid(grid, out) for grid in training_time.training_times(panel, failed)]
    parts = (published_size(panel), model_size.components(panel), own_measures(panel))
    folded += [write_sheet(sheet, out) for sheet in parts if sheet]
    tables = [*shown, *(replace(table, folded=True) for table in folded)]
    return page.PanelView(
        key=panel.slug,
        title=panel.title + (", tuned" if panel.tuned else ""),
        setting=panel.describe(),
        answers=answers(panel),
        notices=notices.of_panel(panel),
        ranking=write_sheet(ranking_sheet(panel) if real else cost_sheet(panel), out),
        claims=claims,
        tables=tuple(tables),
        figures=drawn,
        glance=glance,
        said=sentences(panel),
        beside=tuple(write_sheet(sheet, out) for slug, sheet in beside.items() if slug == panel.slug),
        synthetic=panel.synthetic,
        effects=tuple(_effects(panel, item, out) for item in (effects_of(panel) if real else ())),
    )


def _beside(panels: Sequence[Panel]) -> dict[str, Sheet]:
    """Tuned beside untuned, by the slug of the panel under whose ranking it stands: the first of the two."""
    found = {}
    for untuned, tuned in tuning.twins(panels):
        if (sheet := tuned_beside_untuned(untuned, tuned)) is not None:
            found[min(untuned, tuned, key=panels.index).slug] = sheet
    return found


def _effects(panel: Panel, effects: Effects, out: Path) -> tuple[page.TableView, page.FigureView]:
    """Table and figure; folded where no effect is seen in a second matched set."""
    alone = all(len(effect.sets) < 2 for effect in effects.main)
    return replace(write_effects(panel, effects, out), folded=alone), _effect_figure(effects, out)


def _effect_figure(effects: Effects, out: Path) -> page.FigureView:
    with canvas.style():
        return canvas.save(effect_dots(effects), out / FIGURES, FIGURES)


def _glance(panel: Panel, out: Path) -> page.FigureView | None:
    with canvas.style():
        drawing = at_a_glance(panel)
        return None if drawing is None else canvas.save(drawing, out / FIGURES, FIGURES, panel.looks)


def _step_figure(steps: Steps, methods: Methods, out: Path) -> page.FigureView:
    with canvas.style():
        return canvas.save(step_times(steps, methods), out / FIGURES, FIGURES)


def _lead(loaded: Loaded, panels: Sequence[Panel]) -> str:
    scenarios = len({panel.scenario for panel in panels})
    methods = len({item.method for panel in panels for item in panel.everything})
    parts = [
        plural(len(loaded.finished), "finished run"),
        plural(methods, "method") if methods else "",
        plural(scenarios, "scenario") if scenarios else "",
        plural(len(loaded.failed), "failed run") if loaded.failed else "",
    ]
    return " · ".join(part for part in parts if part)


def _absent(panels: Sequence[Panel], loaded: Loaded) -> list[str]:
    """The paper's scenarios that no finished run belongs to, one line each."""
    run = {panel.scenario for panel in panels}
    found = []
    for scenario, paper in PAPERS.items():
        if scenario in run:
            continue
        failed = sum(record.spec.get("scenario") == scenario for record in loaded.failed)
        why = f"{plural(failed, 'run')} failed" if failed else "no run among the records"
        found.append(
            f"{paper.title} ({paper.contents}): {why}. "
            f"Whether its data are there: python -m benchmark check --scenario {scenario}"
        )
    return found
