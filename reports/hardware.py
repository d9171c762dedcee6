"""On what a run was timed. Times are only averaged, and only shown side by side, within one ``Hardware``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.schema import RunRecord


@dataclass(frozen=True, order=True)
class Hardware:
    """Everything that must agree before two training times may be compared."""

    device: str
    driver: str
    precision: str
    threads: str  #: CPU threads; empty on an accelerator

    @property
    def label(self) -> str:
        """One line for a table's caption."""
        parts = [self.device]
        if self.driver:
            parts.append(f"driver {self.driver}")
        if self.threads:
            parts.append(f"{self.threads} thread{'' if self.threads == '1' else 's'}")
        if self.precision:
            parts.append(self.precision)
        return ", ".join(parts)


def hardware_of(record: RunRecord) -> Hardware:
    """The hardware that a record names; what it does not name is the empty string."""
    device = record.provenance.get("device") or {}
    host = record.provenance.get("host") or {}
    kind = str(record.spec.get("device") or "")
    on_cpu = kind.startswith("cpu") or (not kind and not device.get("driver"))
    name = str(device.get("name") or "")
    if on_cpu:
        cpu = str(host.get("cpu") or name or "CPU")
        return Hardware(cpu, "", _arithmetic(record.spec), _word(host.get("threads")))
    return Hardware(name or kind or "unnamed device", _word(device.get("driver")), _arithmetic(record.spec), "")


def _arithmetic(spec: Mapping[str, Any]) -> str:
    """``fp32``, or ``fp32, compiled``: times of one do not stand beside times of the other."""
    compiled = spec.get("compile") not in (None, "", "off")
    return ", ".join([*filter(None, [_word(spec.get("precision"))]), *(["compiled"] if compiled else [])])


def _word(value: object) -> str:
    return "" if value is None else str(value)
