"""The tables of papers as plans: which runs are behind each. One module a paper, the only place that names methods."""

from __future__ import annotations

from benchmark.plan.papers import ksm, wsn
from benchmark.plan.tables import Preset

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*ksm.TABLES, *wsn.TABLES)}
