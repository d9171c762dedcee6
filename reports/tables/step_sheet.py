"""Training steps side by side: what each contender takes, where the time goes, and how far the limit is."""

from __future__ import annotations

from reports.method_facts import Methods
from reports.numbers import DASH, GIGA
from reports.papers.ksm_steps import why
from reports.step_times import PARTS, StepRow, Steps
from reports.tables.sheet import Entry, Heading, Line, Sheet, missing

ABOUT = (
    "Milliseconds per training step: median and range over rounds in which every contender has its turn; parts from a "
    "separate, instrumented pass. The ratio is to full fine-tuning with the same optimizer in the same round: median "
    "over rounds and, where every round was kept, its 95 % interval. The floor is the larger of arithmetic and memory "
    "traffic at the rates that the device reaches. Arithmetic is counted: convolutions and matrix products, forward "
    "and backward, a multiplication and an addition being two."
)


def steps_sheet(steps: Steps, methods: Methods | None = None) -> Sheet:
    """One line per contender and batch size; ``methods`` are the report's, None: their cards alone."""
    methods = methods or Methods()
    headings = [Heading("Contender", numeric=False), Heading("BN", numeric=False), Heading("Optimizer", numeric=False)]
    headings += [Heading("Batch"), Heading("Step", "ms"), Heading("Range", "ms"), Heading("To fine-tuning")]
    headings += [Heading("95 % interval", "of the ratio"), *(Heading(part.capitalize(), "ms") for part in PARTS)]
    headings += [Heading("Numbers trained"), Heading("Peak memory", "MiB"), Heading("Floor", "ms")]
    headings += [Heading("Arithmetic", "GFLOP a step")]
    return Sheet(
        key=steps.key,
        title=f"Training steps: {steps.name}",
        caption=f"{steps.setting}, on {steps.device}. {ABOUT}",
        headings=tuple(headings),
        lines=tuple(Line(Entry(contender(row, methods)), _entries(row)) for row in steps.rows),
        remarks=why(steps),
    )


def contender(row: StepRow, methods: Methods) -> str:
    """How a row is called: a method by its printed name, a peer by its own."""
    if row.kind == "peer":
        return row.label
    _, bracket, rest = row.method.partition(" (")
    return methods.title(method_of(row)) + bracket + rest


def method_of(row: StepRow) -> str:
    """The name of a row's method: its label without what tells its variants apart."""
    return row.method.partition(" (")[0]


def _entries(row: StepRow) -> tuple[Entry, ...]:
    return (
        Entry(row.bn_policy or DASH),
        Entry(row.optimizer),
        Entry(str(row.batch_size), row.batch_size),
        _number(row.ms, 2),
        Entry(f"{row.lowest:.2f} to {row.highest:.2f}"),
        _number(row.ratio, 3),
        Entry(f"{row.interval[0]:.2f} to {row.interval[1]:.2f}") if row.interval else missing(),
        *(_number(row.parts.get(part), 2) for part in PARTS),
        _number(row.trained, 0),
        _number(row.peak_memory / 2**20 if row.peak_memory else None, 0),
        _number(row.floor_ms, 2),
        _number(row.flops / GIGA if row.flops else None, 3),
    )


def _number(value: float | None = None, decimals: int = 0) -> Entry:
    return missing() if value is None else Entry(f"{value:,.{decimals}f}", value)
