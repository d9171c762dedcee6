"""``list``: what can be run, one line each. Imports neither torch nor numpy."""

from __future__ import annotations

import argparse

from benchmark.cli.options import add_plugin, plugins_of


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``list``."""
    parser = subparsers.add_parser("list", help="what can be run: methods and scenarios, one line each")
    parser.add_argument(
        "what", nargs="?", choices=("methods", "scenarios", "settings"), help="default: both of the first"
    )
    add_plugin(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print names and summaries on stdout."""
    plugins_of(args.plugin)
    if args.what == "settings":
        _settings()
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
    for method in METHODS.values():
        groups = ", ".join(name for name, members in GROUPS.items() if method.name in members and name != "all")
        print(f"  {method.name:<22} {method.summary}{f' [{groups}]' if groups else ''}")
    print(f"  groups: {', '.join(GROUPS)}")


def _scenarios() -> None:
    from benchmark.scenarios.registry import known_scenarios, load_scenario

    print("scenarios")
    for name in known_scenarios():
        print(f"  {name:<22} {load_scenario(name).summary}")
    print("  FILE.yaml              a scenario of your own, see docs/own-scenario.md")
    from benchmark.backbones.registry import known_backbones

    print(f"\nbackbones\n  {', '.join(known_backbones())}")


def _settings() -> None:
    from benchmark.plan.overrides import known_keys

    print("settings for --set key=value, with the papers' defaults (a scenario may set others)")
    for name, key in known_keys().items():
        shown = ",".join(str(item) for item in key.default) if isinstance(key.default, tuple) else str(key.default)
        about = key.about
        unit = f" [{about.unit}]" if about.unit else ""
        choices = f": {', '.join(about.choices)}" if about.choices else ""
        print(f"  {name:<36} {shown:<16} {about.help}{unit}{choices}")
