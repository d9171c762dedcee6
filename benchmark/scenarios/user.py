"""A user's own scenario from a YAML file."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import RequestError
from benchmark.scenarios.contract import Scenario


def load_user_scenario(path: Path) -> Scenario:
    """The scenario that ``path`` defines."""
    raise RequestError(f"{path}: scenarios of one's own cannot be read yet.")
