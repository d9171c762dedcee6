"""From a run's folder to files that stand alone: one task (``methods.engine.task_file``), and the backbone of all.

The exported file has one format, whatever the method: the network is made from what the run stored by the method's own
``restore``, and written as the difference to the shared backbone. Where a method stores just what the format has, that
is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.backbones.builder import build
from benchmark.errors import RequestError, did_you_mean
from benchmark.execute.checkpoint import CheckpointError, in_bytes, read_tensors, write_tensors
from benchmark.execute.store import RunFolder
from benchmark.plan.spec import RunSpec
from methods.engine.batchnorm import COUNTER
from methods.engine.layers import weight_layers
from methods.engine.layout import FlatLayout, arrange, layout_of
from methods.engine.packing import pack_bits
from methods.engine.parts import BACKBONE, BITS, OVERRIDE, SCALES, VALUES
from methods.engine.restore import masked_weights, shared_backbone
from methods.engine.sealing import tensors_sha256
from methods.engine.task_file import describe
from methods.registry import METHODS
from results.atomic import write_bytes
from results.reader import read_record
from results.schema import RunRecord, SchemaError, TaskRow


@dataclass(frozen=True)
class StoredRun:
    """A finished run as it lies in its folder."""

    folder: RunFolder
    record: RunRecord
    spec: RunSpec
    shared: Mapping[str, Tensor]  #: what all tasks share, as stored
    network: nn.Module  #: an empty backbone of the run's kind

    def task(self, index: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A task's tensors and metadata as stored. Raises RequestError."""
        return _read(self.folder.task(index), self.spec)

    @cached_property
    def layout(self) -> FlatLayout | None:
        """Where the masked or owned weights lie; None where the backbone has no weights of that kind."""
        mask = self.spec.mask
        if mask is not None:
            return layout_of(self.network, mask.units, mask.hidden_linear, rows=mask.rows)
        return layout_of(self.network) if weight_layers(self.network) else None

    def restored(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What makes the backbone the network of the task that kept this, by name there."""
        restore = METHODS[self.spec.method].load_restore()
        return dict(restore(self.shared, kept, self.layout))

    @cached_property
    def backbone(self) -> dict[str, Tensor]:
        """The shared backbone by parameter and buffer name, as the run left it.

        Where tasks keep BN sets and biases of their own, those of the last task fill their places. A method that shares
        nothing gives the empty network: its tasks bring every tensor themselves. Raises RequestError.
        """
        tensors = dict(self.network.state_dict())
        shared = shared_backbone(self.shared, self.layout)
        if shared:
            kept, _ = self.task(self.record.tasks[-1].index)
            restored = self.restored(kept)
            tensors |= {name: item for name, item in restored.items() if name not in shared} | shared
        return {name: tensor.detach() for name, tensor in tensors.items() if not name.endswith(COUNTER)}


def read_run(folder: Path) -> StoredRun:
    """Read a finished run.

    Raises:
        RequestError: no finished run there, its weights were not kept, or its method is not installed.
    """
    try:
        record = read_record(folder / "result.json")
        _require_method(folder, record)
        spec = RunSpec.from_json(record.spec)
    except (SchemaError, TypeError, ValueError, KeyError) as error:
        raise RequestError(f"{folder} holds no run that can be exported: {error}.") from error
    if not record.finished:
        raise RequestError(f"The run in {folder} has not finished; give its `run` command again first.")
    stored = RunFolder(folder)
    shared, _ = _read(stored.backbone, spec)
    chosen = spec.backbone
    network = build(chosen.name, width=chosen.width, channels=chosen.channels)
    return StoredRun(stored, record, spec, shared, network)


def _require_method(folder: Path, record: RunRecord) -> None:
    """Raises RequestError: the run is of a method that is not installed."""
    method = record.spec.get("method")
    if method not in METHODS:
        raise RequestError(
            f"The run in {folder} is of the method {method!r}, which is not installed here; install the package that "
            "brings it, or name its module with --plugin."
        )


def _read(path: Path, spec: RunSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.exists():
        raise RequestError(
            f"{path} is not there: the run did not keep its weights. Run {spec.method} again with --force "
            "--keep-weights all."
        )
    try:
        return read_tensors(path)
    except CheckpointError as error:
        raise RequestError(f"{error}; repeat the run with --force.") from error


def task_row(run: StoredRun, wanted: str) -> TaskRow:
    """The task by its 1-based index in the scenario or its name. Raises RequestError."""
    for row in run.record.tasks:
        if wanted in (row.name, str(row.index)):
            return row
    names = [row.name for row in run.record.tasks]
    raise RequestError(
        f"The run has no task {wanted!r}.{did_you_mean(wanted, names)} Its tasks are "
        f"{', '.join(f'{row.index} ({row.name})' for row in run.record.tasks)}."
    )


def task_tensors(run: StoredRun, kept: dict[str, Tensor]) -> tuple[dict[str, Tensor], FlatLayout | None, bool]:
    """What a task that ``kept`` this adds to the backbone in the exported format: tensors, the layout of their mask
    (None: no mask), and whether the mask selects weights."""
    exported = ("head.", OVERRIDE)
    masked = (BITS, VALUES, SCALES)
    restored = run.restored(kept)
    if all(name.startswith(exported) or name in masked for name in kept):
        as_exported = masked_weights(_prefixed(run.backbone), kept, run.layout)
        if _same(as_exported, restored):
            return kept, run.layout if BITS in kept else None, False
    head = {name: tensor for name, tensor in kept.items() if name.startswith("head.")}
    return _difference(head, restored, run.backbone)


def _difference(
    head: Mapping[str, Tensor], restored: Mapping[str, Tensor], backbone: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], FlatLayout | None, bool]:
    """One bit per element for tensors of the backbone some of whose elements are zero in the task's network; others
    whole; equal ones not at all."""
    tensors, layers, bits = dict(head), [], []
    for name, tensor in restored.items():
        if name.endswith(COUNTER):
            continue
        own = backbone[name]
        used = tensor == own
        if used.all():
            continue
        if tensor.dim() > 1 and torch.equal(torch.where(used, own, 0.0), tensor):
            layers.append((name, tuple(tensor.shape), 1))
            bits.append(used.reshape(-1))
        else:
            tensors[OVERRIDE + name] = tensor
    if not layers:
        return tensors, None, False
    return tensors | {BITS: pack_bits(torch.cat(bits))}, arrange(layers), True


def _prefixed(backbone: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {BACKBONE + name: tensor for name, tensor in backbone.items()}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def export_task(run: StoredRun, row: TaskRow, path: Path) -> None:
    """Write one task's file. Raises RequestError, OSError."""
    write_bytes(path, exported_task(run, row))


def exported_task(run: StoredRun, row: TaskRow) -> bytes:
    """What one task's file holds. Raises RequestError."""
    kept, metadata = run.task(row.index)
    tensors, layout, selects = task_tensors(run, kept)
    brought = {name.removeprefix(OVERRIDE) for name in tensors}
    chosen = run.spec.backbone
    about = describe(
        layout,
        selects=selects,
        name=row.name,
        index=row.index,
        class_names=metadata["class_names"],
        mean=metadata["mean"],
        std=metadata["std"],
        image_size=chosen.image_size,
        resize=metadata.get("resize"),
        backbone={key: getattr(chosen, key) for key in ("name", "width", "channels")},
        backbone_sha256=tensors_sha256(run.backbone) if set(run.backbone) - brought else None,
        run_id=run.record.run_id,
        method=run.spec.method,
        accuracy=row.accuracy_at_end,
        test_images=row.test_images,
    )
    return in_bytes(tensors, about)


def export_backbone(run: StoredRun, path: Path) -> None:
    """Write the shared backbone: a state dict without BN's batch counters. Raises RequestError, OSError."""
    about = {key: getattr(run.spec.backbone, key) for key in ("name", "width", "channels")}
    write_tensors(path, run.backbone, {"backbone": about, "run_id": run.record.run_id})
