"""What stands in the ranking's place for runs on generated images (``--synthetic-data``): cost, and no accuracy."""

from __future__ import annotations

from reports.grouping import Panel
from reports.statistics import mean_interval
from reports.tables.model_size import MIB
from reports.tables.ranking import main_hardware, over_seeds, sizes
from reports.tables.sheet import Entry, Heading, Line, Sheet, interval_entry, missing
from reports.timing_caveats import caveats_in_brief
from results.schema import SYNTHETIC

NOTICE = (
    "Synthetic data: generated images of the true sizes and counts. Times, memory and sizes are measured. Accuracies "
    "say nothing: none is shown, none is ranked, and no claim is checked. Real images may change how long a method "
    "trains that goes by accuracy (a goal, a plateau), and how many soft values or ones a mask has."
)


def cost_sheet(panel: Panel) -> Sheet:
    """What stands in the place of the ranking: seconds, MiB and parameters of every method, in the methods' order."""
    hardware = main_hardware(panel)
    lines = []
    for item in panel.configurations:
        parameters = next((run.trainable_parameters for run in item.runs if run.trainable_parameters), None)
        entries = (
            missing("accuracies on generated images say nothing", SYNTHETIC),
            interval_entry(over_seeds(item, "training_seconds_total", hardware)),
            interval_entry(mean_interval(sizes(item).values()), 1 / MIB),
            missing() if parameters is None else Entry(f"{parameters:,}", parameters),
            Entry(str(len(item.seeds)), len(item.seeds)),
        )
        lines.append(Line(Entry(item.label), entries))
    remarks = [NOTICE]
    if hardware:
        remarks.append(
            f"Training seconds: all tasks that the method trained itself, on {hardware.label}; the shared task-1 "
            "network apart" + caveats_in_brief(panel.configurations, hardware) + "."
        )
    return Sheet(
        key=f"{panel.slug}-ranking",
        title="Cost on synthetic data",
        caption=f"{panel.title}: {panel.describe()}. Mean ± 95 % t-interval over seeds.",
        headings=(
            Heading("Method", numeric=False),
            Heading("Accuracy", numeric=False),
            Heading("Training", "seconds"),
            Heading("Size", "MiB"),
            Heading("Trainable", "parameters"),
            Heading("Seeds"),
        ),
        lines=tuple(lines),
        remarks=tuple(remarks),
    )
