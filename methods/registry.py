"""What methods there are: the cards of this package's folders, of installed plug-ins, and of modules named by hand.

Imports neither torch nor Avalanche. A plug-in is a package with an entry point in the group ``maskbench.methods``
whose object is a :class:`methods.card.Card` or several; ``--plugin MODULE`` names a module with ``CARDS``. One that
cannot be used is left out with a warning that names it; nothing else suffers.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from methods.card import BN_POLICIES, FROM_PRETRAINED, FROM_SCRATCH, FROZEN, INITIAL_BACKBONES, PER_TASK, Card
from methods.engine.knobs import check_settings
from methods.settings import MaskedSettings, Settings

__all__ = ["ENTRY_POINTS", "FROZEN", "GROUPS", "METHODS", "PER_TASK", "PluginWarning", "reference", "use_plugins"]

ENTRY_POINTS = "maskbench.methods"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_MEASURE = re.compile(r"[a-z][a-z0-9_]{0,39}")


class PluginWarning(UserWarning):
    """A plug-in was left out; the message names it and says why."""


class _Methods(Mapping[str, Card]):
    """Cards by name, in the order of publication, collected when first asked for."""

    def __init__(self) -> None:
        self._found: dict[str, Card] | None = None
        self._modules: dict[str, None] = {}

    def _cards(self) -> dict[str, Card]:
        if self._found is None:
            found = {card.name: card for _, card in _built_in()}
            for source, given in (*_installed(), *_named(self._modules)):
                found |= _usable(source, given, found)
            self._found = dict(sorted(found.items(), key=lambda item: (item[1].published, item[1].order)))
        return self._found

    def __getitem__(self, name: str) -> Card:
        return self._cards()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cards())

    def __len__(self) -> int:
        return len(self._cards())

    def use(self, modules: Iterable[str]) -> None:
        """See ``use_plugins``."""
        fresh = [module for module in modules if module not in self._modules]
        if fresh:
            self._modules |= dict.fromkeys(fresh)
            self._found = None


class _Groups(Mapping[str, tuple[str, ...]]):
    """Names by group, from the cards; "all" has every one."""

    def _named(self) -> dict[str, tuple[str, ...]]:
        groups: dict[str, tuple[str, ...]] = {}
        for card in METHODS.values():
            for group in card.groups:
                groups[group] = (*groups.get(group, ()), card.name)
        return {**groups, "all": tuple(METHODS)}

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._named()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named())

    def __len__(self) -> int:
        return len(self._named())


METHODS = _Methods()
GROUPS = _Groups()


def use_plugins(modules: Iterable[str]) -> None:
    """Take the cards of these modules too (``CARDS`` in each), from now on."""
    METHODS.use(modules)


def reference(pretrained: bool) -> Card:
    """The method that trains task-1 networks and accuracy goals, from random or from pretrained weights."""
    role = FROM_PRETRAINED if pretrained else FROM_SCRATCH
    return next(card for card in METHODS.values() if card.reference == role)


def _built_in() -> Iterator[tuple[str, Card]]:
    for path in sorted(Path(__file__).parent.glob("*/card.py")):
        name = f"methods.{path.parent.name}.card"
        yield from ((name, card) for card in importlib.import_module(name).CARDS)


def _installed() -> Iterator[tuple[str, Any]]:
    """(source, what it gives): a card, cards, or the error that stood in the way."""
    if not _some_installed():
        return
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.value
        try:
            yield f"{package} ({entry.name})", entry.load()
        except (Exception, SystemExit) as error:
            yield f"{package} ({entry.name})", error


def _some_installed() -> bool:
    """Some distribution on the path names the group. A look at their files: ``importlib.metadata`` takes longer to
    import than ``list`` may take."""
    for folder in map(Path, sys.path):
        if folder.is_file():  # an archive, for ``importlib.metadata`` to look into
            return True
        for file in folder.glob("*-info/entry_points.txt"):
            try:
                if ENTRY_POINTS.encode() in file.read_bytes():
                    return True
            except OSError:
                continue
    return False


def _named(modules: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for module in modules:
        try:
            yield module, importlib.import_module(module).CARDS
        except (Exception, SystemExit) as error:
            yield module, error


def _usable(source: str, given: Any, taken: Mapping[str, Card]) -> dict[str, Card]:
    """The cards of one plug-in, none where any of them cannot be used."""
    try:
        if isinstance(given, BaseException):
            raise given
        cards = (given,) if isinstance(given, Card) else tuple(given)
        for card in cards:
            _check(card, taken)
            _check_networks(card, {**{one.name: one for one in cards}, **taken})
        if len({card.name for card in cards}) < len(cards):
            raise ValueError("it has two methods of one name")
    except (Exception, SystemExit) as error:
        reason = (
            f"it ends the program ({error})" if isinstance(error, SystemExit) else str(error) or type(error).__name__
        )
        warnings.warn(f"the plug-in {source} is left out: {reason}", PluginWarning, stacklevel=2)
        return {}
    return {card.name: card for card in cards}


def _check_networks(card: Card, known: Mapping[str, Card]) -> None:
    """Raises ValueError where the method whose networks a card starts from has none that it could."""
    of = card.needs.networks_of
    if of is None:
        return
    if of not in known:
        raise ValueError(f"{card.name} starts from the networks of {of!r}, and there is no such method")
    if known[of].needs.networks_of is not None or known[of].mask is not None or not known[of].promises.no_forgetting:
        raise ValueError(
            f"{card.name} starts from the networks of {of}, which must train them itself, without masks of the grid, "
            "and keep them as they are"
        )


def _check(card: Any, taken: Mapping[str, Card]) -> None:
    """Raises TypeError or ValueError where a plug-in's card cannot be used."""
    if not isinstance(card, Card):
        raise TypeError(f"it gives {type(card).__name__}, not a Card or several")
    if not _NAME.fullmatch(card.name):
        raise ValueError(f"the name {card.name!r} must be of small letters, digits and hyphens, 40 at most")
    if card.name in taken:
        raise ValueError(f"there is already a method {card.name!r}")
    groups = {"all", *(group for other in taken.values() for group in other.groups)}
    if card.name in groups:
        raise ValueError(f"{card.name!r} is the name of a group of methods")
    if any(group in taken or group == "all" for group in card.groups):
        raise ValueError(f"{card.name} is in a group that has the name of a method, or of all")
    if card.reference:
        raise ValueError(f"{card.name} claims to train the networks that other methods start from (reference)")
    if card.needs.backbone not in INITIAL_BACKBONES:
        raise ValueError(
            f"{card.name} needs the backbone {card.needs.backbone!r}, none of {', '.join(INITIAL_BACKBONES)}"
        )
    for target in (card.strategy, card.restore):
        if target and not re.fullmatch(r"[\w.]+:\w+", target):
            raise ValueError(f"{card.name} names {target!r}, which is no module:name")
    kind = MaskedSettings if card.mask is not None else Settings
    if not isinstance(card.settings, kind):
        raise TypeError(f"the settings of {card.name} are {type(card.settings).__name__}, no {kind.__name__}")
    for scenario, knobs in card.protocols.items():
        if unknown := [name for name in knobs if not hasattr(card.settings, name)]:
            raise ValueError(f"{card.name} sets {unknown[0]!r} for {scenario}, which is none of its knobs")
        check_settings(dataclasses.replace(card.settings, **knobs))
    if card.mask is not None:
        check_settings(card.mask)
    names = [measure.name for measure in card.measures]
    if wrong := [name for name in names if not _MEASURE.fullmatch(name) or names.count(name) > 1]:
        raise ValueError(
            f"{card.name} has the measure {wrong[0]!r}; each needs a name of its own, of small letters, "
            "digits and underscores, 40 at most"
        )
    if card.bn_policy not in BN_POLICIES:
        raise ValueError(f"{card.name} has the BN policy {card.bn_policy!r}, none of {', '.join(BN_POLICIES)}")
    check_settings(card.settings)
