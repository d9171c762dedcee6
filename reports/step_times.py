"""The measurements of ``python -m benchmark perf`` below a results folder: training steps side by side.

They explain what the runs' clocks only show: why one method's epoch takes longer than another's.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reports.naming import slug
from results.reader import content_of
from results.schema import SchemaError
from results.seal import unsealed_table

BOOTSTRAPS = 10_000

#: what ``perf --out`` calls its table
FILE_NAME = "step.csv"

#: what masks do with linear layers inside the backbone, in words
HIDDEN_LINEAR = {
    "element": "its hidden linear layers masked element by element",
    "unit": "its hidden linear layers masked by output",
    "frozen": "its hidden linear layers without masks",
    "block": "its hidden linear layers masked by blocks",
}

PARTS = ("data", "forward", "backward", "masks", "optimizer", "loop")

#: "packnet, BN frozen": a method that was measured under both BN policies
_WITH_POLICY = ", BN "


@dataclass(frozen=True)
class StepRow:
    """One contender at one batch size; milliseconds per step."""

    label: str
    kind: str  #: "method" or "peer"
    optimizer: str
    bn_policy: str  #: empty for peers
    batch_size: int
    ms: float  #: median over rounds
    lowest: float
    highest: float
    ratio: float | None  #: to full fine-tuning with the same optimizer
    interval: tuple[float, float] | None  #: 95 %, of the median of paired ratios; None: not measured so
    rounds: tuple[float, ...]  #: of every round, in the order of all contenders' rounds; () in older tables
    parts: dict[str, float]  #: milliseconds of the median step by part, {} for peers
    trained: int | None  #: numbers that a step updates
    peak_memory: int | None  #: bytes
    floor_ms: float | None
    flops: int | None = None  #: of convolutions and matrix products, forward and backward, in one step

    @property
    def method(self) -> str:
        """The label without its BN policy."""
        return self.label.partition(_WITH_POLICY)[0]


@dataclass(frozen=True)
class Steps:
    """One measurement: everything in it was timed in the same rounds."""

    name: str  #: of the folder, below the results folder
    setting: str  #: scenario, backbone, precision
    device: str
    rows: tuple[StepRow, ...]

    @property
    def key(self) -> str:
        """Unique as a file name and HTML id."""
        return f"steps-{slug(self.name)}"


def load_steps(folder: Path) -> tuple[tuple[Steps, ...], tuple[str, ...]]:
    """Every measurement in ``folder`` or up to two folders down, by name; and one sentence for each unusable one."""
    found, left_out = [], []
    for path in sorted({*folder.glob(FILE_NAME), *folder.glob(f"*/{FILE_NAME}"), *folder.glob(f"*/*/{FILE_NAME}")}):
        try:
            found.append(
                _read(path, folder.name if path.parent == folder else path.parent.relative_to(folder).as_posix())
            )
        except SchemaError as error:
            left_out.append(f"{path.relative_to(folder)}: {error}")
        except (OSError, UnicodeDecodeError, csv.Error):
            left_out.append(f"{path.relative_to(folder)}: it cannot be read")
        except (KeyError, TypeError, ValueError):
            left_out.append(f"{path.relative_to(folder)}: it is no table of python -m benchmark perf, or half of one")
    return tuple(found), tuple(left_out)


def _read(path: Path, name: str) -> Steps:
    lines = list(csv.DictReader(io.StringIO(unsealed_table(content_of(path).decode("utf-8")))))
    if not lines:
        raise ValueError("an empty table")
    first = lines[0]
    threads = f", {first['threads']} thread{'' if first['threads'] == '1' else 's'}" if first["threads"] else ""
    parts = [
        first["scenario"] + (" (noise of its shape)" if first.get("images") == "noise" else ""),
        f"{first['backbone']} of width {float(first['width']):g}",
        HIDDEN_LINEAR.get(first.get("hidden_linear") or "", ""),
        _overrides(first.get("overrides") or ""),
        first["precision"],
        "" if first["compile"] == "off" else "compiled",
    ]
    setting = ", ".join(part for part in parts if part)
    return Steps(name, setting, first["device"] + threads, tuple(map(_row, lines)))


def _overrides(text: str) -> str:
    """Settings that were given by hand, without those that have words of their own."""
    said = ("backbone.width=", "mask.hidden_linear=")
    return ", ".join(part for part in text.split("; ") if part and not part.startswith(said))


def _row(line: dict[str, str]) -> StepRow:
    ms = float(line["ms_per_step"])
    shares = {part: _number(line[f"share_{part}"]) for part in PARTS}
    return StepRow(
        label=line["method"],
        kind=line["kind"],
        optimizer=line["optimizer"],
        bn_policy=line["bn_policy"],
        batch_size=int(line["batch_size"]),
        ms=ms,
        lowest=float(line["ms_lowest"]),
        highest=float(line["ms_highest"]),
        ratio=_number(line["ratio_to_finetune"]),
        interval=_interval(line),
        rounds=tuple(float(text) for text in (line.get("rounds_ms") or "").split(";") if text),
        parts={part: share * ms for part, share in shares.items() if share is not None},
        trained=int(line["trained_numbers"]) if line["trained_numbers"] else None,
        peak_memory=int(line["peak_memory_bytes"]) if line["peak_memory_bytes"] else None,
        floor_ms=_number(line["floor_ms"]),
        flops=int(float(line["flops_per_step"])) if line.get("flops_per_step") else None,
    )


def _interval(line: dict[str, str]) -> tuple[float, float] | None:
    low, high = _number(line.get("interval_low") or ""), _number(line.get("interval_high") or "")
    return None if low is None or high is None else (low, high)


def over(mine: StepRow, other: StepRow) -> str:
    """One contender's step over another's: the median of paired ratios with its 95 % interval; of tables that do not
    have every round, the ratio of the medians, called so."""
    if len(mine.rounds) != len(other.rounds) or len(mine.rounds) < 2:
        return f"{mine.ms / other.ms:.2f}× (ratio of medians)"
    ratios = np.array(mine.rounds) / np.array(other.rounds)
    draws = np.random.default_rng(0).choice(ratios, (BOOTSTRAPS, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.2f}× [{low:.2f}, {high:.2f}]"


def _number(text: str) -> float | None:
    return float(text) if text else None
