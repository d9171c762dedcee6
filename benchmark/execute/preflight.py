"""What can be wrong with a run's network before it starts: an unusable device, weights of another network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from benchmark.errors import RequestError
from benchmark.plan.device import torch_name
from benchmark.plan.execution import RunOptions
from benchmark.plan.needed import needed_run
from benchmark.plan.spec import RunSpec


def usable(name: str) -> Any:
    """The torch device of that name.

    Raises:
        RequestError: this torch does not see it.
    """
    import torch

    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise RequestError("This torch sees no CUDA device; use --device cpu, or install a CUDA build and driver.")
        if (device.index or 0) >= torch.cuda.device_count():
            raise RequestError(f"There is no device {name}; torch sees {torch.cuda.device_count()}.")
    return device


def incapable(spec: RunSpec, device: Any) -> str | None:
    """What the spec asks of arithmetic or compiler that is not to be had here, in one sentence; None: all is.

    Without it a run would carry a name, tf32 say, that its numbers do not deserve.
    """
    import os
    import shutil

    import torch

    if spec.precision == "tf32":
        if device.type != "cuda":
            return "--precision tf32 is an arithmetic of CUDA devices; take fp32 or bf16 on the CPU."
        if torch.cuda.get_device_capability(device) < (8, 0):
            return f"{torch.cuda.get_device_name(device)} has no TensorFloat-32; take --precision fp32."
    if spec.precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        return f"{torch.cuda.get_device_name(device)} has no bfloat16; take --precision fp32."
    compilers = (os.environ.get("CXX", ""), os.environ.get("CC", ""), "g++", "clang++", "gcc", "clang", "cc")
    if spec.compile != "off" and not any(name and shutil.which(name) for name in compilers):
        return "--compile needs a C++ compiler, and there is none here; install g++ or leave it out."
    return None


def networks(specs: Iterable[RunSpec]) -> Iterator[RunSpec]:
    """One of the specs for every distinct network and mask, and for every run that others start from: what ``fault``
    needs to see."""
    seen = []
    for spec in specs:
        needed = needed_run(spec)
        kind = (spec.backbone, spec.mask, needed and needed.run_id)
        if kind not in seen:
            seen.append(kind)
            yield spec


def fault(spec: RunSpec, options: RunOptions) -> str | None:
    """One sentence, or None when backbone, weights, mask and device are usable, and the networks of a finished run that
    this one starts from."""
    from benchmark.backbones.builder import build, require_image_size
    from benchmark.backbones.weights import load_weights
    from benchmark.execute.finished_networks import FinishedNetworks
    from benchmark.execute.store import run_folder
    from benchmark.measure import caveats
    from methods.engine import masks
    from methods.engine.layout import layout_of

    chosen = spec.backbone
    try:
        device = usable(torch_name(options.device))
        if device.type == "cuda" and options.require_idle_gpu and (refusal := caveats.refusal(device)):
            return refusal
        if refusal := incapable(spec, device):
            return refusal
        try:
            require_image_size(chosen.name, chosen.image_size, chosen.channels)
        except RequestError as error:
            return f"{spec.scenario} does not fit its backbone: {str(error).rstrip('.')}; choose another --backbone."
        backbone = build(chosen.name, width=chosen.width, channels=chosen.channels)
        if options.weights:
            load_weights(backbone, options.weights)
        mask = spec.mask
        if mask is not None:
            masks.check(mask)
            layout_of(backbone, mask.units, mask.hidden_linear, rows=mask.rows)
        if (needed := needed_run(spec)) is not None and run_folder(options.results, *needed.ids).read_finished():
            FinishedNetworks(spec, options.results, options.data_sha256).check()
    except RequestError as error:
        return str(error)
    except (ValueError, RuntimeError) as error:
        return f"{spec.method} on {chosen.name}: {error}"
    return None
