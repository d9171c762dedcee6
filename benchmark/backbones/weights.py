"""Reading pretrained weights into a backbone. Nothing in a weights file is ever executed.

Which tensors of a file are the backbone's is found by their names, in :mod:`benchmark.backbones.names`.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.backbones.names import BN_COUNTER, HEADS, chosen, needed_names, state_dicts
from benchmark.errors import RequestError
from results.atomic import require_regular
from results.units import in_units

if TYPE_CHECKING:
    from torch import Tensor, nn

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"

#: what BN calls its running variances
BN_VARIANCE = "running_var"


def load_weights(backbone: nn.Module, path: str | Path) -> None:
    """Copy the weights of ``path`` into ``backbone``, strictly: every tensor of the backbone, and no other.

    The file is safetensors or a torch state dict (read with ``weights_only=True``), told apart by content. Whatever
    wraps the backbone's names is stripped: keys such as ``{"net": ...}``, prefixes such as ``module.``; known heads
    (``fc.*``, ``criterion.*``) are dropped. On an error the backbone is left as it was.

    Raises:
        RequestError: the file is absent, no weights file or cut short, needs code to load, belongs to another
            network, or several of them, or holds values that are absent or not finite.
    """
    path = Path(path)
    expected = backbone.state_dict()
    found = chosen(state_dicts(_read(path), path), expected, path)
    _require_match(found, expected, path)
    counters = {name: tensor for name, tensor in expected.items() if name.endswith(BN_COUNTER)}
    backbone.load_state_dict(counters | found, strict=True)


def load_classifier(path: str | Path, features: int) -> tuple[Tensor, Tensor] | None:
    """The linear head that lies beside a backbone's weights in a file.

    Returns:
        float32 weights (classes, ``features``) and biases (classes,); None where there is not exactly one such head.

    Raises:
        RequestError: as ``load_weights``, where the file cannot be read.
    """
    path = Path(path)
    found = {}
    for state in state_dicts(_read(path), path).values():
        for name, weight in state.items():
            head, _, last = name.rpartition(".")
            bias = state.get(f"{head}.bias")
            fits = last == "weight" and weight.ndim == 2 and weight.shape[1] == features
            if fits and head.rpartition(".")[2] in HEADS and bias is not None and bias.shape == weight.shape[:1]:
                found[head] = weight.detach().float(), bias.detach().float()
    return next(iter(found.values())) if len(found) == 1 else None


def file_sha256(path: str | Path) -> str:
    """The file's sha256 in hex.

    Raises:
        RequestError: the file is absent or cannot be read.
    """
    try:
        require_regular(Path(path))
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise RequestError(_absent(path)) from error
    except OSError as error:
        raise RequestError(f"The weights file {path} cannot be read ({error.strerror}).") from error


def _absent(path: str | Path) -> str:
    return f"The weights file {path} does not exist; give the path of a safetensors file or a torch state dict."


def _read(path: Path) -> Mapping[Any, Any]:
    try:
        require_regular(path)
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


def _read_state_dict(path: Path) -> Mapping[Any, Any]:
    import torch

    _require_torchs_archive(path)
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
    return content if isinstance(content, Mapping) else {}


def _require_torchs_archive(path: Path) -> None:
    """Raises RequestError for a zip archive that torch.save did not write: TorchScript and exported programs above
    all. A damaged one is left to torch."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] or name for name in archive.namelist()}
            packed = [entry for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError):
        return
    if "constants.pkl" in names:
        raise RequestError(
            f"{path} is a TorchScript archive, a program with its weights; save only the weights with "
            "torch.save(torch.jit.load(path).state_dict(), 'weights.pth')."
        )
    if packed or unpacked > path.stat().st_size:
        raise RequestError(
            f"{path} is a compressed archive of {in_units(unpacked)}, and torch.save writes none; it is not "
            "unpacked. Save the weights again with torch.save or as safetensors."
        )
    if "data.pkl" not in names:
        raise RequestError(
            f"{path} is a zip archive, but not of torch.save: if it holds a model or an exported program, save "
            "model.state_dict() from it."
        )


def _require_match(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Raises RequestError unless the tensors, whose names fit, can be copied."""
    import torch

    for name in needed_names(expected):
        tensor = expected[name]
        if found[name].is_meta:
            raise RequestError(
                f"{path} holds only the shapes of its tensors (torch's device meta), no values; save the weights from "
                "a model that has been loaded."
            )
        if found[name].layout != torch.strided or found[name].is_quantized:
            raise RequestError(
                f"{path} cannot be used: {name} is sparse or quantised; save it as an ordinary tensor of floats."
            )
        if found[name].shape != tensor.shape:
            raise RequestError(
                f"{path} holds weights of another width or another number of input channels than the backbone: "
                f"{name} has shape {_shape(found[name])}, the backbone needs {_shape(tensor)}."
            )
        if found[name].is_floating_point() != tensor.is_floating_point():
            raise RequestError(f"{path} cannot be used: {name} has type {found[name].dtype}, not {tensor.dtype}.")
        if not found[name].to(tensor.dtype).isfinite().all():
            raise RequestError(f"{path} cannot be used: {name} holds values that are not finite as {tensor.dtype}.")
        if name.endswith(BN_VARIANCE) and (found[name] < 0).any():
            raise RequestError(f"{path} cannot be used: {name} holds negative variances.")


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "()"
