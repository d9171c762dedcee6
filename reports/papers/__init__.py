"""One card a scenario of a paper: all that a report knows of it by name, and the claims that are checked on it."""

from __future__ import annotations

from functools import cache

from reports.papers.fine_grained import IMAGENET2SKETCH
from reports.papers.ksm_paper import ABLATION, ABLATION_TITLE, OWN_BN, PROPOSED
from reports.papers.lenet_superclass import CIFAR100_SUPERCLASS
from reports.papers.paper_card import PaperScenario, PaperTable
from reports.papers.twenty_tasks import CIFAR100_20

#: By scenario, in the order in which panels stand.
PAPERS: dict[str, PaperScenario] = {card.scenario: card for card in (CIFAR100_20, CIFAR100_SUPERCLASS, IMAGENET2SKETCH)}

#: Titles of scenarios that no paper has, for records that carry none.
_TITLES = {"digits": "Digits"}


@cache
def paper_of(scenario: str) -> PaperScenario:
    """The card of a scenario; a neutral one, without published numbers, where no paper has it."""
    return PAPERS.get(scenario) or PaperScenario(
        scenario,
        _TITLES.get(scenario, scenario),
        own=OWN_BN,
        own_method=PROPOSED,
        ablation_order=ABLATION,
        ablation=PaperTable(ABLATION_TITLE),
    )
