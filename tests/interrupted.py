"""Runs that end in the middle, and how to read what the next session says about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import small_options, small_spec


class Stopped(BaseException):
    """The end of a process, as seen from inside."""


def stop_after(epochs: int) -> Any:
    """An ``emit`` that ends the process with the given epoch; its checkpoint is not written any more."""
    heard = []

    def emit(event: dict[str, Any]) -> None:
        heard.append(event["type"] == "epoch")
        if sum(heard) == epochs:
            raise Stopped

    return emit


def stopped_run(tmp_path: Path, method: str = "packnet", epochs: int = 8) -> tuple[Any, Any]:
    """(spec, options) of a run that was stopped in its third task's training."""
    from benchmark.execute.runner import run

    spec = small_spec(method)
    options = small_options(tmp_path / "runs", checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        run(spec, options, stop_after(epochs))
    return spec, options


def same(one: Any, other: Any) -> bool:
    """Two records say the same (in memory a record may hold tuples where a file has lists)."""
    return bool(json.dumps(one.to_json()) == json.dumps(other.to_json()))


def said(events: list[dict[str, Any]]) -> str:
    return " ".join(event["text"] for event in events if event["type"] == "message")
