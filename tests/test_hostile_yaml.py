"""YAML files that are broken, enormous or malicious: one sentence with file and line, soon and in little memory."""

from __future__ import annotations

import math
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.cli.main import main
from benchmark.errors import RequestError
from benchmark.yaml_file import MOST_LEVELS, MOST_VALUES, load_mapping

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "reliability"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

pytestmark = pytest.mark.timeout(60)


def read(folder: Path, content: str | bytes, **options: Any) -> dict[str, Any]:
    path = folder / "plan.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_mapping(path, **options)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1\nb: [x, 2.5, true, null, {c: ~}]\n", {"a": 1, "b": ["x", 2.5, True, None, {"c": None}]}),
        ('{"a": [1, "\\u00e9"], "b": {"c": false}}', {"a": [1, "\u00e9"], "b": {"c": False}}),
        (b"\xef\xbb\xbfa: caf\xc3\xa9\r\nb: 2\r\n", {"a": "caf\u00e9", "b": 2}),
        ("base: &base {x: 1, y: 2}\na: *base\nb: *base\n", {key: {"x": 1, "y": 2} for key in ("base", "a", "b")}),
        ("base: &base {x: 1, y: 2}\na: {<<: *base, y: 3}\n", {"base": {"x": 1, "y": 2}, "a": {"x": 1, "y": 3}}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("a: '2024-12-31'\nb: \"1:2\"\n'3': x\n", {"a": "2024-12-31", "b": "1:2", "3": "x"}),
        ("a: 9223372036854775807\nb: -9223372036854775808\nc: 0x10\n", {"a": 2**63 - 1, "b": -(2**63), "c": 16}),
        ("# only a comment\n---\na: 2e-4\n...\n", {"a": "2e-4"}),
        ("a: " + "x" * 10_000, {"a": "x" * 10_000}),
        ("a: " + "[" * 31 + "]" * 31, {"a": eval("[" * 31 + "]" * 31)}),
    ],
)
def test_what_such_files_hold_is_read(content: str | bytes, expected: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path, content) == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", ", line 3: the key 'a' stands in line 1 already; remove one of the two."),
        ("a: {b: 1,\n b: 2}\n", ", line 2: the key 'b' stands in line 1 already; remove one of the two."),
        ("a: 1\n2: b\n", ", line 2: the key '2' is not a text in YAML; put it in quotes."),
        ("on: b\n", ", line 1: the key 'on' is not a text in YAML; put it in quotes."),
        ("? [a]\n: b\n", ", line 1: a key must be a text, not a list or a mapping."),
        ("a" * 101 + ": b\n", f", line 1: the key '{'a' * 56}… has more than 100 characters."),
        ("a: 1\nb: 2024-12-31\n", ", line 2: '2024-12-31' is a date in YAML; put it in quotes if a text is meant."),
        ("b: 2001-12-14 21:59:43.10 -5\n", ", line 1: '2001-12-14 21:59:43.10 -5' is a date in YAML; put it in quotes"),
        ("a: =\n", ", line 1: '=' has a meaning of its own in YAML; put it in quotes."),
        ("a: 9223372036854775808\n", ", line 1: '9223372036854775808' is no number of at most 64 bits; put it in"),
        ("a: " + "9" * 5000, f", line 1: '{'9' * 56}… is no number of at most 64 bits; put it in quotes if a text"),
        ("a: 0x" + "f" * 5000, f", line 1: '0x{'f' * 54}… is no number of at most 64 bits"),
        ("a: 1" + ":59" * 300, f", line 1: '1{':59' * 18}:… is no number of at most 64 bits"),
        ("a: 1." + "0" * 5000, f", line 1: '1.{'0' * 54}… is no number of at most 64 bits"),
        ("a: 0x_\n", ", line 1: '0x_' is no number of at most 64 bits"),
        (
            "a:\n- !!python/object/apply:os.system [x]\n",
            ", line 2: the tag 'tag:yaml.org,2002:python/object/apply:os.sys",
        ),
        (
            "a: !!int '3'\n",
            ", line 1: the tag 'tag:yaml.org,2002:int' is not taken; leave it out, and put texts in quotes.",
        ),
        ("a: !mine 3\n", ", line 1: the tag '!mine' is not taken"),
        ('a: 1\nb: "x\\0y"\n', r", line 2: 'x\x00y' holds the character U+0000; leave it out."),
        ('b: "\\e[2J"\n', r", line 1: '\x1b[2J' holds the character U+001B; leave it out."),
        ('b: "\\ud800"\n', r", line 1: '\ud800' holds the character U+D800; leave it out."),
        ('"\\a": b\n', r", line 1: '\x07' holds the character U+0007; leave it out."),
        ("a: 1\nb: x\0y\n", ", line 2: the character U+0000 may not stand there; remove it."),
        ("a: 1\n\n# \x1b[2J\n", ", line 3: the character U+001B may not stand there; remove it."),
        (b"a: 1\nb: \xff\n", ", line 2: this is not text in UTF-8; save the file as UTF-8."),
        ("a: 1\n".encode("utf-16"), ", line 1: this is not text in UTF-8; save the file as UTF-8."),
        (
            "a: 1\n---\nb: 2\n",
            " is not valid YAML: line 2: expected a single document in the stream, but found another",
        ),
        ("a: [1,\n", " is not valid YAML: line 2: while parsing a flow node, expected the node content, but found"),
        (
            "a: 1\n\tb: 2\n",
            " is not valid YAML: line 2: while scanning for the next token, found character '\\t' that cannot",
        ),
        ("a: *b\n", " is not valid YAML: line 1: found undefined alias 'b'."),
        ("<<: 3\n", " is not valid YAML: line 1: while constructing a mapping, expected a mapping or list of mappings"),
        ("a: &a [*a]\n", ", line 1: *a stands within what it stands for; write the value out."),
        ("a: &a {b: [*a]}\n", ", line 1: *a stands within what it stands for; write the value out."),
        (BOMB, ", line 4: the file holds more than 10,000 values, repeated ones (*alias) counted; shorten it."),
        ("a: [" + "x," * MOST_VALUES + "]", ", line 1: the file holds more than 10,000 values"),
        (
            "a: " + "[" * MOST_LEVELS + "]" * MOST_LEVELS,
            ", line 1: values lie within one another more than 32 levels deep",
        ),
        ("- " * 40 + "x", ", line 1: values lie within one another more than 32 levels deep; flatten them."),
        ("a: " + "x" * 10_001, ", line 1: a text of 10,001 characters; at most 10,000 are taken."),
        ("- a\n- b\n", " must hold keys with values."),
        ("just words\n", " must hold keys with values."),
        ("", " must hold keys with values."),
    ],
)
def test_what_is_refused_is_one_sentence(content: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        read(tmp_path, content)
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path}/plan.yaml{told}"), sentence
    assert sentence.endswith(".") and sentence.isprintable() and len(sentence) < 400 + len(str(tmp_path))


