"""From a run's folder to files that stand alone: one task (``methods.task_file``), and the backbone of all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.backbones.registry import build
from benchmark.checkpoint import CheckpointError, read_tensors, write_tensors
from benchmark.errors import RequestError, did_you_mean
from benchmark.plan import mask_settings
from benchmark.spec import RunSpec
from benchmark.store import RunFolder
from methods.batchnorm import COUNTER
from methods.layout import FlatLayout, layout_of
from methods.ownership import visible_weights
from methods.packing import bits_of, pack_bits, unpack_numbers
from methods.task_file import BITS, OVERRIDE, describe, tensors_sha256
from results.reader import read_record
from results.schema import RunRecord, SchemaError, TaskRow

#: names in what PackNet and CPG store (``methods.owned``, ``methods.cpg``)
WEIGHTS, OWNER, POSITION, PICKS, LATEST = "weights", "owner", "position", "mask.picks", "latest."


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

    @property
    def owned(self) -> bool:
        """The tasks divide the shared weights among them (PackNet, CPG)."""
        return OWNER in self.shared

    def layout(self) -> FlatLayout:
        """Where the masked or owned weights lie."""
        mask = mask_settings(self.spec)
        return layout_of(self.network, mask.units, mask.hidden_linear) if mask else layout_of(self.network)


def read_run(folder: Path) -> StoredRun:
    """Read a finished run.

    Raises:
        RequestError: no finished run there, or its weights were not kept.
    """
    try:
        record = read_record(folder / "result.json")
        spec = RunSpec.from_json(record.spec)
    except (SchemaError, TypeError) as error:
        raise RequestError(f"{folder} holds no run that can be exported: {error}.") from error
    if not record.finished:
        raise RequestError(f"The run in {folder} has not finished; give its `run` command again first.")
    stored = RunFolder(folder)
    shared, _ = _read(stored.backbone, spec)
    chosen = spec.backbone
    network = build(chosen["name"], width=chosen["width"], channels=chosen["channels"])
    return StoredRun(stored, record, spec, shared, network)


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


def backbone_tensors(run: StoredRun) -> dict[str, Tensor]:
    """The shared backbone by parameter and buffer name, as the run left it.

    Where tasks keep BN sets and biases of their own, those of the last task fill their places. A method that shares
    nothing (``scratch``) gives the empty network: its tasks bring every tensor themselves.
    """
    tensors = dict(run.network.state_dict())
    if run.owned:
        last, _ = run.task(run.record.tasks[-1].index)
        tensors |= run.layout().views(run.shared[WEIGHTS])
        tensors |= _named(run.shared, LATEST) | _named(last, OVERRIDE)
    else:
        tensors |= _named(run.shared, "backbone.")
    return {name: tensor.detach() for name, tensor in tensors.items() if not name.endswith(COUNTER)}


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): item for name, item in tensors.items() if name.startswith(prefix)}


def task_tensors(run: StoredRun, index: int) -> dict[str, Tensor]:
    """What the task adds, masks packed; for PackNet and CPG one bit per weight: the task's network uses it."""
    tensors, _ = run.task(index)
    if not run.owned:
        return tensors
    count = run.layout().elements
    packed = run.shared[OWNER]
    owner = unpack_numbers(packed, bits_of(packed, count), count)
    visible = visible_weights(owner, int(tensors[POSITION]), tensors.get(PICKS))
    kept = {name: tensor for name, tensor in tensors.items() if name not in (POSITION, PICKS)}
    return kept | {BITS: pack_bits(visible)}


def export_task(run: StoredRun, row: TaskRow, path: Path) -> None:
    """Write one task's file. Raises RequestError, OSError."""
    tensors = task_tensors(run, row.index)
    _, metadata = run.task(row.index)
    shared = backbone_tensors(run)
    brought = {name.removeprefix(OVERRIDE) for name in tensors}
    chosen = run.spec.backbone
    about = describe(
        run.layout() if BITS in tensors else None,
        selects=run.owned,
        name=row.name,
        index=row.index,
        class_names=metadata["class_names"],
        mean=metadata["mean"],
        std=metadata["std"],
        image_size=chosen["image_size"],
        backbone={key: chosen[key] for key in ("name", "width", "channels")},
        backbone_sha256=tensors_sha256(shared) if set(shared) - brought else None,
        run_id=run.record.run_id,
        method=run.spec.method,
        accuracy=row.accuracy_at_end,
        test_images=row.test_images,
    )
    write_tensors(path, tensors, about)


def export_backbone(run: StoredRun, path: Path) -> None:
    """Write the shared backbone: a state dict without BN's batch counters. Raises RequestError, OSError."""
    about = {key: run.spec.backbone[key] for key in ("name", "width", "channels")}
    write_tensors(path, backbone_tensors(run), {"backbone": about, "run_id": run.record.run_id})
