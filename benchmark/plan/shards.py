"""``--shard 2/5``: one part of a plan, for machines that share nothing. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.errors import RequestError
from benchmark.plan.needed import needed_run
from benchmark.plan.spec import RunSpec


def shard_of(specs: Sequence[RunSpec], shard: tuple[int, int] | None) -> list[RunSpec]:
    """The runs of one part, in the plan's order; all of them where ``shard`` is None.

    A run is in the part of the run whose networks it starts from. Parts take runs in turn, and the turn moves on by one
    in every round, so that no part gets the same method of every seed.

    Raises:
        RequestError: the part is empty.
    """
    if shard is None:
        return list(specs)
    part, parts = shard
    places: dict[str, int] = {}
    for spec in specs:
        places.setdefault(_group(spec), len(places))
    found = [spec for spec in specs if _part(places[_group(spec)], parts) == part - 1]
    if not found:
        raise RequestError(
            f"--shard {part}/{parts} is empty: there are {len(places)} runs to share out; take fewer parts."
        )
    return found


def _group(spec: RunSpec) -> str:
    needed = needed_run(spec)
    return (needed or spec).run_id


def _part(place: int, parts: int) -> int:
    return (place + place // parts) % parts
