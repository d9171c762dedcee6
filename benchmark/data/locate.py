"""Where the data lies when the command line does not say."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import RequestError
from methods.engine.knobs import shown

VARIABLE = "BENCHMARK_DATA_ROOT"
DEFAULT = "data"  #: folder in the current one that is taken when it exists


def data_root(given: str | Path | None = None) -> Path | None:
    """``given``, else ``$BENCHMARK_DATA_ROOT``, else ``data`` in the current folder if it exists, else None.

    Raises RequestError when ``given`` or the variable names no folder.
    """
    for path, said_by in ((given, "--data-root"), (os.environ.get(VARIABLE), VARIABLE)):
        if path:
            if (root := folder_of(path)) is None:
                raise RequestError(f"{said_by} names {shown(str(path))}, which is no folder.")
            return root
    return Path(DEFAULT) if Path(DEFAULT).is_dir() else None


def folder_of(path: str | Path) -> Path | None:
    """The folder, ``~`` resolved; None where there is none, or where it can be no path at all."""
    try:
        root = Path(path).expanduser()
        return root if root.is_dir() else None
    except (OSError, ValueError, RuntimeError):  # too long, NUL, a home that nobody has
        return None
