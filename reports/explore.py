"""What the page lets a reader choose from: one point per configuration, seed and hardware, as data for its script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reports.configuration import Configuration
from reports.grouping import Panel
from reports.hardware import Hardware
from reports.numbers import GIGA
from reports.style import line_style
from reports.tables.cost import KILOJOULE
from reports.tables.model_size import MIB
from results.schema import RunRecord

#: key in a point -> (title, unit, whether less is better)
AXES: dict[str, tuple[str, str, bool]] = {
    "accuracy": ("Mean accuracy", "percent", False),
    "seconds": ("Training time, all tasks", "seconds", True),
    "size": ("Model size", "MiB", True),
    "memory": ("Peak memory of training", "MiB", True),
    "energy": ("Energy of training", "kJ", True),
    "flops": ("Operations of an image's forward pass", "GFLOP", True),
    "parameters": ("Trainable parameters", "numbers", True),
    "forgetting": ("Forgetting", "points", True),
}
#: with so few points there is nothing to choose
FEWEST = 3


def data(panels: Sequence[Panel]) -> dict[str, Any] | None:
    """Settings, axes that any point has, titles of those that none has, and points; None where there is too little to
    choose from."""
    points = [
        _point(number, item, hardware, run, seconds)
        for number, panel in enumerate(panels)
        for item in panel.configurations
        for hardware in item.hardware
        for seconds in (item.seconds_in_all(hardware),)
        for run in item.on(hardware)
    ]
    if len(points) < FEWEST:
        return None
    used = [key for key in AXES if any(point[key] is not None for point in points)]
    if not used:
        return None
    return {
        "missing": [AXES[key][0] for key in AXES if key not in used],
        "settings": [
            {"title": panel.title + (", tuned" if panel.tuned else ""), "about": panel.describe()} for panel in panels
        ],
        "axes": {key: dict(zip(("title", "unit", "less"), AXES[key], strict=True)) for key in used},
        "points": points,
    }


def script_data(found: dict[str, Any] | None) -> Markup:
    """The data as JSON that may stand inside a script element, whatever the records call things."""
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _point(
    number: int, item: Configuration, hardware: Hardware, run: RunRecord, seconds: Mapping[int, float]
) -> dict[str, Any]:
    seed = int(run.spec["seed"])
    size = run.size.rules.get("itemised") if run.size else None
    memory = [row.peak_memory_bytes for row in run.tasks if row.peak_memory_bytes is not None]
    energy = [row.energy_joules for row in run.tasks if row.energy_joules is not None]
    return {
        "setting": number, "label": item.label, "method": item.facts.title, "seed": seed, "device": hardware.label,
        "colour": item.facts.look.name, "dashed": line_style(item.variant) != "-",
        "accuracy": _rounded(100 * run.mean_accuracy if run.mean_accuracy is not None else None),
        "seconds": _rounded(seconds.get(seed) or None),
        "size": _rounded(size / MIB if size else None),
        "memory": _rounded(max(memory) / MIB if memory else None),
        "energy": _rounded(sum(energy) / KILOJOULE if energy else None),
        "flops": _rounded(run.forward_flops / GIGA if run.forward_flops else None),
        "parameters": run.trainable_parameters or None,
        "forgetting": _rounded(100 * run.forgetting if run.forgetting is not None else None),
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
