"""The roof: collects the verbs, turns a wrong request into one sentence and exit code 2."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmark.errors import RequestError, printable
from methods.engine.knobs import shown

VERBS = ("run", "tune", "report", "merge", "list", "data", "check", "export", "reproduce", "perf", "smoke")

WINDOWS = os.name == "nt"
#: verbs that carry out runs, or write where another process may
NEED_LOCKS = ("run", "tune", "reproduce", "smoke", "perf", "data", "merge")

EPILOGUE = """\
quick start:
  python -m benchmark run                                   five methods on handwritten digits, about two minutes
  python -m benchmark list                                  what can be run
  python -m benchmark check --scenario cifar100-20 --data-root DIR
  python -m benchmark run --scenario cifar100-20 --data-root DIR --method ksm,piggyback --seed 0,1,2
"""


class Parser(argparse.ArgumentParser):
    """argparse with "did you mean" for options and verbs."""

    def error(self, message: str) -> NoReturn:
        """One line and exit code 2."""
        print(f"{self.prog}: {printable(message)}{self._suggestion(message)}", file=sys.stderr)
        raise SystemExit(2)

    def _suggestion(self, message: str) -> str:
        import difflib

        if "unrecognized arguments:" in message:
            word = message.split("unrecognized arguments:")[1].split()[0].split("=")[0]
            known = [option for action in self._every_action() for option in action.option_strings]
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.75)
            return f" Did you mean {near[0]!r}?" if near else self._meant(word)
        if "invalid choice:" in message:
            word, offered = message.split("'")[1], re.findall(r"'([\w-]+)'", message.partition("choose from")[2])
            near = difflib.get_close_matches(word, offered or list(VERBS), n=1)
            return f" Did you mean {near[0]!r}?" if near else ""
        return ""

    def _meant(self, word: str) -> str:
        """By meaning: options of ``run`` and settings."""
        from benchmark.plan.options import meant
        from benchmark.plan.request import Request

        return meant(Request, word, lambda one: one.flag)

    def _every_action(self) -> list[argparse.Action]:
        actions = list(self._actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    actions += parser._actions
        return actions


def parser(verbs: Sequence[str] = VERBS) -> Parser:
    """The whole command line, or only these verbs of it (the others cost time to describe)."""
    top = Parser(
        prog="python -m benchmark",
        description="Compare mask-based continual-learning methods: accuracy, training time, size.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = top.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    for verb in verbs:
        importlib.import_module(f"benchmark.cli.{verb}").add_parser(subparsers)
    return top


def _say_plugin_warnings_plainly() -> None:
    """A plug-in that is left out is one line on stderr, not a line of source code."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if category.__name__ == "PluginWarning":
            print(f"warning: {message}", file=sys.stderr)
        else:
            usual(message, category, *rest)

    warnings.showwarning = show  # type: ignore[assignment]


def _give_matplotlib_a_place() -> None:
    """A user without a home folder, as in some containers: matplotlib before 3.11 could not be imported."""
    try:
        Path.home()
    except RuntimeError:
        import tempfile

        place = Path(tempfile.gettempdir()) / f"maskbench-matplotlib-{os.getuid() if hasattr(os, 'getuid') else 0}"
        os.environ.setdefault("MPLCONFIGDIR", str(place))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 a run failed, 2 the request is wrong)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _give_matplotlib_a_place()
    _say_plugin_warnings_plainly()
    verbs = (words[0],) if words and words[0] in VERBS else VERBS
    args = parser(verbs).parse_args(words)
    try:
        if WINDOWS and words[0] in NEED_LOCKS:
            raise RequestError(
                f"{words[0]} needs file locks and forked processes, which Windows has not; run it in WSL or on Linux."
            )
        return int(args.run(args))
    except RequestError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, a pager say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a path that can be none, a disk that fails
        named = shown(str(error.filename)) if error.filename is not None else "a file or folder"
        print(f"error: {printable(named)} cannot be used ({error.strerror or error}).", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        return 130