def test_an_alias_bomb_is_not_built(tmp_path: Path) -> None:
    """Written out it holds a billion values; merged, its keys would double with every line."""
    merged = "a: &a {x: 1}\n" + "".join(
        f"{name}: &{name} {{<<: [*{before}, *{before}]}}\n"
        for before, name in zip("abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwx", strict=True)
    )
    for content in (BOMB, merged):
        tracemalloc.start()
        started = time.monotonic()
        with pytest.raises(RequestError, match="more than 10,000 values"):
            read(tmp_path, content)
        assert time.monotonic() - started < 2
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        "[" * (1 << 19),
        "{" * (1 << 19),
        "? " * (1 << 18),
        "a: " + "[" * (1 << 19),
        "#\n" * (1 << 19),
        "a: |\n" + "\n" * (1 << 19),
    ],
    ids=["lists", "mappings", "questions", "list", "comments", "lines"],
)
def test_half_a_mebibyte_of_anything_is_read_soon(content: str, tmp_path: Path) -> None:
    started = time.process_time()
    with pytest.raises(RequestError):
        read(tmp_path, content if content[0] != "a" or "[" in content else content + "- x")
    assert time.process_time() - started < 8


def test_files_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a: 1\n")
    os.truncate(path, 1 << 40)  # a terabyte that takes no room
    with pytest.raises(RequestError, match=r"large\.yaml is larger than 1 MiB, the most that such a file may"):
        load_mapping(path)


@pytest.mark.timeout(10)
def test_pipes_devices_folders_and_absent_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(
            RequestError, match=rf"^The plan \S*/{name}\.yaml cannot be read \(it is no ordinary file\)\.$"
        ):
            load_mapping(tmp_path / f"{name}.yaml", "The plan")
    with pytest.raises(
        RequestError, match=r"^The plan \S*/absent\.yaml cannot be read \(No such file or directory\)\.$"
    ):
        load_mapping(tmp_path / "absent.yaml", "The plan")
    with pytest.raises(RequestError, match=r"cannot be read \(embedded null byte\)\.$"):
        load_mapping(tmp_path / "a\0b.yaml")


