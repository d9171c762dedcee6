"""What a report knows by name stands in ``reports/papers`` and nowhere else; cards and printed tables fit together."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from methods.registry import METHODS
from reports.papers import PAPERS, paper_of
from reports.papers.ksm_paper import ABLATION, ROWS
from reports.papers.paper_card import PaperScenario

REPORTS = Path(__file__).resolve().parent.parent / "reports"
PAPERS_FOLDER = REPORTS / "papers"

METHOD_NAMES = {
    "scratch", "head-only", "finetune", "finetune-sequential", "packnet", "piggyback", "cpg", "ksm",
    "piggyback-kernelwise", "piggyback-soft", "ksm-softmax", "ksm-elementwise",
}  # fmt: skip
SCENARIO_NAMES = {"cifar100-20", "imagenet2sketch", "digits"}
#: names that are English words too: a heading may say "To scratch"
WORDS = {"scratch", "digits"}

_NAME = re.compile(
    "(?<![A-Za-z0-9_])(" + "|".join(sorted(METHOD_NAMES | SCENARIO_NAMES, key=len, reverse=True)) + ")(?![A-Za-z0-9_])"
)


def literals(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a module, those inside f-strings too; docstrings are none."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def named(text: str) -> list[str]:
    """Methods and scenarios that a string names, alone or as part of a key."""
    return [name for name in _NAME.findall(text) if name not in WORDS or not re.search(r"\s", text)]


@pytest.mark.parametrize("name", sorted(METHOD_NAMES | SCENARIO_NAMES))
def test_a_name_that_is_put_back_is_found(name: str) -> None:
    for source in (
        f'look("{name}")',
        f"x = {{'{name}': 1}}",
        f'x = f"{{y}}-{name}"',
        f"x = f\"a {{look('{name}')}}\"",
        f'key = "{name}-above-another"',
        f'if method == """{name}""":\n    pass',
    ):
        assert [found for _, text in literals(source) for found in named(text)] == [name], source
    assert not [text for _, text in literals(f'"""The module {name}."""\nx = "{name.upper()}"') if named(text)]


def test_ordinary_words_and_fields_of_records_are_no_names() -> None:
    assert named("To scratch") == named("cpg_table") == named("ratio_to_finetune") == []
    assert named("needs ksm here") == ["ksm"]


def test_no_method_and_no_scenario_is_named_outside_the_papers() -> None:
    assert set(METHODS) >= METHOD_NAMES
    found = [
        f"{path.relative_to(REPORTS)}:{line}: {text!r}"
        for path in sorted(REPORTS.rglob("*.py"))
        if PAPERS_FOLDER not in path.parents
        for line, text in literals(path.read_text(encoding="utf-8"))
        if named(text)
    ]
    assert found == []
    for path in (REPORTS / "templates").iterdir():
        assert not set(_NAME.findall(path.read_text(encoding="utf-8"))) - WORDS, path


def test_no_two_modules_import_each_other() -> None:
    imports = {}
    for path in REPORTS.rglob("*.py"):
        parts = path.relative_to(REPORTS.parent).with_suffix("").parts
        imports[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {name: set() for name in imports}
    for name, path in imports.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                graph[name] |= {node.module, *(f"{node.module}.{item.name}" for item in node.names)} & graph.keys()
        graph[name].discard(name)
    while free := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - free for name, needs in graph.items() if name not in free}
    assert graph == {}


#: rows of printed tables whose methods the suite does not have
ELSEWHERE = ("GPM", "FS-DGPM", "Multitask")


def test_a_table_that_prints_means_alone_is_compared_over_all_of_its_tasks() -> None:
    printed = paper_of("cifar100-superclass").accuracy.printed
    assert printed is not None
    names = [f"task {number}" for number in range(20)]
    assert printed.mean("wsn", names) == 61.79
    assert printed.mean("wsn", names[:5]) is None, "five tasks have no printed mean"
    assert printed.mean("ksm", names) is None
    assert printed.get("wsn", "task 1") is None


def test_cards_name_methods_that_there_are() -> None:
    for card in PAPERS.values():
        of_card = {*card.methods, *card.own, *card.ablation_order, *card.drawn, card.own_method}
        assert of_card <= set(METHODS), card.scenario
        for table in (card.accuracy, card.training_time, card.model_size, card.ablation):
            if table.printed:
                assert set(table.printed.values) <= {*METHODS, *ELSEWHERE}, table.title
    assert set(ROWS.values()) <= set(METHODS)


def test_printed_tables_as_the_paper_has_them() -> None:
    twenty, sketch = paper_of("cifar100-20"), paper_of("imagenet2sketch")
    assert twenty.accuracy.printed and twenty.training_time.printed and twenty.initial_tasks.printed
    assert sketch.accuracy.printed and sketch.model_size.printed and sketch.ablation.printed
    assert twenty.accuracy.printed.name == "Table 1 of the KSM paper"
    assert twenty.accuracy.printed.get("ksm", twenty.column(1, "aquatic_mammals")) == 67.2
    assert twenty.training_time.printed.get("cpg", twenty.column(2, "fish")) == 2101
    assert twenty.initial_tasks.printed.get("1", "2") == 78.0
    assert sketch.accuracy.printed.get("finetune", sketch.column(3, "flowers")) == 96.56
    assert sketch.model_size.printed.get("ksm", "cpg_table") == 146
    assert sketch.ablation.printed.get("piggyback-soft", "cubs_cropped") == 82.26
    assert {note.kind for note in twenty.accuracy.printed.notes} == {"source", "selection", "slip", "rounding"}
    assert {note.field for note in sketch.model_size.printed.notes} == {"model_size_mb_printed"}
    assert twenty.drawn == ("packnet", "piggyback", "cpg", "ksm")


def test_a_scenario_that_no_paper_has_is_neutral() -> None:
    mine, bare = paper_of("my-own"), PaperScenario("my-own", "my-own")
    assert (mine.title, mine.in_paper, mine.methods, mine.drawn, mine.cost_figure) == ("my-own", False, (), (), "")
    assert all(table.printed is None for table in (mine.accuracy, mine.training_time, mine.model_size, mine.ablation))
    assert (mine.accuracy, mine.training_time, mine.decimals) == (bare.accuracy, bare.training_time, bare.decimals)
    assert mine.column(3, "flowers") == "flowers"
    assert mine.position > max(card.position for card in PAPERS.values())
    assert mine.ablation_order == ABLATION  # whoever runs the ablation elsewhere has its table
    assert paper_of("digits").title == "Digits"
