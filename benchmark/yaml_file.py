"""The mapping that a YAML file holds, read within bounds of time and memory; every fault names file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import Reader

from benchmark.errors import RequestError
from methods.engine.knobs import shown
from results.atomic import require_regular
from results.units import in_units

MOST_BYTES = 1 << 20
MOST_VALUES = 10_000  #: every alias counted with all that it stands for
MOST_LEVELS = 32
MOST_CHARACTERS = 10_000  #: of a text
KEY_CHARACTERS, NUMBER_CHARACTERS = 100, 100

#: types that a value may have by what it looks like; none is named in the file
PLAIN = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
DATE = "tag:yaml.org,2002:timestamp"
#: what an escape such as "\e" can put into a text, and no terminal, file name or record should meet
UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class _Fault(Exception):
    """What is wrong, and the line (from 0)."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


def load_mapping(path: Path, what: str = "", such_as: str = "", may_be_empty: bool = False) -> dict[str, Any]:
    """Keys, which are texts, with values: texts, numbers, true, false, null, lists and mappings of these.

    Args:
        what: what a message calls the file before its path, such as ``The configuration``.
        such_as: ends the message about a file without keys, such as ``, such as 'tasks:'``.
        may_be_empty: whether a file without content is an empty mapping.

    Raises:
        RequestError: the file cannot be read, is no YAML, or is larger, deeper or stranger than such files are.
    """
    text = _text(path, what)
    try:
        with _loader(text) as loader:
            content = loader.get_single_data()
    except _Fault as fault:
        raise RequestError(f"{path}, line {fault.line + 1}: {fault}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        told = " ".join(", ".join(filter(None, (error.context, error.problem))).split())
        raise RequestError(f"{path} is not valid YAML: {line}{told}.") from None
    if content is None and may_be_empty:
        return {}
    if not isinstance(content, dict):
        raise RequestError(f"{path} must hold keys with values{such_as}.")
    return content


def _text(path: Path, what: str) -> str:
    """The file's text, of characters that YAML knows. Raises RequestError."""
    called = f"{what} {path}" if what else str(path)
    try:
        require_regular(path)
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise RequestError(f"{called} cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if len(content) > MOST_BYTES:
        raise RequestError(f"{called} is larger than {in_units(MOST_BYTES)}, the most that such a file may have.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RequestError(f"{path}, line {line}: this is not text in UTF-8; save the file as UTF-8.") from None
    if found := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise RequestError(f"{path}, line {line}: the character U+{ord(found[0]):04X} may not stand there; remove it.")
    return text


@contextmanager
def _loader(text: str) -> Iterator[_Loader]:
    loader = _Loader(text)
    try:
        yield loader
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that stops at the first value which goes beyond the bounds, before it is built."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.values = self.level = 0
        self.size_of: dict[str, int] = {}  #: values behind an anchor, once all of them are read

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next value, looked at before PyYAML makes something of it."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line, anchor = event.start_mark.line, event.anchor
        if isinstance(event, yaml.AliasEvent):
            if anchor in self.anchors and anchor not in self.size_of:
                raise _Fault(line, f"*{shown(anchor)[1:-1]} stands within what it stands for; write the value out.")
            self._count(line, self.size_of.get(anchor, 1))
            return super().compose_node(parent, index)
        if event.tag is not None:
            raise _Fault(line, f"the tag {shown(event.tag)} is not taken; leave it out, and put texts in quotes.")
        before = self.values
        self._count(line, 1)
        self.level += 1
        if self.level > MOST_LEVELS:
            raise _Fault(line, f"values lie within one another more than {MOST_LEVELS} levels deep; flatten them.")
        node = super().compose_node(parent, index)
        self.level -= 1
        if anchor is not None:
            self.size_of[anchor] = self.values - before
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node)
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node

    def _count(self, line: int, more: int) -> None:
        self.values += more
        if self.values > MOST_VALUES:
            raise _Fault(
                line, f"the file holds more than {MOST_VALUES:,} values, repeated ones (*alias) counted; shorten it."
            )

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        line, value = node.start_mark.line, node.value
        if len(value) > MOST_CHARACTERS:
            raise _Fault(line, f"a text of {len(value):,} characters; at most {MOST_CHARACTERS:,} are taken.")
        if found := UNSEEN.search(value):
            raise _Fault(line, f"{shown(value)} holds the character U+{ord(found[0]):04X}; leave it out.")
        if node.tag == DATE:
            raise _Fault(line, f"{shown(value)} is a date in YAML; put it in quotes if a text is meant.")
        if node.tag in NUMBERS:
            self._check_number(node)
        elif node.tag not in PLAIN and node.tag != MERGE:
            raise _Fault(line, f"{shown(value)} has a meaning of its own in YAML; put it in quotes.")

    def _check_number(self, node: yaml.ScalarNode) -> None:
        fits = len(node.value) <= NUMBER_CHARACTERS
        if fits and node.tag == NUMBERS[0]:
            try:
                fits = -(2**63) <= self.construct_yaml_int(node) < 2**63
            except ValueError:  # 0x_
                fits = False
        if not fits:
            told = f"{shown(node.value)} is no number of at most 64 bits; put it in quotes if a text is meant."
            raise _Fault(node.start_mark.line, told)


def _check_keys(node: yaml.MappingNode) -> None:
    """Every key is a text of some length, once."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line
        if not isinstance(key, yaml.ScalarNode):
            raise _Fault(line, "a key must be a text, not a list or a mapping.")
        if key.tag not in (TEXT, MERGE):
            raise _Fault(line, f"the key {shown(key.value)} is not a text in YAML; put it in quotes.")
        if len(key.value) > KEY_CHARACTERS:
            raise _Fault(line, f"the key {shown(key.value)} has more than {KEY_CHARACTERS} characters.")
        if key.value in lines:
            first = lines[key.value] + 1
            raise _Fault(line, f"the key {shown(key.value)} stands in line {first} already; remove one of the two.")
        lines[key.value] = line
