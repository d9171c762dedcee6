"""Where the data lies when the command line does not say."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import RequestError

VARIABLE = "BENCHMARK_DATA_ROOT"
DEFAULT = "data"  #: folder in the current one that is taken when it exists


def data_root(given: str | Path | None = None) -> Path | None:
    """``given``, else ``$BENCHMARK_DATA_ROOT``, else ``data`` in the current folder if it exists, else None.

    Raises RequestError when ``given`` or the variable names no folder.
    """
    for path, said_by in ((given, "--data-root"), (os.environ.get(VARIABLE), VARIABLE)):
        if path:
            root = Path(path).expanduser()
            if not root.is_dir():
                raise RequestError(f"{said_by} names {root}, which is no folder.")
            return root
    return Path(DEFAULT) if Path(DEFAULT).is_dir() else None
