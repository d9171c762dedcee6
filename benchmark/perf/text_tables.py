"""Rows as a table for the terminal, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.perf.measurement import Row
from benchmark.perf.shares import PARTS
from results.atomic import replacing

COLUMNS = (
    "method", "kind", "optimizer", "bn_policy", "batch_size", "ms_per_step", "ms_lowest", "ms_highest",
    "images_per_second", "ratio_to_finetune", "interval_low", "interval_high", "ratio_of_lowest",
    *(f"share_{part}" for part in PARTS),
    "peak_memory_bytes", "trained_numbers", "flops_per_step", "least_bytes_per_step", "floor_ms", "times_floor",
    "rounds_ms",
)  # fmt: skip

#: what holds for every line of a table
SETTING = (
    "scenario", "images", "backbone", "width", "hidden_linear", "overrides", "precision", "compile", "device",
    "threads",
)  # fmt: skip


def as_csv(rows: Sequence[Row], setting: Mapping[str, object]) -> str:
    """One line per contender and batch size; empty where a number was not measured.

    Args:
        setting: a value for every member of ``SETTING``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *SETTING])
    for row in rows:
        shares = [row.shares.get(part) for part in PARTS]
        writer.writerow(
            "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
            for value in (
                row.name, row.kind, row.optimizer, row.bn_policy, row.batch_size, row.times.median, row.times.lowest,
                row.times.highest, row.images_per_second, *ratio(row), row.ratio_of_lowest, *shares, row.peak_bytes,
                row.trained, row.flops, row.traffic_bytes, row.floor_ms,
                row.times.median / row.floor_ms if row.floor_ms else None,
                ";".join(f"{ms:.5g}" for ms in row.times.milliseconds), *(setting[name] for name in SETTING),
            )
        )  # fmt: skip
    return text.getvalue()


def ratio(row: Row) -> tuple[float | None, float | None, float | None]:
    """The ratio to fine-tuning and its interval, for a line of the CSV."""
    found = row.ratio_to_finetune
    return (None, None, None) if found is None else (found.median, found.low, found.high)


def _ratio_as_text(row: Row) -> tuple[str, str]:
    found = row.ratio_to_finetune
    return ("", "") if found is None else (f"{found.median:.3f}", f"{found.low:.3f}-{found.high:.3f}")


def as_text(rows: Sequence[Row]) -> str:
    """Two tables of fixed width, times and what they are made of (shares in percent); each fits 120 columns."""
    times = [["", "optimizer", "batch", "ms/step", "range", "images/s", "to fine-tuning", "95 % interval"]]
    made_of = [["", "batch", *PARTS, "peak MiB", "trained", "floor ms"]]
    for row in rows:
        span = f"{row.times.lowest:.2f}-{row.times.highest:.2f}"
        first = [row.name, row.optimizer, str(row.batch_size), f"{row.times.median:.2f}", span]
        times.append([*first, f"{row.images_per_second:.0f}", *_ratio_as_text(row)])
        shares = ["" if not row.shares else f"{row.shares[part] * 100:.0f}" for part in PARTS]
        rest = [
            "" if row.trained is None else f"{row.trained:,}",
            "" if row.floor_ms is None else f"{row.floor_ms:.2f}",
        ]
        made_of.append([row.name, str(row.batch_size), *shares, f"{row.peak_bytes / 2**20:.0f}", *rest])
    return f"{_aligned(times)}\n\nParts in percent of a step:\n{_aligned(made_of)}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    cells = [
        [
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in cells)


def write_picture(rows: Sequence[Row], title: str, folder: Path) -> list[Path]:
    """Bars of the median step with its range, one panel a batch size, the floor as a tick; step.png and step.svg."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = sorted({row.batch_size for row in rows})
    tallest = max(sum(row.batch_size == size for row in rows) for size in sizes)
    figure, panels = pyplot.subplots(
        1, len(sizes), figsize=(5.2 * len(sizes), 1.2 + 0.34 * tallest), squeeze=False, layout="constrained"
    )
    colours = {"method": "#3b6ea5", "peer": "#a9a9a9"}
    for panel, size in zip(panels[0], sizes, strict=True):
        shown = [row for row in rows if row.batch_size == size]
        medians = [row.times.median for row in shown]
        spread = [
            [row.times.median - row.times.lowest for row in shown],
            [row.times.highest - row.times.median for row in shown],
        ]
        places = range(len(shown))
        panel.barh(places, medians, xerr=spread, color=[colours[row.kind] for row in shown], ecolor="#333333")
        floors = [(at, row.floor_ms) for at, row in enumerate(shown) if row.floor_ms is not None]
        panel.scatter([ms for _, ms in floors], [at for at, _ in floors], marker="|", s=160, color="#c0392b")
        panel.set_yticks(list(places), [row.name for row in shown])
        panel.invert_yaxis()
        panel.set_xlabel("ms per step: median, range")
        panel.set_title(f"batch size {size}" + (", red: floor" if floors else ""))
    figure.suptitle(title, fontsize=10)
    written = [folder / "step.png", folder / "step.svg"]
    for path in written:
        with replacing(path) as draft:
            figure.savefig(draft, dpi=150, format=path.suffix[1:])
    pyplot.close(figure)
    return written
