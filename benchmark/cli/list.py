"""``list``: what can be run, one line each. Imports neither torch nor numpy."""

from __future__ import annotations

import argparse

from benchmark.cli.command_line import add_options, settle

OPTIONS = ("plugins",)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``list``."""
    parser = subparsers.add_parser("list", help="what can be run: methods and scenarios, one line each")
    parser.add_argument(
        "what",
        nargs="?",
        choices=("methods", "scenarios", "settings", "data"),
        help="default: both of the first; data: what to get for them, and from whom",
    )
    add_options(parser, OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print names and summaries on stdout."""
    settle(args, OPTIONS)
    if args.what == "settings":
        _settings()
        return 0
    if args.what == "data":
        _data()
        return 0
    if args.what in (None, "methods"):
        _methods()
    if args.what is None:
        print()
    if args.what in (None, "scenarios"):
        _scenarios()
    return 0


def _methods() -> None:
    from methods.registry import GROUPS, METHODS

    print("methods")
    members_of = dict(GROUPS)
    for method in METHODS.values():
        groups = ", ".join(name for name, members in members_of.items() if method.name in members and name != "all")
        caveat = f"; {method.caveat}" if method.caveat else ""
        print(f"  {method.name:<22} {method.summary}{caveat}{f' [{groups}]' if groups else ''}")
    print(f"  groups: {', '.join(members_of)}")


def _scenarios() -> None:
    from benchmark.scenarios.loader import known_scenarios, load_scenario

    print("scenarios")
    for name in known_scenarios():
        print(f"  {name:<22} {load_scenario(name).summary}")
    print("  FILE.yaml              a scenario of your own, see docs/add-a-scenario.md")
    from benchmark.backbones.builder import known_backbones

    print(f"\nbackbones\n  {', '.join(known_backbones())}")
    print(
        "  timm:NAME              a network of the library timm (pip install timm), such as timm:tf_efficientnet_lite0"
    )


def _data() -> None:
    from benchmark.scenarios.sources import CIFAR100, FINE_GRAINED, table

    print(table([*FINE_GRAINED, CIFAR100]))


def _settings() -> None:
    from benchmark.plan.overrides import settings_help

    print("settings for --set key=value, with the papers' defaults (a protocol may set others)")
    print(settings_help())
    from benchmark.plan.grid_option import grid_help

    print("\nfactors for --grid factor=level,level; the first level is what others are compared with")
    print(grid_help())
