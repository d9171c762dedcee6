"""The shape of the house: no circle of imports, no method named outside its folder, modules of a readable length."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.scenarios.loader import known_scenarios
from methods.registry import METHODS

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmark", "methods", "reports", "results")

#: files whose literals may name a method all the same, and why
ALLOWED = {
    "benchmark/plan/spec.py": "scratch is the record's field of task 1's settings",
    "results/schema.py": "the same",
    "benchmark/cli/main.py": "examples in the help",
    "benchmark/cli/command_line.py": "an example in an error",
    "benchmark/cli/perf.py": "examples in the help",
    "benchmark/cli/reproduce.py": "what each table of the paper holds, in the help",
    "benchmark/cli/run.py": "examples in the help",
    "benchmark/cli/tune.py": "examples in the help",
    "benchmark/cli/smoke.py": "which methods the smoke benchmark runs, at which rates",
    "benchmark/perf/peers.py": "the peers are other people's implementations of these methods",
}
#: names that are also words of the field: found as a whole literal or key only
WORDS = ("scratch",)

#: where a method may be named: its own folder, the papers' tables and claims
MAY_NAME_METHODS = ("methods/", "reports/papers/", "benchmark/plan/papers/")

#: modules that every method's folder has
EVERYWHERE = ("__init__.py", "card.py", "strategy.py")

LONGEST = 300
#: longer modules, each with its reason
LONGER = {
    "benchmark/execute/runner.py": "one run from its first to its last moment; every part needs the others' state",
}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((REPOSITORY / package).rglob("*.py"))


def place(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string literal of a module that is no docstring, pieces of f-strings too, with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def named(words: tuple[str, ...], text: str) -> str | None:
    """The first of ``words`` in a literal: anywhere, but those that are also words only as a whole or as a key."""
    for word in words:
        pattern = rf"{re.escape(word)}([.=].*)?" if word in WORDS else rf"(.*[^\w-])?{re.escape(word)}([^\w-].*)?"
        if re.fullmatch(pattern, text, re.S):
            return word
    return None


def test_no_module_outside_the_methods_names_one() -> None:
    words = tuple(METHODS)
    found = [
        f"{place(path)}:{line}: {text!r}"
        for path in modules()
        if not place(path).startswith(MAY_NAME_METHODS)
        for line, text in strings(path)
        if place(path) not in ALLOWED and named(words, text)
    ]
    assert found == []


def test_no_report_outside_the_papers_names_a_scenario() -> None:
    words = known_scenarios()
    found = [
        f"{place(path)}:{line}: {text!r}"
        for path in modules()
        if place(path).startswith("reports/") and not place(path).startswith("reports/papers/")
        for line, text in strings(path)
        if named(words, text)
    ]
    assert found == []


def test_the_search_for_names_finds_them(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""ksm"""\nX = {"ksm": 1}\nY = f"the ksm.{X}"\nZ = "ksmish, ksm-softer"\n')
    found = sorted((line, named(("ksm",), text)) for line, text in strings(module))
    assert found == [(2, "ksm"), (3, "ksm"), (4, None)]
    texts = ("scratch", "from scratch", "scratch.lr", "see ksm")
    assert [named(("scratch", "ksm"), text) for text in texts] == ["scratch", None, "scratch", "ksm"]
    assert all((REPOSITORY / path).is_file() for path in ALLOWED)


def imports_of(path: Path) -> set[str]:
    """Modules of the house that a module imports when it is imported; those for type checkers are none."""
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
                visit(node.body)
                visit(node.orelse)
            elif isinstance(node, ast.Try | ast.ClassDef | ast.With):
                visit(node.body)

    visit(ast.parse(path.read_text(encoding="utf-8")).body)
    return {name for name in found if name.split(".")[0] in PACKAGES}


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, above: list[str]) -> list[str]:
        if name in above:
            return [*above[above.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := walk(other, [*above, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := walk(name, []):
            return found
    return []


def test_no_circle_of_imports() -> None:
    known = {module_name(path): path for path in modules()}
    graph = {name: {other for other in imports_of(path) if other in known} - {name} for name, path in known.items()}
    assert circle(graph) == []


def test_the_search_for_circles_finds_one() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_methods_know_nothing_of_the_suite_that_runs_them() -> None:
    found = {
        f"{place(path)}: {name}"
        for path in modules()
        if place(path).startswith(("methods/", "results/"))
        for name in imports_of(path)
        if name.split(".")[0] in ("benchmark", "reports")
    }
    assert found == set()


def test_modules_are_of_a_readable_length() -> None:
    long = {place(path) for path in modules() if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST}
    assert long == set(LONGER)


@pytest.mark.parametrize("name", METHODS)
def test_cards_point_at_strategies_that_are_there(name: str) -> None:
    module, _, attribute = METHODS[name].strategy.partition(":")
    path = REPOSITORY / (module.replace(".", "/") + ".py")
    assert path.is_file()
    assert f"class {attribute}(" in path.read_text(encoding="utf-8")


def test_docstrings_cite_modules_and_names_that_are_there() -> None:
    """``methods.engine.parts`` and the like in double backquotes: a module, or a name in one."""
    cited = re.compile(r"``((?:benchmark|methods|reports|results)(?:\.\w+)+)[^`]*``")
    known = {module_name(path): path.read_text(encoding="utf-8") for path in modules()}
    known |= {".".join(name.split(".")[:-1]): "" for name in list(known) if "." in name}
    found = []
    for path in modules():
        for name in cited.findall(path.read_text(encoding="utf-8")):
            module, _, last = name.rpartition(".")
            owner, _, outer = module.rpartition(".")
            in_module = re.search(rf"\b{last}\b", known.get(module, ""))
            text = known.get(owner, "")
            in_class = re.search(rf"\b{last}\b", text) and re.search(rf"\b{outer}\b", text)
            if name not in known and not in_module and not in_class:
                found.append(f"{place(path)}: {name}")
    assert found == []


def test_comments_and_docstrings_cite_what_ships() -> None:
    """No citation of a document that is not in the repository."""
    cited = re.compile(r"\b(METHODS(_EXTENDED)?|MEASURING|STYLE|AVALANCHE|ARCHITECTURE)(\.md|:| \d)")
    found = []
    for path in modules():
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type in (tokenize.COMMENT, tokenize.STRING) and cited.search(token.string):
                    found.append(f"{place(path)}:{token.start[0]}")
    assert found == []


def test_no_two_modules_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for path in modules():
        if path.name not in EVERYWHERE:
            places.setdefault(path.name, []).append(place(path))
    assert [found for found in places.values() if len(found) > 1] == []
