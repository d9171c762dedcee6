"""What is claimed of a method in a paper, and what a panel's runs say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.checks import Check
from reports.evidence import Evidence
from reports.grouping import Panel
from reports.setting import incomparable


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and how it is checked on a panel."""

    key: str
    statement: str
    source: str  #: where the paper says so
    printed: str  #: what the paper's own numbers give
    check: Check


@dataclass(frozen=True)
class Checked:
    """A claim and what a panel says about it."""

    claim: Claim
    evidence: Evidence
    away: bool = False  #: judged on runs that were trained otherwise than the paper's


def check_claims(panel: Panel, claims: Sequence[Claim]) -> tuple[Checked, ...]:
    """Every claim on one panel, in the given order."""
    other = {item.label for item in panel.everything if incomparable(panel, item)}
    found = []
    for claim in claims:
        evidence = claim.check(panel)
        found.append(Checked(claim, evidence, not other.isdisjoint(evidence.compared)))
    return tuple(found)
