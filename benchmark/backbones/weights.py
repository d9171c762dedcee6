"""Reading pretrained weights into a backbone. Nothing in a weights file is ever executed."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Layers of a classification head, which a backbone does not have.
HEADS = ("fc.", "classifier.")
#: What wrappers (DataParallel, torch.compile, trainers) put before every name.
WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.")
#: Where checkpoints keep their state dict.
NESTED = ("state_dict", "model_state_dict", "model")
#: Counts the batches BN has seen: files often leave it out, and nothing here reads it.
BN_COUNTER = "num_batches_tracked"

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def load_weights(backbone: nn.Module, path: str | Path) -> None:
    """Copy the weights of ``path`` into ``backbone``, strictly: every tensor of the backbone, and no other.

    The file is safetensors or a torch state dict (read with ``weights_only=True``), told apart by content. A
    classification head (``fc.*``, ``classifier.*``) is dropped, a wrapper's prefix such as ``module.`` is stripped.
    On an error the backbone is left as it was.

    Raises:
        RequestError: the file is absent, no weights file or cut short, needs code to load, belongs to another
            network, or holds values that are not finite.
    """
    path = Path(path)
    found = _without_head(_unwrapped(_read(path)))
    expected = backbone.state_dict()
    _require_match(found, expected, path)
    counters = {name: tensor for name, tensor in expected.items() if name.endswith(BN_COUNTER)}
    backbone.load_state_dict(counters | found, strict=True)


def file_sha256(path: str | Path) -> str:
    """The file's sha256 in hex.

    Raises:
        RequestError: the file is absent or cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise RequestError(_absent(path)) from error
    except OSError as error:
        raise RequestError(f"The weights file {path} cannot be read ({error.strerror}).") from error


def _absent(path: str | Path) -> str:
    return f"The weights file {path} does not exist; give the path of a safetensors file or a torch state dict."


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with open(path, "rb") as stream:
            start = stream.read(9)
    except FileNotFoundError as error:
        raise RequestError(_absent(path)) from error
    except OSError as error:
        raise RequestError(f"The weights file {path} cannot be read ({error.strerror}).") from error
    if start[8:9] == b"{":  # safetensors: the length of the header in 8 bytes, then a JSON object
        return _read_safetensors(path)
    if start.startswith((_ZIP, _PICKLE)):
        return _read_state_dict(path)
    raise RequestError(f"{path} is no weights file: it is neither safetensors nor a torch state dict.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except (SafetensorError, OSError, ValueError) as error:
        raise RequestError(f"The safetensors file {path} is damaged or cut short ({error}); get it again.") from error


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a foreign pickle protocol; the refusal below says more
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL:? ([\w.]+)", str(error))
        raise RequestError(
            f"{path} is a pickle that holds more than plain weights{f' ({code[1]})' if code else ''} and could run "
            "code, so it is never loaded; save only the weights, as safetensors or with "
            "torch.save(model.state_dict(), path)."
        ) from error
    except Exception as error:  # torch raises nearly anything on a damaged file
        raise RequestError(f"The torch file {path} is damaged or cut short; get it again.") from error
    for name in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content or not _all_tensors(content):
        raise RequestError(f"{path} holds no state dict (a mapping of names to tensors); save model.state_dict().")
    return dict(content)


def _all_tensors(content: Mapping[Any, Any]) -> bool:
    import torch

    return all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS * 2:  # wrappers nest, in any order
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _without_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(HEADS)}


def _require_match(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    needed = [name for name in expected if not name.endswith(BN_COUNTER)]
    missing = [name for name in needed if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        faults = [
            f"{len(names)} {kind} (such as {names[0]})"
            for names, kind in ((missing, f"of {len(needed)} tensors missing"), (unexpected, "unexpected"))
            if names
        ]
        raise RequestError(f"{path} holds weights of another network than the backbone: {' and '.join(faults)}.")
    for name in needed:
        tensor = expected[name]
        if found[name].shape != tensor.shape:
            raise RequestError(
                f"{path} holds weights of another width or another number of input channels than the backbone: "
                f"{name} has shape {_shape(found[name])}, the backbone needs {_shape(tensor)}."
            )
        if found[name].is_floating_point() != tensor.is_floating_point():
            raise RequestError(f"{path} cannot be used: {name} has type {found[name].dtype}, not {tensor.dtype}.")
        if not found[name].isfinite().all():
            raise RequestError(f"{path} cannot be used: {name} holds values that are not finite.")


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "()"
