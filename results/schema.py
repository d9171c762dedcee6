"""The run record, version 1: the one thing that a run leaves for the report (``result.json``).

Units everywhere: accuracies are fractions in [0, 1], sizes bytes, times seconds, energies joules. Percent and MiB
are the report's business. Later versions may add fields, never change the meaning of one; unknown fields are kept
out of the way (ignored on reading), so an older reader still reads a newer record of the same version.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any

from results.read_rows import all_made, known, made
from results.shapes import LARGEST, LARGEST_WHOLE, AtMost, Within, brief, check_fields

SCHEMA_VERSION = 1
RECORD_NAME = "result.json"

#: field of a record's ``spec``: settings of the task-1 network and of accuracy goals
TASK_1_SETTINGS = "scratch"

#: field ``measured_on`` of a record's ``spec``, the images that its accuracies are of: test images where it is absent;
#: validation images in trials of ``tune``
TEST, VALIDATION = "test", "validation"

#: field ``crops``: what random crops are taken from, the central square of an image (where it is absent) or all of it
SQUARE, WHOLE = "square", "whole"

#: what is shown in place of an accuracy that generated images gave (field ``synthetic``)
SYNTHETIC = "synthetic data"

FINISHED = "finished"
FAILED = "failed"

#: Phases whose time is training time (train + prune + choose + retrain).
TRAINING_PHASES = ("train", "prune", "choose", "retrain")

#: What the published size formula is made of (``Size.table_parts``): bits of the last three are packed.
TABLE_PARTS = ("whole networks", "backbone", "heads", "BN and biases", "owner index", "mask bits", "soft values")

#: Roles of a method (``RunRecord.method["reference"]``): what others are compared with and start from.
FROM_SCRATCH, FROM_PRETRAINED = "from scratch", "from pretrained"
REFERENCES = (FROM_SCRATCH, FROM_PRETRAINED)

Fraction = Annotated[float, Within(0, 1, "a fraction between 0 and 1")]
Change = Annotated[float, Within(-1, 1, "a difference of fractions, between -1 and 1")]
Amount = Annotated[float, Within(0, LARGEST, "a number of 0 or more")]
Count = Annotated[int, Within(0, LARGEST_WHOLE, "a whole number of 0 or more")]
Positive = Annotated[int, Within(1, LARGEST_WHOLE, "a whole number of 1 or more")]
Name = Annotated[str, AtMost(500)]


class SchemaError(ValueError):
    """A file is no run record of this version; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One epoch of one phase of one task. ``train``, ``validation`` and ``test`` are accuracies."""

    phase: Name
    epoch: Count
    lr: Amount
    loss: float | None  #: None: not a finite number
    train: Fraction
    validation: Fraction | None = None
    test: Fraction | None = None


@dataclass(frozen=True)
class TaskRow:
    """What one task brought and cost, in the order in which tasks were learned."""

    index: Positive  #: 1-based position in the scenario's own order (table 1's column)
    name: Name
    classes: Positive
    train_images: Count
    test_images: Positive
    accuracy: Fraction  #: test accuracy when learned
    accuracy_at_end: Fraction  #: test accuracy after the last task
    epochs: Count  #: epochs spent in training phases
    seconds: dict[str, Amount] = field(default_factory=dict)  #: phase -> seconds
    seconds_per_epoch: Amount | None = None
    images_per_second: Amount | None = None
    peak_memory_bytes: Count | None = None
    energy_joules: Amount | None = None
    goal: Fraction | None = None  #: CPG's accuracy goal
    goal_met: bool | None = None
    status: Name = "learned"  #: "learned", "goal missed", "task-1 network"
    curve: tuple[CurvePoint, ...] = ()
    peak_memory: dict[str, dict[str, Count]] = field(default_factory=dict)  #: phase -> kind -> bytes

    @property
    def training_seconds(self) -> float:
        """Seconds in training phases; loading, evaluation, goals, warm-up and saving are never in it."""
        return sum(self.seconds.get(phase, 0.0) for phase in TRAINING_PHASES)


@dataclass(frozen=True)
class SizeComponent:
    """``count`` numbers of ``bits`` each, needed to restore ``task`` (None: shared by all tasks)."""

    name: Name
    task: Name | None
    count: Count
    bits: Count
    dtype: Name
    purpose: Name = ""

    @property
    def bytes(self) -> int:
        """Bytes, each packed tensor rounded up to a whole byte."""
        return (self.count * self.bits + 7) // 8


@dataclass(frozen=True)
class Size:
    """Itemised storage, the totals under each accounting rule, and what was really written."""

    components: tuple[SizeComponent, ...]
    rules: dict[str, Count | None]  #: "itemised", "cpg_table" -> bytes
    written_bytes: Count | None = None  #: of the files: backbone, and what each task adds
    header_bytes: Count = 0  #: of which the files' headers; the rest is ``itemised`` to the byte
    table_parts: dict[str, Count] = field(default_factory=dict)  #: what "cpg_table" is the sum of -> bytes
    soft_share: Fraction | None = None  #: of all mask units, those with a value beside their bit; None: none may have


@dataclass(frozen=True, slots=True)
class MaskStatistic:
    """Mask units of one layer for one task: ``ones + soft + zeros == units`` (figure 6)."""

    task: Name
    layer: Name
    units: Count
    ones: Count
    soft: Count
    zeros: Count


@dataclass(frozen=True)
class NetworksFrom:
    """The finished run whose networks a run started from; its own record tells all else."""

    run_id: Name
    method: Name
    title: Name  #: of the method
    learned_sha256: dict[str, str] = field(default_factory=dict)  #: task -> of what that run kept of it
    training_seconds: dict[str, Amount] = field(default_factory=dict)  #: task -> what it took that run
    same_hardware: bool = False  #: both were timed on the same, so that their times may be added up

    @property
    def seconds(self) -> float:
        """Training seconds of all its tasks."""
        return sum(self.training_seconds.values())


@dataclass(frozen=True)
class PretrainedRow:
    """How the network that all tasks start from does on the data set that it was pretrained on, after the last task, as
    the method still has it."""

    name: Name  #: "imagenet"
    title: Name
    classes: Positive
    images: Count = 0  #: validation images that it was evaluated on
    accuracy: Fraction | None = None  #: None: not run
    freed: Fraction = 0.0  #: share of its convolution and hidden linear weights that the method gave to the tasks
    note: Name = ""  #: why it was not run, or what to know of it


@dataclass(frozen=True)
class RunRecord:
    """Everything that one run leaves; see the module's units.

    ``method`` has, as far as they are known: ``title`` (str), ``published`` ("2021-06", empty for a baseline),
    ``order`` (int, among methods of one date), ``paper`` (str), ``masks`` (bool), ``no_forgetting`` (bool), ``look``
    ([colour on a light page, colour on a dark one, both "#rrggbb", matplotlib's marker], or null), ``reference`` (one
    of ``REFERENCES``, or empty), ``lower_bound`` (bool: a head on the frozen backbone and nothing else), ``measures``
    (name -> ``title``, ``unit`` and ``meaning`` of a number in the record's own ``measures``), ``caveat`` (str: what
    to know wherever a number of the method stands, or empty). Readers check each: a method may be anybody's.
    """

    run_id: Name
    status: str
    spec: dict[str, Any]
    provenance: dict[str, Any]
    error: str | None = None
    tasks: tuple[TaskRow, ...] = ()
    accuracy_matrix: tuple[tuple[Fraction | None, ...], ...] = ()
    mean_accuracy: Fraction | None = None
    forgetting: Change | None = None
    backward_transfer: Change | None = None
    training_seconds_total: Amount | None = None
    trainable_parameters: Count | None = None
    forward_flops: Count | None = None  #: operations of one image's forward pass; None: an older record has none
    size: Size | None = None
    mask_statistics: tuple[MaskStatistic, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)  #: the method's own numbers after the last task, by name
    learned_sha256: dict[str, str] = field(default_factory=dict)  #: task -> of the tensors that it adds; {}: not known
    task1_network: dict[str, Any] | None = None  #: the shared backbone: seconds, epochs, accuracy, key, reused
    pretrained_row: PretrainedRow | None = None  #: None: no such data set is part of the published table
    networks_from: NetworksFrom | None = None  #: the run whose networks it started from; None: it trained its own
    seconds: dict[str, Amount] = field(default_factory=dict)  #: phases outside any task: load, warm-up, save, ...
    peak_memory: dict[str, dict[str, Count]] = field(default_factory=dict)  #: of those phases, by kind, bytes
    energy_joules: Amount | None = None  #: of all phases; a task's own are of its training phases
    wall_seconds: Amount | None = None
    warnings: tuple[str, ...] = ()
    method: dict[str, Any] = field(default_factory=dict)  #: what a report shows of the method, see below; {}: not known
    schema_version: int = SCHEMA_VERSION

    @property
    def finished(self) -> bool:
        """True for a run that ended as it should."""
        return self.status == FINISHED

    @property
    def is_trial(self) -> bool:
        """True for a trial of ``tune``: its accuracies are of validation images."""
        return self.spec.get("measured_on") == VALIDATION

    @property
    def is_synthetic(self) -> bool:
        """True for a run on generated images: its accuracies say nothing, its times, memory and sizes do."""
        return bool(self.spec.get("synthetic"))

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value, ``schema_version`` first."""
        value = dataclasses.asdict(self)
        return {"schema_version": value.pop("schema_version"), **value}

    @classmethod
    def from_json(cls, value: Any) -> RunRecord:
        """Read a record back.

        Raises:
            SchemaError: not a record, another version, or a field of the wrong shape.
        """
        if not isinstance(value, dict) or "schema_version" not in value or "run_id" not in value:
            raise SchemaError("it is no run record (no schema_version and run_id)")
        if value["schema_version"] != SCHEMA_VERSION:
            version = brief(value["schema_version"])
            raise SchemaError(f"it has schema version {version}, this reader knows {SCHEMA_VERSION}")
        try:
            plain = known(cls, value)
            plain["tasks"] = _task_rows(value.get("tasks") or ())
            plain["accuracy_matrix"] = tuple(tuple(row) for row in value.get("accuracy_matrix") or ())
            plain["size"] = _size(value["size"]) if value.get("size") else None
            networks = value.get("networks_from")
            row = value.get("pretrained_row")
            plain["pretrained_row"] = made(PretrainedRow, row) if row else None
            plain["networks_from"] = made(NetworksFrom, networks) if networks else None
            plain["mask_statistics"] = all_made(MaskStatistic, value.get("mask_statistics") or ())
            plain["warnings"] = tuple(value.get("warnings") or ())
            check_fields(cls, plain)
            record = cls(**plain)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise SchemaError(f"a field has the wrong shape ({error})") from error
        if record.status not in (FINISHED, FAILED):
            raise SchemaError(f"its status is {brief(record.status)}, neither {FINISHED!r} nor {FAILED!r}")
        return record


def _task_rows(rows: Any) -> tuple[TaskRow, ...]:
    curves = [row.get("curve") or () for row in rows]
    points = iter(all_made(CurvePoint, [point for curve in curves for point in curve]))
    return all_made(
        TaskRow,
        [{**row, "curve": tuple(islice(points, len(curve)))} for row, curve in zip(rows, curves, strict=True)],
    )


def _size(value: dict[str, Any]) -> Size:
    return made(Size, value, components=all_made(SizeComponent, value["components"]))
