"""What ``python -m benchmark perf`` measured besides training steps: its printed tables and pictures, below a results
folder, as they are."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from reports.naming import slug
from results.reader import content_of
from results.schema import SchemaError

#: what ``perf --out`` calls its text -> what it is
TITLES = {
    "scale": "From few tasks to many: time, memory and bytes",
    "measuring": "What the measuring itself costs",
    "equations": "The masks' equations beside their fast path",
    "events": "What a run costs beside its training",
    "throughput": "Runs at a time",
}
#: characters of a text and bytes of a picture that are shown at most
MOST_TEXT, MOST_PICTURE = 20_000, 2 * 2**20


@dataclass(frozen=True)
class Measurement:
    """One measurement: what the command printed, and its picture as a ``data:`` address (empty without one)."""

    key: str  #: HTML id
    title: str
    text: str
    picture: str


def load_measurements(folder: Path) -> tuple[Measurement, ...]:
    """Those in ``folder`` or up to two folders down, by kind and place; what cannot be read is left out."""
    found = []
    for kind, title in TITLES.items():
        name = f"{kind}.txt"
        for path in sorted({*folder.glob(name), *folder.glob(f"*/{name}"), *folder.glob(f"*/*/{name}")}):
            try:
                text = content_of(path).decode("utf-8")[:MOST_TEXT].strip()
            except (SchemaError, OSError, UnicodeDecodeError):
                continue
            place = "" if path.parent == folder else path.parent.relative_to(folder).as_posix()
            whole = f"{title} ({place})" if place else title
            found.append(Measurement(slug(f"perf-{kind}-{place}"), whole, text, _picture(path.with_suffix(".png"))))
    return tuple(found)


def _picture(path: Path) -> str:
    try:
        content = content_of(path) if path.is_file() else b""
    except (SchemaError, OSError):
        return ""
    usable = content.startswith(b"\x89PNG") and len(content) <= MOST_PICTURE
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}" if usable else ""
