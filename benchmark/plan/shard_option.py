"""``--shard 2/5`` as it is typed. Imports no torch."""

from __future__ import annotations

import re
from typing import Any

from methods.engine.knobs import WrongValue, shown


def read_shard(value: Any) -> tuple[int, int] | None:
    """``"2/5"``, or the two numbers -> (2, 5). Raises WrongValue."""
    if value is None:
        return None
    if isinstance(value, list | tuple) and len(value) == 2:
        value = f"{value[0]}/{value[1]}"
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", str(value).strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise WrongValue(f"must be a part of so many, such as 2/5, not {shown(value)}")
    return int(match[1]), int(match[2])
