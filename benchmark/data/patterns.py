"""Files that a pattern names: ``?``, ``*``, ``[...]`` within a name, ``**`` across folders."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import RequestError


def matching(base: Path, named: Sequence[str]) -> list[Path]:
    """The files that paths or patterns, relative to ``base``, name; those of one pattern sorted.

    A file that is really called so (``a[1].parquet``) goes before the pattern. Raises RequestError when nothing fits.
    """
    files: list[Path] = []
    for item in named:
        pattern = os.path.expanduser(item)
        if not re.search(r"[*?[]", pattern) or (base / pattern).is_file():
            files.append(base / pattern)
            continue
        found = sorted(base / path for path in glob.glob(pattern, root_dir=base, recursive=True))
        found = [path for path in found if path.is_file()]
        if not found:
            raise RequestError(f"There is no file {base / pattern}: nothing fits the pattern.")
        files += found
    return files
