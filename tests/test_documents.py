"""What documents say: the site builds, links and citations lead somewhere, commands parse, tables are the cards'."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.main import parser
from methods.card import Card
from methods.registry import METHODS

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *(path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts)]

#: documents that are cited but not in the repository, and why
ELSEWHERE = {"tables.md": "every report writes one", "comment.md": "report --comment writes it"}


def place(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    absent = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"the site cannot be built without {', '.join(absent)}: pip install -e '.[docs]'")
    words = ["-W", "-q", "-b", "html", "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}  # of packages that are imported; Sphinx's own are not Python's
    command = [sys.executable, "-m", "sphinx", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "html" / "index.html").is_file()


def links(page: Path) -> Iterator[str]:
    """Paths that a page links to, relative to it; addresses and places in the page itself are none."""
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_links_lead_to_files(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def tracked(*endings: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if done.returncode:
        pytest.skip("this is no git checkout")
    paths = [REPOSITORY / line for line in done.stdout.splitlines()]
    return [path for path in paths if path.suffix in endings and path.is_file()]


def test_cited_documents_are_there() -> None:
    """By their path in the repository, by that from the citing file, or by their name alone."""
    names = {path.name for path in tracked(".md")} | set(ELSEWHERE)
    found = []
    for path in tracked(".py", ".md", ".yaml", ".yml", ".toml"):
        for cited in re.findall(r"[\w./-]*\w\.md\b", path.read_text(encoding="utf-8")):
            there = (REPOSITORY / cited).is_file() or (path.parent / cited).is_file()
            if not there and cited not in names:
                found.append(f"{place(path)}: {cited}")
    assert found == []


def commands(text: str) -> Iterator[list[str]]:
    """The words after ``python -m benchmark`` in code, without comments and what the shell adds."""
    for line in text.replace("\\\n", " ").splitlines():
        for start in re.finditer(r"python -m benchmark(?= |`|$)", line):
            rest = re.split(r"[`\"]|&&", line[start.end() :])[0]
            yield shlex.split(rest, comments=True)


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_commands_parse(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, found = parser(), []
    for words in commands(page.read_text(encoding="utf-8")):
        try:
            whole.parse_args(words)
        except SystemExit:
            found.append(f"{shlex.join(words)}: {capsys.readouterr().err.strip()}")
    assert found == []


def test_the_search_for_commands_finds_them() -> None:
    text = 'x && .venv/bin/python -m benchmark run\nE="python -m benchmark perf --scale"\n'
    text += "`python -m benchmark list` is\npython -m benchmark export RUN \\\n  --task 3   # a comment\n"
    assert list(commands(text)) == [["run"], ["perf", "--scale"], ["list"], ["export", "RUN", "--task", "3"]]


def shown(value: Any) -> str:
    """A setting as the tables have it."""
    if value in (None, ()):
        return "–"
    if isinstance(value, tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_tables() -> Iterator[tuple[Card, list[str], list[list[str]]]]:
    """Tables whose first cell is a method: its card, the protocols, and the lines below."""
    text = (DOCS / "methods.md").read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        head, _, *lines = [[cell.strip(" `") for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
        if head[0] in METHODS:
            yield METHODS[head[0]], head[1:], lines


def test_tables_of_settings_are_the_cards() -> None:
    found, sections = [], set()
    for card, protocols, lines in settings_tables():
        sections.add(card.section)
        for at, protocol in enumerate(protocols, start=1):
            settings = dataclasses.replace(card.settings, **card.protocols.get(protocol, {}))
            for knob, *cells in lines:
                said = cells[0] if cells[at - 1] == "the same" else cells[at - 1]
                if said != (meant := shown(getattr(settings, knob))):
                    found.append(f"{card.name}.{knob}, {protocol}: {said}, the card has {meant}")
    assert found == []
    assert sections == {card.section for card in METHODS.values() if card.strategy.startswith("methods.")}
