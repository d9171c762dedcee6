"""Digests of records and tables that lie in the file itself: a changed digit is noticed, wherever it stands.

They tell damage and slips of the hand, not ill will: whoever changes a number on purpose can make the digest anew, or
leave it out. Files of earlier versions have none and are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from results.schema import SchemaError

#: a record's field, and a table's last column
SEAL = "sha256"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A record's JSON value with its digest, which is of content, not of spaces or the order of keys."""
    plain = {key: item for key, item in value.items() if key != SEAL}
    return {**plain, SEAL: _of(json.loads(json.dumps(plain, allow_nan=False)))}


def require_seal(value: Any) -> None:
    """Raises SchemaError: the value has a digest, and it is of another content."""
    if not isinstance(value, dict) or SEAL not in value:
        return
    if value[SEAL] != _of({key: item for key, item in value.items() if key != SEAL}):
        raise SchemaError(f"it is not what its run wrote: its {SEAL} is of another content")


def _of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed_table(text: str) -> str:
    """CSV with a last column: in every line the digest of the whole table without it."""
    lines = text.splitlines()
    digest = _of(lines)
    return "".join(f"{line},{digest if number else SEAL}\n" for number, line in enumerate(lines))


def unsealed_table(text: str) -> str:
    """The table without the column. Raises SchemaError: a digest is of another content."""
    lines = [line.rpartition(",") for line in text.splitlines()]
    if not lines or lines[0][2] != SEAL:
        return text
    digest = _of([line for line, _, _ in lines])
    if any(found != digest for _, _, found in lines[1:]):
        raise SchemaError(f"it is not what was measured: its {SEAL} is of another content")
    return "".join(f"{line}\n" for line, _, _ in lines)
