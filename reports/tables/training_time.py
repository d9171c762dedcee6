"""Table 1's times, and figures 4 and 5: training seconds per task and method, one table per hardware."""

from __future__ import annotations

from collections.abc import Sequence

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.hardware import Hardware
from reports.naming import slug, task_title
from reports.numbers import decimals_for
from reports.setting import departure_remark, titled, why_not_run
from reports.tables.grid import Axis, Cell, Grid, by_task, per_seed_mean, scaled
from reports.tables.ranking import with_tuning
from reports.timing_caveats import timing_caveats
from results.schema import RunRecord

MEAN = Axis("mean", "Mean", summary=True)
#: of methods that train nothing themselves
ON_TOP = "Of a method that starts from another run's networks the seconds are what it costs on top of that run."
TOTAL = Axis("total", "Total", summary=True, ranked=False)
BACKBONE = Axis(
    "task-1-network",
    "Task-1 network",
    summary=True,
    ranked=False,
)
NETWORKS = Axis("networks", "Networks it starts from", summary=True, ranked=False)
ALL_TOGETHER = Axis("with-networks", "Total with them", summary=True, ranked=False)
TUNED_TOTAL = Axis("with-tuning", "Total with tuning", summary=True, ranked=False)
NOT_TRAINED = ("the shared task-1 network, whose time is a row of its own", "shared network")


def training_times(panel: Panel, failed: Sequence[RunRecord] = ()) -> tuple[Grid, ...]:
    """One grid per hardware: training seconds are never averaged, nor shown in one table, across hardware."""
    return tuple(
        _grid(panel, hardware, failed, alone=len(panel.hardware) == 1)
        for hardware in panel.hardware
        if any(item.training_seconds(hardware) for item in panel.configurations)
    )


def common_tasks(panel: Panel, hardware: Hardware) -> list[int]:
    """Tasks that every method timed on ``hardware`` trained itself: the only fair basis for a mean time."""
    trained = [
        {task for task, _ in seconds} for item in panel.configurations if (seconds := item.training_seconds(hardware))
    ]
    return [task.index for task in panel.tasks if trained and all(task.index in tasks for tasks in trained)]


def task1_seconds(item: Configuration, hardware: Hardware) -> dict[int, float]:
    """Training seconds of the shared task-1 network by seed, where a run trained or reused one."""
    return {
        int(run.spec["seed"]): float(run.task1_network["seconds"])
        for run in item.on(hardware)
        if run.task1_network and isinstance(run.task1_network.get("seconds"), int | float)
    }


def _grid(panel: Panel, hardware: Hardware, failed: Sequence[RunRecord], alone: bool) -> Grid:
    table = panel.paper.training_time.printed
    common = common_tasks(panel, hardware)
    cells: dict[tuple[str, str], Cell] = {}
    columns, networks = [], False
    for item in panel.configurations:
        seconds = item.training_seconds(hardware)
        if seconds:
            columns.append(Axis(item.label, item.label, method=item.facts.title))
            _fill(cells, panel, columns[-1].key, item.method, seconds, common, task1_seconds(item, hardware))
            networks |= _with_networks(cells, columns[-1].key, item, hardware)
            cells[TUNED_TOTAL.key, columns[-1].key] = Cell(
                with_tuning(item, hardware), None, "all trials of the method, and one run"
            )
    present = {item.method for item in panel.configurations if item.training_seconds(hardware)}
    absent = [method for method in panel.paper.methods if method not in present]
    if table:
        for method in absent:
            title = panel.methods.title(method)
            columns.append(Axis(title, title, method=title))
            _fill(cells, panel, columns[-1].key, method, {}, common, {})
    smallest = min((cell.interval.mean for cell in cells.values() if cell.interval), default=0.0)
    rows = tuple(Axis(str(task.index), f"{task.index} {task_title(task.name)}") for task in panel.tasks)
    return Grid(
        key=f"{panel.slug}-training-seconds" + ("" if alone else f"-{slug(hardware.label)}"),
        title=titled(panel, panel.paper.training_time) + ("" if alone else f", {hardware.label}"),
        caption=f"Seconds in training phases (train, prune, choose, retrain) on {hardware.label}; loading, evaluation "
        f"and saving are outside. The mean is over the {len(common)} task{'' if len(common) == 1 else 's'} that every "
        "method trained itself. The task-1 network is trained once and shared by the frozen-backbone methods."
        + (f" {ON_TOP}" if networks else ""),
        row_title="Task",
        unit="seconds",
        decimals=min(decimals_for(smallest), 2),
        rows=(
            *rows,
            MEAN,
            TOTAL,
            *((NETWORKS, ALL_TOGETHER) if networks else ()),
            *([TUNED_TOTAL] if panel.tuned else []),
            BACKBONE,
        ),
        columns=tuple(columns),
        cells=cells,
        higher_is_better=False,
        incomparable="other hardware",
        remarks=_remarks(panel, hardware, table is not None),
        missing=why_not_run(panel, absent, failed) if table else (),
        published_name=f"{table.name}, seconds on a {panel.paper.times_device}" if table else "",
    )


def _fill(
    cells: dict[tuple[str, str], Cell],
    panel: Panel,
    column: str,
    method: str,
    seconds: dict[tuple[int, int], float],
    common: Sequence[int],
    backbone: dict[int, float],
) -> None:
    table = panel.paper.training_time.printed
    of_task = by_task(seconds)
    for task in panel.tasks:
        printed = table.get(method, str(task.index)) if table else None
        measured = of_task[task.index]
        cells[str(task.index), column] = Cell(measured, printed, *(NOT_TRAINED if seconds and not measured else ()))
    trained = sorted({task for task, _ in seconds})
    names = [str(task) for task in common]
    cells[MEAN.key, column] = Cell(
        per_seed_mean(seconds, common), table.mean(method, names) if table and names else None
    )
    cells[TOTAL.key, column] = Cell(
        scaled(per_seed_mean(seconds, trained), len(trained)), None, "of the tasks it trained"
    )
    cells[BACKBONE.key, column] = Cell(backbone)


def _with_networks(cells: dict[tuple[str, str], Cell], column: str, item: Configuration, hardware: Hardware) -> bool:
    """The rows of a method that starts from another run's networks; whether it does."""
    if item.trains:
        return False
    why_not = ("the networks were trained on other hardware", "other hardware")
    for row, seconds in ((NETWORKS, item.networks_seconds(hardware)), (ALL_TOGETHER, item.seconds_in_all(hardware))):
        cells[row.key, column] = Cell(seconds, None, *(() if seconds else why_not))
    return True


def _remarks(panel: Panel, hardware: Hardware, has_published: bool) -> tuple[str, ...]:
    remarks = list(departure_remark(panel)) if has_published else []
    remarks += timing_caveats(panel, hardware)
    return tuple(remarks)
