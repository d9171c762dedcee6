"""Rows of a step measurement made by hand."""

from __future__ import annotations

from benchmark.perf.measurement import Row
from benchmark.perf.rounds import Ratio, Series


def row_of(
    name: str,
    ms: float,
    kind: str = "method",
    bn_policy: str = "",
    ratio: float | None = None,
    shares: dict[str, float] | None = None,
    trained: int | None = None,
) -> Row:
    """A row whose rounds all took the same time, at batch size 32."""
    paired = None if ratio is None else Ratio(ratio, ratio, ratio)
    return Row(
        name, kind, "adam", bn_policy, 32, Series((ms,)), paired, ratio, shares or {}, 0, trained, None, None, None
    )  # fmt: skip
