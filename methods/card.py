"""A method's card: all that the rest of the suite may ask of a method, without importing torch.

A method is a folder with a ``card.py``, which holds ``CARDS``, and the strategy that these name. Nothing outside the
folder knows the method by name; an installed package adds its own through the entry-point group ``maskbench.methods``
(docs/add-a-method.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from methods.settings import BLOCK_ROWS, MaskSettings, Settings
from methods.space import Dimension

__all__ = [
    "BN_POLICIES", "FROM_PRETRAINED", "FROM_SCRATCH", "FROZEN", "PER_TASK", "PRETRAINED", "SOURCE", "USUAL",
    "Card", "Look", "Measure", "Needs", "Promises", "SizeRule", "Source",
]  # fmt: skip

FROZEN, PER_TASK = "frozen", "per-task"
#: names of protocols: that of the settings' own defaults, and that for pretrained weights outside the papers' scenarios
USUAL, PRETRAINED = "cifar100-20", "pretrained"
#: and the one under which every method does what its own code did in the scenario (``Card.sources``)
SOURCE = "source"
#: roles in ``Card.reference``, as ``results.schema`` has them
FROM_SCRATCH, FROM_PRETRAINED = "from scratch", "from pretrained"
#: what BN does while a task trains: ``methods.engine.batchnorm``
BN_POLICIES = (FROZEN, PER_TASK)


#: what a backbone starts from (``methods.engine.backbones``)
AS_GIVEN, SIGNED_CONSTANT, RANDOM = "as given", "signed constant", "random"
INITIAL_BACKBONES = (AS_GIVEN, SIGNED_CONSTANT, RANDOM)


@dataclass(frozen=True)
class Needs:
    """What a method cannot do without; the suite provides it."""

    task1_network: bool = True  #: starts from the network that task 1 trains, unless the backbone is pretrained
    goal: bool = False  #: an accuracy goal for every task (argument ``goal_for``)
    fresh_backbone: bool = False  #: a newly initialised backbone for every task (argument ``make_backbone``)
    backbone: str = AS_GIVEN  #: one of ``INITIAL_BACKBONES``; others than "as given" never train
    #: trains nothing, but makes something of the networks that a finished run of this method has for each task, with
    #: the same seed and settings (argument ``networks``, see ``methods.engine.merging``); None: trains by itself
    networks_of: str | None = None


@dataclass(frozen=True)
class Promises:
    """What a method guarantees; the contract test holds it to these."""

    no_forgetting: bool = True  #: logits of earlier tasks stay the same, bit for bit
    frozen_backbone: bool = False  #: weights and BN set that tasks share never change after task 1
    only_with: str = ""  #: name of a yes-or-no setting: where it is off nothing is guaranteed; empty: no such setting


@dataclass(frozen=True)
class Source:
    """What a method's own code did in a scenario beyond the protocol that the methods share there."""

    knobs: Mapping[str, Any] = field(default_factory=dict)  #: over those of the protocol
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: task name -> knobs of that task alone
    goal: Mapping[str, Any] = field(default_factory=dict)  #: knobs of the reference that gives the accuracy goals
    goal_tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: task name -> the same of that task
    bn_policy: str = ""  #: empty: the card's
    augmentation: Mapping[str, Any] = field(default_factory=dict)  #: what it did otherwise than the scenario's tasks


@dataclass(frozen=True)
class SizeRule:
    """What a method adds to the common part of the published size formula (``benchmark.measure.size``)."""

    whole_networks: bool = False  #: a whole network for every task, in place of the common part
    owner_index: bool = False  #: for every weight the task that owns it, or none
    units: str | None = None  #: one bit per mask unit of convolutions, for every added task; None: no masks
    hidden_linear: str = "element"  #: mask units of hidden fully connected layers
    rows: int = BLOCK_ROWS  #: weights of a unit "block"
    soft: bool = False  #: dropped units may carry an fp32 value


@dataclass(frozen=True)
class Measure:
    """A number of its own that a method reports beside the usual ones, once a run (``Method.measures``)."""

    name: str  #: small letters, digits and underscores: a column of ``runs.csv`` is called after it
    title: str  #: as tables print it
    unit: str  #: "percent" or "cells", say; empty: a plain number
    meaning: str  #: what it says and where it comes from, one sentence without the full stop