def test_nothing_may_be_empty_where_that_is_said(tmp_path: Path) -> None:
    for content in ("", "# nothing\n", "~\n"):
        assert read(tmp_path, content, may_be_empty=True) == {}
    for content in ("[]", "0", "''", "false"):
        with pytest.raises(RequestError, match=r"must hold keys with values, such as a: 1\.$"):
            read(tmp_path, content, may_be_empty=True, such_as=", such as a: 1")


PIECES = (
    *(
        "a",
        "b: ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "\n",
        "\n  ",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "|\n",
        ">",
        "'",
        '"',
        "\\",
    ),
    *(
        "!!int ",
        "!",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "#",
        "1",
        "0x",
        "1:2",
        "2024-01-02",
        "~",
        ".inf",
        "=",
        "\t",
        "on",
    ),
    *("\u2028", "\ufeff", "\x85", "\0", "\\ud800", "\r", "@", "`"),
)


@given(content=st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_it_holds_it_is_plain_values_or_one_sentence(content: str | bytes, tmp_path: Path) -> None:
    try:
        found, told = read(tmp_path, content), ""
    except RequestError as error:
        found, told = {}, str(error)
    assert plain(found)
    assert not told or (told.isprintable() and told.startswith(f"{tmp_path}/plan.yaml") and told.endswith("."))


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    if isinstance(value, str):
        return value.encode() is not None and "\0" not in value
    return value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) <= 2**63)


def test_plain_knows_what_is_not() -> None:
    assert plain({"a": [1, "x", None, math.inf]})
    assert not plain({1: 2}) and not plain([2**70]) and not plain("\0") and not plain({"a": (1,)})


# --- whole commands ---------------------------------------------------------------------------------------------------


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code, and the lines that say what is wrong."""
    code = main(words)
    told = capsys.readouterr().err.splitlines()
    return code, [line for line in told if line.startswith(("error: ", "not ready: "))]


@pytest.mark.timeout(60)
def test_a_home_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = refusal(["run", "--config", "~no-such-user/plan.yaml", "--dry-run"], capsys)
    assert code == 2 and lines == [
        "error: The configuration ~no-such-user/plan.yaml cannot be read (No such file or directory)."
    ]


def test_a_configuration_is_read_by_the_same_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    for content, told in (
        ("epochs: 1\nepochs: 2\n", ", line 2: the key 'epochs' stands in line 1 already; remove one of the two."),
        ("epochs: 2024-12-31\n", ", line 1: '2024-12-31' is a date in YAML; put it in quotes if a text is meant."),
        ("- epochs\n", " must hold keys with values, like the options of run."),
    ):
        path.write_text(content)
        assert refusal(["run", "--config", str(path), "--dry-run"], capsys) == (2, [f"error: {path}{told}"])
    path.write_text("")
    assert refusal(["run", "--config", str(path), "--dry-run", "--results", str(tmp_path / "runs")], capsys) == (0, [])


def cases(folder: str) -> list[Path]:
    """The files of a folder of cases beside the checkout; where there is none, one that the test skips."""
    return sorted((CASES / folder).glob("*")) or [CASES / folder / "absent"]


#: files that are right: what `check` has to say of them is that all is there
RIGHT = ("big.yaml", "bom.yaml", "task_evil.yaml", "width_tiny.yaml")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", [*cases("yaml"), *cases("config")], ids=lambda path: path.name)
def test_collected_cases(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not path.exists():
        pytest.skip(f"the collected cases are not here: no {path.parent}")
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    config = ["run", "--dry-run", "--results", str(tmp_path / "runs"), "--config", str(path)]
    words = config if path.parent.name == "config" else ["check", "--scenario", str(path)]
    started = time.process_time()
    code = main(words)
    assert time.process_time() - started < 10
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith(("error: ", "not ready: "))]
    if path.name in RIGHT:
        assert (code, lines) == (0, []) and printed.out.splitlines()[-1] == "ready"
        return
    assert code == 2 and len(lines) == 1, printed
    assert all(line.isprintable() and line.endswith((".", "?")) for line in lines), lines
