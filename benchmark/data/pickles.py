"""Pickles of plain data and numpy arrays, read without ever running what they name."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from benchmark.errors import RequestError

_RECONSTRUCT = np.zeros(1).__reduce__()[0]  # numpy's own, wherever this version keeps it

#: every global that a pickled uint8 array names, in old and new numpy and Python
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def _latin1(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, with which Python 3 writes bytes into old pickles."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it encodes to {encoding}")
    return text.encode("latin-1")


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which plain data never does")
        return ALLOWED[module, name]


def _require_modest(opened: BinaryIO) -> None:
    """Raises UnpicklingError for a pickle that numbers more values than it has: a table of that length would be made,
    of 34 GB for a pickle of ten bytes."""
    for count, (code, number, _) in enumerate(pickletools.genops(opened)):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(number, int) and number > count:
            raise pickle.UnpicklingError(f"it numbers a value {number:,} where there are {count:,}")


def load_plain(file: Path) -> dict[Any, Any]:
    """The dictionary in a pickle, texts of Python 2 as bytes. Raises RequestError when it is broken or names code."""
    try:
        with file.open("rb") as opened:
            _require_modest(opened)
            opened.seek(0)
            content = _PlainUnpickler(opened, encoding="bytes").load()
    except Exception as error:  # a broken pickle raises nearly anything
        raise RequestError(f"{file} cannot be read as plain data: {str(error) or type(error).__name__}.") from error
    if not isinstance(content, dict):
        raise RequestError(f"{file} holds a {type(content).__name__}, not a dictionary.")
    return content
