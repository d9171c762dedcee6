"""On what a run was timed. Times are only averaged, and only shown side by side, within one ``Hardware``."""

from __future__ import annotations

from dataclasses import dataclass

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
        return Hardware(cpu, "", _word(record.spec.get("precision")), _word(host.get("threads")))
    return Hardware(
        name or kind or "unnamed device", _word(device.get("driver")), _word(record.spec.get("precision")), ""
    )


def _word(value: object) -> str:
    return "" if value is None else str(value)
