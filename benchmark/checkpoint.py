"""A run's checkpoint: one safetensors file with the task's tensors, and as its metadata everything that is not one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from results.atomic import replacing


class CheckpointError(ValueError):
    """The file is no readable checkpoint of this run; the message says why."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata, atomically. Aliased or non-contiguous tensors are copied first."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    texts = {key: json.dumps(value, sort_keys=False) for key, value in metadata.items()}
    with replacing(path) as temporary:
        save_file(plain, str(temporary), metadata=texts)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what ``write_tensors`` wrote.

    Raises:
        CheckpointError: absent, truncated, or not written by us.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
