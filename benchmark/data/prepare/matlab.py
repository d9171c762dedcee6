"""Lists in MATLAB's .mat files: plain arrays, structs and cells, read by scipy."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.data.prepare.catalogue import Catalogue


def load(catalogue: Catalogue, name: str, variable: str) -> Any:
    """A variable of a .mat file in the catalogue. Raises RequestError when it cannot be read or has none such."""
    from scipy.io import loadmat

    try:
        content = loadmat(io.BytesIO(catalogue.lists[name]), squeeze_me=False, struct_as_record=True)
    except Exception as error:  # scipy raises nearly anything on a damaged file
        detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise catalogue.fault(f"{name} cannot be read as a .mat file ({detail}); get it again.") from error
    if variable not in content:
        there = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise catalogue.fault(f"{name} has no variable {variable!r}; it holds {there}.")
    return content[variable]


def whole_numbers(catalogue: Catalogue, name: str, variable: str) -> NDArray[np.int64]:
    """A vector of whole numbers. Raises RequestError when it is none."""
    values = np.asarray(load(catalogue, name, variable))
    if values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and not (values == np.round(values)).all()):
        raise catalogue.fault(f"{name}: {variable} does not hold whole numbers.")
    return values.ravel().astype(np.int64)


def texts(catalogue: Catalogue, name: str, variable: str) -> list[str]:
    """A cell of texts. Raises RequestError when it is none."""
    return [_text(catalogue, name, item) for item in np.asarray(load(catalogue, name, variable)).ravel()]


def structs(catalogue: Catalogue, name: str, variable: str, fields: Sequence[str]) -> list[dict[str, Any]]:
    """An array of structs: these fields of each, texts as str and numbers as int.

    Raises RequestError when a field is absent or is no single text or whole number.
    """
    values = np.asarray(load(catalogue, name, variable)).ravel()
    absent = [field for field in fields if field not in (values.dtype.names or ())]
    if absent:
        raise catalogue.fault(f"{name}: {variable} has no field {absent[0]!r}.")
    return [{field: _single(catalogue, name, row[field]) for field in fields} for row in values]


def _single(catalogue: Catalogue, name: str, value: Any) -> str | int:
    array = np.asarray(value)
    if array.size == 1 and array.dtype.kind in "iufb" and float(array.item()).is_integer():
        return int(array.item())
    return _text(catalogue, name, value)


def _text(catalogue: Catalogue, name: str, value: Any) -> str:
    array = np.asarray(value)
    while array.size == 1 and array.dtype.kind == "O":
        array = np.asarray(array.item())
    if array.size == 1 and array.dtype.kind == "U":
        return str(array.item())
    raise catalogue.fault(f"{name} holds something that is neither a text nor a whole number.")
