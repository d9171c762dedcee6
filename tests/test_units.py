"""Sizes in messages: the unit fits, and no size is told as nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from results.units import in_units

REPOSITORY = Path(__file__).resolve().parent.parent
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 KiB"),  # 0.98
        (1536, "1.5 KiB"),
        (10 * KIB, "10 KiB"),
        (999.4 * KIB, "999 KiB"),
        (1023 * KIB, "1 MiB"),  # never "1,023 KiB"
        (MIB, "1 MiB"),
        (64 * MIB, "64 MiB"),
        (123.4 * MIB, "123 MiB"),
        (0.04 * GIB, "41 MiB"),  # never "0.0 GiB"
        (1_234_567_890, "1.1 GiB"),
        (4.6 * GIB, "4.6 GiB"),
        (2.5 * TIB, "2.5 TiB"),
        (2**80, "1,073,741,824 PiB"),
        (-2 * MIB, "-2 MiB"),
    ],
)
def test_the_unit_fits(count: float, words: str) -> None:
    assert in_units(count) == words


def test_no_size_is_told_as_nothing() -> None:
    for power in range(70):
        for count in (2**power - 1, 2**power, 2**power + 1):
            number, unit = in_units(count).split(" ")
            assert float(number.replace(",", "")) > 0 or count == 0, (count, unit)


def test_nobody_else_divides_sizes_for_messages() -> None:
    """Tables have one unit for all their cells; a sentence has ``in_units``."""
    written = re.compile(r"\}\s?(bytes|[KMGT]i?B)\b|/ 2\*\*[123]0:")
    exact = {"results/sense.py", "benchmark/testing.py"}
    exact |= {"methods/engine/restore.py", "methods/engine/packing.py"}  # as what stored parts are damaged by
    found = [
        f"{path.relative_to(REPOSITORY)}: {line.strip()}"
        for package in ("benchmark", "methods", "reports", "results")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        if str(path.relative_to(REPOSITORY)) not in exact  # two sizes that must agree to the byte
        for line in path.read_text(encoding="utf-8").splitlines()
        if written.search(line) and "GB/s" not in line and "DamagedParts" not in line
    ]
    assert [line.split(":")[0] for line in found] == ["benchmark/perf/text_tables.py"]  # a cell
