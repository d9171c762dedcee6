"""Runs that others start from: a method that makes something of another's networks needs a finished run of that one.

Which method that is stands in the card (``Needs.networks_of``). The needed run is one like any other, as if it had been
asked for: the same scenario, seed, backbone, selection and settings, a folder and a record of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from benchmark.plan.spec import RunSpec
from methods.registry import METHODS


def needed_run(spec: RunSpec) -> RunSpec | None:
    """The run whose networks ``spec`` starts from; None: it trains its own."""
    of = METHODS[spec.method].needs.networks_of
    if of is None:
        return None
    assert spec.networks is not None
    return dataclasses.replace(spec, method=of, settings=spec.networks, networks=None, inputs=())


def how_to_repeat(spec: RunSpec, needed: RunSpec) -> str:
    """What to do where a finished run has not got the networks that ``spec`` starts from."""
    return (
        f"repeat that run (--method {needed.method} --force --keep-weights all, all else as it is), or give --force "
        f"with {spec.method}, which repeats both"
    )


def with_needed(specs: Iterable[RunSpec]) -> Iterator[RunSpec]:
    """The runs of a plan, each behind the one that it needs; a needed run that is planned anyway stands there once."""
    planned: set[str] = set()
    added: set[str] = set()
    for spec in specs:
        needed = needed_run(spec)
        if needed is not None and needed.run_id not in planned:
            planned.add(needed.run_id)
            added.add(needed.run_id)
            yield needed
        if spec.run_id not in added:
            planned.add(spec.run_id)
            yield spec
