"""Tensors and JSON metadata in one safetensors file, and in it the state of a strategy in the middle of a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from methods.engine.parts import KEPT, described, read_parts, without_prefix
from methods.engine.sealing import sealed, unsealed
from methods.engine.state import Progress
from methods.engine.task_file import METADATA
from results.atomic import require_regular, write_bytes


class CheckpointError(ValueError):
    """The file cannot be read or is not this run's; the message says why, in one sentence."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata, atomically. Aliased or non-contiguous tensors are copied first.

    All metadata is one text: safetensors would write several in random order, and equal runs should leave equal files.

    Raises:
        OSError: no room, or no right to write there; what ``path`` held before is still there.
    """
    write_bytes(path, in_bytes(tensors, metadata))


def in_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """What ``write_tensors`` writes."""
    from safetensors.torch import save

    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        written = tensor.detach().cpu().contiguous()
        memory = written.untyped_storage().data_ptr()
        plain[name] = written.clone() if memory in taken else written  # safetensors refuses tensors that share memory
        taken.add(memory)
    return bytes(save(plain, metadata={METADATA: sealed(metadata, plain)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what ``write_tensors`` wrote.

    Raises:
        CheckpointError: absent, truncated, not written by us, or some byte is not what was written.
    """
    return _read(path, with_tensors=True)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata alone, checked; of the tensors only their place in the file is. Raises CheckpointError."""
    return _read(path, with_tensors=False)[1]


def _read(path: Path, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        require_regular(path)
        with safe_open(str(path), framework="pt") as file:
            names = file.keys() if with_tensors else ()
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, unsealed((file.metadata() or {})[METADATA], tensors if with_tensors else None)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error


def header_bytes(path: Path) -> int:
    """Bytes of a safetensors file that are no tensor data: the header, and the eight bytes that give its length."""
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def save_training(path: Path, strategy: Any, progress: Progress | None, facts: Mapping[str, Any]) -> None:
    """Write a strategy's state; ``progress``: of the task under way, None between tasks. Raises OSError."""
    state = strategy.training_state()
    metadata = {
        **facts,
        "names": list(state),  # the file sorts them, but optimizers know tensors by their position
        "trainable": strategy.state.trainable(),
        "progress": progress.to_json() if progress is not None else None,
        "kept": {str(label): described(parts) for label, parts in strategy.learned.items() if strategy.kept_changes},
    }
    write_tensors(path, state, metadata)


def load_training(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], strategy: Any) -> None:
    """Put back what ``save_training`` wrote."""
    progress = Progress.from_json(metadata["progress"]) if metadata["progress"] else None
    for label, about in metadata.get("kept", {}).items():
        kept = without_prefix(tensors, f"{KEPT}{label}.")
        strategy.learned[int(label)] = read_parts(
            {name: tensor.to(strategy.device, copy=True) for name, tensor in kept.items()}, about
        )
    ordered = {name: tensors[name] for name in metadata["names"] if not name.startswith(KEPT)}
    strategy.load_training_state(ordered, metadata["trainable"], progress)
