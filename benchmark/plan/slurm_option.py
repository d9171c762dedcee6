"""``--slurm partition=NAME,time=MINUTES,…``: how runs become jobs of SLURM. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmark.errors import did_you_mean
from methods.engine.knobs import WrongValue, filled, items_of, knob, knobs_of, shown

Item = TypeVar("Item")

#: seconds up to which short runs share a job, where nobody says how many
SHORT_ENOUGH = 600.0


@dataclass(frozen=True)
class SlurmOptions:
    """What SLURM is asked for, for every job."""

    partition: str | None = knob(None, "partition")
    time: int = knob(60, "limit of a job; a run that takes longer is queued again and goes on", "minutes", at_least=1)
    gpus: int = knob(0, "cards of a job", at_least=0)
    cpus: int | None = knob(None, "processors of a job; threads times workers where it is not given", at_least=1)
    memory: float | None = knob(None, "of a job", "GB", above=0)
    constraint: str | None = knob(None, "features that the node must have")
    account: str | None = knob(None, "who pays")
    qos: str | None = knob(None, "quality of service")
    exclude: str | None = knob(None, "nodes not to use")
    parallel: int = knob(64, "jobs of an array at a time", at_least=1)
    chunk: int | None = knob(
        None, "runs of a job, one after another; where it is not given as many as take ten minutes", at_least=1
    )
    tries: int = knob(3, "jobs of a run that may end without getting further", at_least=1)
    setup: tuple[str, ...] = knob((), "lines of shell before a job's command; in a configuration file")


def read_slurm(value: Any) -> dict[str, Any] | None:
    """What ``--slurm`` or a block of a configuration file says, checked; None: nothing.

    Args:
        value: ``"partition=gpu,time=120"``; a value may hold commas, as in ``"partition=a,b,gpus=1"``; or a mapping.

    Raises:
        WrongValue: an unknown name, or a value that it cannot take.
    """
    if value is None or value is False or value == "none":
        return None
    found = dict(value) if isinstance(value, Mapping) else _named(value)
    names = knobs_of(SlurmOptions)
    for name in found:
        if name not in names:
            also = {"timeout": "time", "minutes": "time", "gpu": "gpus", "mem": "memory", "gres": "gpus"}
            raise WrongValue(f"has no {shown(name)}.{did_you_mean(str(name), names, also)} It takes {', '.join(names)}")
    try:
        options = filled(SlurmOptions, {name: item for name, item in found.items() if item is not None})
    except WrongValue as error:
        raise WrongValue(f"takes another {error}") from None
    return {name: item for name, item in dataclasses.asdict(options).items() if name in found}


def slurm_options(values: Mapping[str, Any] | None) -> SlurmOptions:
    """With the defaults of what is not given."""
    return SlurmOptions(**{**(values or {}), "setup": tuple((values or {}).get("setup", ()))})


def _named(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    last = ""
    for word in [part for item in items_of(value) for part in str(item).split(",")]:
        name, equals, rest = word.strip().partition("=")
        if equals:
            last, found[name] = name, rest
        elif last:
            found[last] += f",{name}"
        else:
            raise WrongValue(f"must be name=value, such as partition=gpu,time=120, not {shown(str(value))}")
    return found


def chunk_size(options: SlurmOptions, runs: int, seconds: float | None) -> int:
    """Runs of a job: as many as asked for; else as take ``SHORT_ENOUGH``, but no more than keep all jobs busy.

    Args:
        seconds: that a run takes, about; None: not known.
    """
    if options.chunk is not None:
        return options.chunk
    most = math.ceil(runs / options.parallel)
    short = 1 if not seconds else int(SHORT_ENOUGH / seconds)
    return max(1, min(most, short))


def chunked(items: Sequence[Item], size: int) -> list[list[Item]]:
    """The items in groups of ``size``, in their order."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
