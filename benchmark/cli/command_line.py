"""Options at the command line: made from the fields of ``Request``, completed from a configuration file.

What is given on the command line wins over the file, the file over a preset. Imports no torch.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import RequestError
from benchmark.plan.options import HOW, SETTINGS, WHAT, Declared, declared, read_values
from benchmark.plan.request import Request
from methods.registry import use_plugins

#: options that are words of the command line only
CONFIG, DRY_RUN = "config", "dry_run"


def add_options(
    parser: argparse.ArgumentParser, only: Collection[str] | None = None, defaults: Mapping[str, str] | None = None
) -> None:
    """The options of ``Request``, or those of its fields in ``only``; what is not given is None.

    ``defaults``: in words, where a command has others than ``run``.
    """
    known = declared(Request)
    shown = [known[name] for name in (known if only is None else only)]
    for title in (WHAT, HOW):
        if members := [one for one in shown if one.about.group == title]:
            group = parser.add_argument_group(title)
        for one in members:
            _add(group, one, (defaults or {}).get(one.name))


def _add(group: argparse._ArgumentGroup, one: Declared, default: str | None) -> None:
    if one.is_flag:
        group.add_argument(one.flag, dest=one.name, action="store_const", const=not one.default, help=one.about.help)
        return
    several = one.is_list or one.name == SETTINGS
    words: dict[str, Any] = {"action": "extend", "nargs": "*"} if one.about.words else {}
    group.add_argument(
        one.flag,
        dest=one.name,
        **words or {"action": "append" if several else "store"},
        metavar=one.about.metavar or None,
        help=help_of(one, default).replace("%", "%%"),
    )


def help_of(one: Declared, default: str | None = None) -> str:
    """What an option does, which values it takes, and its default."""
    told = default or one.about.told or ("" if one.default in (None, (), {}) else str(one.default))
    choices = [item for item in one.about.choices if item not in one.about.help]
    allowed = f" [{', '.join(one.about.choices)}]" if choices else ""
    return f"{one.about.help}{allowed}{f' (default: {told})' if told else ''}"


def add_config(parser: argparse.ArgumentParser) -> None:
    """The options that only a command has: ``--config``, ``--dry-run``."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML with options as keys; those given here win")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, with an estimate of its time, and stop")


def given(args: argparse.Namespace, only: Collection[str] | None = None) -> dict[str, Any]:
    """The options that the command line gives, checked, by field. Raises RequestError."""
    names = {name: one for name, one in declared(Request).items() if only is None or name in only}
    words = {name: value for name in names if (value := getattr(args, name, None)) is not None}
    for name, word in words.items():
        if word == "" or word == [""]:
            raise RequestError(f"{names[name].flag} needs a value.")
    overrides = words.pop(SETTINGS, None)
    flags = {name: words.pop(name) for name in tuple(words) if names[name].is_flag}
    found = read_values(Request, words, lambda one: one.flag) | flags
    use_plugins(found.get("plugins", ()))
    if not overrides:
        return found
    from benchmark.plan.overrides import checked, parse

    return found | {"overrides": checked(parse(overrides))}


def request_of(args: argparse.Namespace, preset: Mapping[str, Any] | None = None) -> Request:
    """Defaults, then what a preset, the configuration file and the command line say. Raises RequestError."""
    told = given(args)
    path: Path | None = getattr(args, CONFIG, None)
    filed = from_config(path) if path is not None else {}
    overrides = {**filed.get("overrides", {}), **told.get("overrides", {})}
    return Request(**{**(preset or {}), **filed, **told, "overrides": overrides})


def from_config(path: Path) -> dict[str, Any]:
    """The options of a YAML file, checked, by field; its paths are relative to it.

    Raises:
        RequestError: it cannot be read, or an option is unknown or takes no such value.
    """
    from benchmark.plan.overrides import checked
    from benchmark.yaml_file import load_mapping

    path = Path(os.path.expanduser(path))
    content = load_mapping(path, "The configuration", ", like the options of run", may_be_empty=True)
    overrides = content.pop("set", None) or {}
    if not isinstance(overrides, dict):
        raise RequestError(f"{path}: 'set' must hold keys and values, such as ksm.lr: 2e-4.")
    found = read_values(Request, content, lambda one: f"{path}: {one.word}", f"{path}: ")
    known = declared(Request)
    for name in found:
        if not known[name].about.everywhere:
            raise RequestError(f"{path}: {known[name].flag} belongs on the command line, not in a file.")
    use_plugins(found.get("plugins", ()))
    for name in ("weights", "data_root", "results"):
        if found.get(name) is not None:
            found[name] = path.parent / found[name]
    try:
        return found | {"overrides": checked(overrides)}
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def settle(args: argparse.Namespace, only: Collection[str]) -> Request:
    """For commands that take a few of the options: each in ``args``, checked, or its default. Raises RequestError."""
    request = Request(**given(args, only))
    for name in only:
        setattr(args, name, getattr(request, name))
    return request