@dataclass(frozen=True)
class Look:
    """How figures draw a method: a colour for light pages, one for dark pages (contrast 3:1 each), a marker."""

    light: str  #: "#rrggbb"
    dark: str
    marker: str  #: matplotlib's


@dataclass(frozen=True)
class Card:
    """One method.

    ``settings`` is an instance of the method's own dataclass and holds its defaults; ``protocols`` what its source
    sets otherwise in a scenario. Everything here is data: reading a card costs no import of torch or Avalanche.
    """

    name: str  #: as users type it: small letters, digits, hyphens
    title: str  #: as the papers print it
    summary: str  #: one line for ``list``
    strategy: str  #: "module:class" of the Avalanche strategy
    settings: Settings
    bn_policy: str = PER_TASK  #: the policy of the method's source
    mask: MaskSettings | None = None  #: the point of the mask grid, where the method is one
    mask_grid: bool = False  #: all that it is, is said by ``mask`` and the BN policy: ``--grid`` may run points as it
    family: str = ""  #: methods of one family share a section of a scenario's settings; empty: the name
    paper: str = ""
    published: str = ""  #: "2021-06"; tables and lists are in this order, baselines (empty) first
    order: int = 0  #: among methods of one date
    groups: tuple[str, ...] = ()  #: what ``--method GROUP`` finds it under, beside "all"
    version: int = 1  #: raised when the method's numbers change under equal settings: its runs get new names
    needs: Needs = Needs()
    promises: Promises = Promises()
    size_rule: SizeRule | None = None  #: None: no published size follows a rule for this method
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: protocol -> knobs
    sources: Mapping[str, Source] = field(default_factory=dict)  #: by scenario's protocol: ``--protocol source``
    restore: str = ""  #: "module:function" of the kind in ``methods.engine.restore``; empty: by whether it has masks
    whole_networks: bool = False  #: stores a whole network per task: kept only with ``--keep-weights all``
    reference: str = ""  #: trains task-1 networks and goals: one of ``results.schema.REFERENCES``
    lower_bound: bool = False  #: what starts from the same backbone should not stay below it
    look: Look | None = None  #: None: chosen by the name
    space: tuple[Dimension, ...] = ()  #: what ``tune`` searches; empty: by the settings (``methods.space``)
    measures: tuple[Measure, ...] = ()  #: what ``Method.measures`` reports
    caveat: str = ""  #: what to know wherever a number of the method stands, one sentence without the full stop

    def load(self) -> type[Any]:
        """The strategy class; imports torch and Avalanche."""
        return _resolved(self.strategy)  # type: ignore[no-any-return]

    def load_restore(self) -> Callable[..., Any]:
        """The function that turns what is stored back into a network; imports torch."""
        usual = "masked_weights" if self.mask is not None else "own_tensors"
        return _resolved(self.restore or f"methods.engine.restore:{usual}")  # type: ignore[no-any-return]

    def starts_from_task1(self, pretrained: bool) -> bool:
        """The method's first task is the task-1 network: neither the backbone nor the method brings weights."""
        return self.needs.task1_network and not pretrained and self.needs.backbone == AS_GIVEN

    def promised(self, settings: Any = None) -> Promises:
        """What the method guarantees with these settings; None: with its own."""
        knob = self.promises.only_with
        if knob and not getattr(self.settings if settings is None else settings, knob):
            return Promises(no_forgetting=False)
        return self.promises

    @property
    def section(self) -> str:
        """The family, or the method's own name."""
        return self.family or self.name

    def facts(self, settings: Any = None) -> dict[str, Any]:
        """What a record carries of the method run with these settings, so that a report needs no card (plain JSON)."""
        return {
            "title": self.title,
            "published": self.published,
            "order": self.order,
            "paper": self.paper,
            "masks": self.mask is not None,
            "no_forgetting": self.promised(settings).no_forgetting,
            "look": [self.look.light, self.look.dark, self.look.marker] if self.look else None,
            "reference": self.reference,
            "lower_bound": self.lower_bound,
            "measures": {
                one.name: {"title": one.title, "unit": one.unit, "meaning": one.meaning} for one in self.measures
            },
            "caveat": self.caveat,
        }


def _resolved(target: str) -> Any:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)
