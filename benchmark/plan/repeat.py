"""Whether a repeated run came out as its record says, and what was different where it did not."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from benchmark.errors import RequestError
from benchmark.plan.device import device_of
from benchmark.plan.request import SELECTIONS, Request
from benchmark.plan.spec import RunSpec
from methods.card import BN_POLICIES
from methods.registry import use_plugins
from results.reader import read_record
from results.schema import MaskStatistic, RunRecord, SchemaError
from results.shapes import Within, check_fields

#: parts of a record's provenance that can change numbers, in words
SUSPECTS = {
    "data": ("data_fingerprint",),
    "torch": ("packages", "torch"),
    "CPU": ("host", "cpu"),
    "instruction set": ("host", "capability"),
    "threads": ("host", "threads"),
    "device": ("device", "name"),
    "commit": ("git", "commit"),
}


def read(path: Path) -> tuple[RunRecord, RunSpec]:
    """A record and the specification to repeat it by.

    Raises:
        RequestError: no record, or a specification that this version cannot carry out; the message says why.
    """
    try:
        record = read_record(path)
        check_fields(_Origin, record.provenance)
        check_fields(_Before, record.provenance.get("options") or {})
        _require_paths(record.provenance.get("options") or {})
        check_fields(_Host, record.provenance.get("host") or {})
        use_plugins(plugins_of_record(record))
        spec = RunSpec.from_json(record.spec)
        _carry_out_able(spec)
    except (SchemaError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = f"its spec lacks {error}" if isinstance(error, KeyError) else str(error)
        raise RequestError(f"{path} cannot be repeated: {reason}.") from error
    return record, spec


def plugins_of_record(record: RunRecord) -> tuple[str, ...]:
    """Modules that the run took methods from."""
    named = (record.provenance.get("options") or {}).get("plugins") or ()
    return tuple(str(module) for module in named)


@dataclass(frozen=True)
class _Origin:
    """The parts of a record's provenance that its repetition reads, where they are there."""

    options: dict[str, Any] | None = None
    host: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Before:
    """What of a record's options serves for its repetition, where it is there."""

    scenario_source: str | None = None
    data_root: str | None = None
    weights: str | None = None
    plugins: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Host:
    threads: Annotated[int, Within(0, 1024, "a number of threads from 0 to 1,024")] | None = None


def _require_paths(options: Mapping[str, Any]) -> None:
    """What options name as paths can be such, whether or not anything is there. Raises ValueError."""
    for name in ("scenario_source", "data_root", "weights"):
        try:
            os.lstat(options.get(name) or ".")
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise ValueError(f"its {name} is too long for a path") from None
        except ValueError:
            raise ValueError(f"its {name} holds a character that no path has") from None


def _carry_out_able(spec: RunSpec) -> None:
    """The plan's own rules hold. Raises ValueError."""
    for name, known in (("selection", SELECTIONS), ("bn_policy", BN_POLICIES)):
        if getattr(spec, name) not in known:
            raise ValueError(f"{name} is {getattr(spec, name)!r}, none of {', '.join(known)}")
    if not spec.task_indices or spec.task_indices[0] != spec.initial_task:
        raise ValueError("its tasks do not begin with the initial one")
    if len(spec.task_names) != len(spec.task_indices):
        raise ValueError("its task_names and task_indices are not of one length")


def request_to_repeat(record: RunRecord, spec: RunSpec, told: Mapping[str, Any]) -> Request:
    """What to carry a record's run out with: as it was, unless ``told`` otherwise. Raises RequestError."""
    options = record.provenance.get("options") or {}
    found: dict[str, Any] = {
        "scenario": options.get("scenario_source") or spec.scenario,
        "threads": (record.provenance.get("host") or {}).get("threads") or 0,
        "device": spec.device,
    }
    for name in ("data_root", "weights"):
        if options.get(name):
            found[name] = Path(options[name])
    found |= told
    plugins = (*found.get("plugins", ()), *plugins_of_record(record))
    return Request(**{**found, "device": device_of(found["device"]), "plugins": plugins})


def inputs_differ(before: RunRecord, after: RunRecord) -> list[str]:
    """What the network sees of the images otherwise than then, one sentence a task; records of old do not know."""
    then, now = before.spec.get("inputs") or [], after.spec.get("inputs") or []
    return [
        f"{one['task']} was seen with other {', '.join(key for key in one if one[key] != other.get(key))}"
        for one, other in zip(then, now, strict=False)
        if one != other
    ]


def identical(before: RunRecord, after: RunRecord) -> bool:
    """Accuracies and masks are the same; where both records know them, every bit of what was learned is, too."""
    learned = before.learned_sha256 == after.learned_sha256 or not (before.learned_sha256 and after.learned_sha256)
    measured = before.measures == after.measures or not (before.measures and after.measures)
    return (
        learned
        and measured
        and after.accuracy_matrix == before.accuracy_matrix
        and after.mask_statistics == before.mask_statistics
    )


def verdict(before: RunRecord, after: RunRecord) -> str:
    """One sentence: identical, or where first it is not, and what differs between the two runs' provenance."""
    if identical(before, after):
        bits = ", and every bit of what each task keeps" if before.learned_sha256 and after.learned_sha256 else ""
        return f"identical: every accuracy and every mask count is that of the record{bits}"
    different = [
        f"{name} {_at(before.provenance, path)} then, {_at(after.provenance, path)} now"
        for name, path in SUSPECTS.items()
        if _at(before.provenance, path) != _at(after.provenance, path)
    ]
    reasons = "; ".join(different) or "nothing that the records know of differs"
    return f"not identical: {_first_difference(before, after)} ({reasons})"


def _first_difference(before: RunRecord, after: RunRecord) -> str:
    for row, (one, other) in enumerate(zip(after.accuracy_matrix, before.accuracy_matrix, strict=False)):
        for column, (now, then) in enumerate(zip(one, other, strict=False)):
            if now != then:
                names = [task.name for task in before.tasks]
                where = f"on {names[column]} after learning {names[row]}"
                if after.is_synthetic:
                    return f"other images are right {where}"
                return f"accuracy {where} is {now}, the record has {then}"
    if len(after.accuracy_matrix) != len(before.accuracy_matrix):
        return f"{len(after.accuracy_matrix)} tasks were learned, the record has {len(before.accuracy_matrix)}"
    for mask, was in zip(after.mask_statistics, before.mask_statistics, strict=False):
        if mask != was:
            return f"the mask of {mask.task}, {mask.layer}, has {_counts(mask)}, the record {_counts(was)}"
    if len(after.mask_statistics) != len(before.mask_statistics):
        return f"{len(after.mask_statistics)} mask layers were counted, the record has {len(before.mask_statistics)}"
    for name, value in after.measures.items():
        if before.measures and value != before.measures.get(name):
            return f"the measure {name} is {value}, the record has {before.measures.get(name)}"
    names = [name for name, digest in before.learned_sha256.items() if after.learned_sha256.get(name) != digest]
    return f"accuracies and mask counts agree, but the bits kept of {', '.join(names) or 'some task'} do not"


def _counts(mask: MaskStatistic) -> str:
    return f"{mask.ones} ones, {mask.soft} soft values and {mask.zeros} zeros"


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
