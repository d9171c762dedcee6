"""Whether a repeated run came out as its record says, and what was different where it did not."""

from __future__ import annotations

from typing import Any

from results.schema import RunRecord

#: parts of a record's provenance that can change numbers, in words
SUSPECTS = {
    "data": ("data_fingerprint",),
    "torch": ("packages", "torch"),
    "CPU": ("host", "cpu"),
    "instruction set": ("host", "capability"),
    "threads": ("host", "threads"),
    "device": ("device", "name"),
    "commit": ("git", "commit"),
}


def verdict(before: RunRecord, after: RunRecord) -> str:
    """One sentence: identical, or how far off and what differs between the two runs' provenance."""
    if after.accuracy_matrix == before.accuracy_matrix and after.mask_statistics == before.mask_statistics:
        return "identical: every accuracy and every mask count is that of the record"
    different = [
        f"{name} {_at(before.provenance, path)} then, {_at(after.provenance, path)} now"
        for name, path in SUSPECTS.items()
        if _at(before.provenance, path) != _at(after.provenance, path)
    ]
    reasons = "; ".join(different) or "nothing that the records know of differs"
    return f"not identical: mean accuracy {after.mean_accuracy}, the record has {before.mean_accuracy} ({reasons})"


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
