"""Options: fields of a dataclass that the command line, ``--config`` and the Python API are made from.

An option is one field of ``benchmark.plan.request.Request``: its name, type, default and help stand there and nowhere
else. Imports no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import RequestError, did_you_mean
from methods.engine.knobs import Knob, WrongValue, coerced, inner_type, items_of, shown, types_of

#: the field that holds settings of methods, which have a check of their own
SETTINGS = "overrides"

#: groups in ``--help``
WHAT, HOW = "what to run", "where and how"


@dataclass(frozen=True)
class Option(Knob):
    """What is known of an option beside its type and default."""

    group: str = WHAT
    word: str = ""  #: on the command line, where that is another than the field's name: one of several, say
    metavar: str = ""
    everywhere: bool = True  #: False: on the command line and in Python only, not in a configuration file
    told: str = ""  #: the default, in words, where it is not to be read off the field
    reader: Callable[[Any], Any] | None = None  #: from what is given to the field, where its type does not say how
    words: bool = False  #: any number of words on the command line, none at all too


def option(default: Any, help: str, **about: Any) -> Any:
    """A dataclass field that users can set; see :class:`Option`."""
    made = Option(help, **about)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"knob": made})
    return field(default=default, metadata={"knob": made})


@dataclass(frozen=True)
class Declared:
    """One option with all that there is to know of it."""

    name: str  #: the field's
    hint: Any
    default: Any
    about: Option

    @property
    def word(self) -> str:
        """Its name on the command line and in a configuration file, without dashes: ``train_limit``, ``seed``."""
        if self.about.word:
            return self.about.word
        return f"no_{self.name}" if self.is_flag and self.default else self.name

    @property
    def flag(self) -> str:
        """``--train-limit``."""
        return "--" + self.word.replace("_", "-")

    @property
    def is_flag(self) -> bool:
        """It is on or off: given without a value on the command line."""
        return self.hint is bool

    @property
    def is_list(self) -> bool:
        """It may be given several times, or with commas."""
        return self.about.reader is None and getattr(inner_type(self.hint)[0], "__origin__", None) is tuple

    def read(self, value: Any, shown_as: str) -> Any:
        """``value`` as the field has it. Raises RequestError, calling the option ``shown_as``."""
        try:
            if self.about.reader is not None:
                return self.about.reader(value)
            if self.is_list:
                several = coerced(self.hint, self.about, _single_values(items_of(value)))
                return tuple(dict.fromkeys(several))  # each once
            return coerced(self.hint, self.about, value)
        except WrongValue as error:
            raise RequestError(f"{shown_as} {error}.") from None


def _single_values(value: str | list[Any] | tuple[Any, ...]) -> list[Any]:
    """``"0,1"``, ``["0,1", 2]`` -> the single values."""
    parts: list[Any] = []
    for word in [value] if isinstance(value, str) else value:
        parts += [part.strip() for part in word.split(",")] if isinstance(word, str) else [word]
    return parts


def declared(kind: type) -> dict[str, Declared]:
    """The options of a dataclass, by the field's name."""
    hints = types_of(kind)
    found = {}
    for item in dataclasses.fields(kind):
        about = item.metadata.get("knob")
        if isinstance(about, Option):
            default = {} if item.default is dataclasses.MISSING else item.default
            found[item.name] = Declared(item.name, hints[item.name], default, about)
    return found


def read_values(
    kind: type, values: Mapping[str, Any], spelled: Callable[[Declared], str], where: str = ""
) -> dict[str, Any]:
    """Values by field or command-line name -> checked values by field.

    Args:
        spelled: how a message calls an option.
        where: what a message about an unknown name begins with.

    Raises:
        RequestError: an unknown name, or a value that an option cannot take.
    """
    known = declared(kind)
    names = {name: one for one in known.values() for name in (one.name, one.word) if one.name != SETTINGS}
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = str(name).replace("-", "_")
        if key not in names:
            raise RequestError(f"{where}There is no option {shown(name)}.{meant(kind, key, lambda one: one.name)}")
        one = names[key]
        if one.name in found:
            raise RequestError(f"{where}{one.word} and {one.name} are one option; give it once.")
        if one.is_flag and key == f"no_{one.name}":
            value = not one.read(value, spelled(one))
        found[one.name] = one.read(value, spelled(one))
    return found


def meant(kind: type, word: str, spelled: Callable[[Declared], str]) -> str:
    """`` Did you mean …?`` for a word that is no option: one that looks or means alike, or a setting."""
    from benchmark.plan.overrides import settings_called

    known = declared(kind)
    word = word.lstrip("-").replace("-", "_").lower()
    also = {other: spelled(one) for one in known.values() for other in (one.word, one.name, *one.about.also)}
    if word not in also and (settings := settings_called(word)):
        return f" It is a setting: --set {settings[0]}=…; 'python -m benchmark list settings' shows all."
    return did_you_mean(word, [spelled(one) for one in known.values()], also)
