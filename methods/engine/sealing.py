"""Digests of a file's content that lie in the file itself: damage is noticed before it becomes a number."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from methods.engine.batchnorm import COUNTER

#: what a sealed text begins with; files of earlier versions begin with their JSON
MARK = "sha256"


class BrokenSeal(ValueError):
    """The content is not what was written."""


def sealed(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Metadata as one text, with the digests of itself and of the tensors before it."""
    text = json.dumps(metadata)
    return f"{MARK} {_of_text(text)} {content_sha256(tensors)} {text}"


def unsealed(text: str, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """The metadata of a sealed text. Files of earlier versions, which have no seal, are taken as they are.

    Args:
        tensors: everything that the file holds; None: the metadata alone are checked.

    Raises:
        BrokenSeal: metadata or tensors are not those that were written.
    """
    if text.startswith(MARK):
        _, of_text, of_tensors, text = (*text.split(" ", 3), "", "")[:4]
        if _of_text(text) != of_text:
            raise BrokenSeal("its description is not what was written")
        if tensors is not None and content_sha256(tensors) != of_tensors:
            raise BrokenSeal("its tensors are not those that were written")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise BrokenSeal("its description is no mapping")
    return found


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Sha256, hex, of names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.nbytes:
            digest.update((ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr()))  # read where it lies
    return digest.hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The same without BN's batch counters, which no network here reads."""
    return content_sha256({name: tensor for name, tensor in tensors.items() if not name.endswith(COUNTER)})
