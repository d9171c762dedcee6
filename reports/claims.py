"""What is claimed of a method in a paper, and what a panel's runs say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.checks import Check
from reports.evidence import NOT_JUDGED, Evidence
from reports.grouping import Panel
from reports.setting import incomparable
from reports.soundness import explained


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
    found = []
    for claim in claims:
        evidence = _if_sound(panel, claim.check(panel))
        found.append(Checked(claim, evidence, any(incomparable(panel, item) for item in evidence.on)))
    return tuple(found)


def _if_sound(panel: Panel, evidence: Evidence) -> Evidence:
    """The evidence; without a verdict where what it rests on says nothing of its method (``reports.soundness``)."""
    reason = "; ".join(explained(panel, evidence.on, judged=False, signed=False))
    if not reason:
        return evidence
    return replace(evidence, verdict=NOT_JUDGED, statistic=reason[0].upper() + reason[1:], more_seeds=None)
