"""Events of a run that another process carries out, read from its folder as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class EventTail:
    """What is added to ``events.jsonl`` from now on, or ``from_start`` all that it holds."""

    def __init__(self, path: Path, from_start: bool = False) -> None:
        self.path = path
        self._offset = 0 if from_start else _size(path)

    def rewind(self) -> None:
        """Begin with the run's last start, where it has begun."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return
        lines, start = content.splitlines(keepends=True), 0
        for index, line in enumerate(lines):
            if _event(line).get("type") == "run-start":
                start = index
        self._offset = sum(map(len, lines[:start]))

    def read(self) -> list[dict[str, Any]]:
        """Whole lines that are new; damaged ones are left out."""
        if _size(self.path) < self._offset:
            self._offset = 0  # somebody emptied the file
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for line in whole.splitlines() if isinstance((event := _event(line)).get("type"), str)]


def _event(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
