"""The KSM paper's claim on training time, as far as measured training steps explain it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.numbers import signed
from reports.step_times import PARTS, StepRow, Steps, over


def why(steps: Steps) -> tuple[str, ...]:
    """Sentences on the paper's claim that kernel-wise masks train faster than element-wise ones (table 1, figure 4)."""
    return tuple(sentence for size in _sizes(steps.rows) for sentence in _why(steps.rows, size))


def _sizes(rows: Sequence[StepRow]) -> list[int]:
    return sorted({row.batch_size for row in rows})


def _why(rows: Sequence[StepRow], size: int) -> Iterator[str]:
    found = {(row.method, row.bn_policy): row for row in rows if row.batch_size == size and row.parts}
    for policy in ("frozen", "per-task"):
        ksm, piggyback = found.get(("ksm", policy)), found.get(("piggyback", policy))
        if ksm is None or piggyback is None:
            continue
        differences = ", ".join(f"{part} {signed(ksm.parts[part] - piggyback.parts[part], 2)}" for part in PARTS)
        yield (
            f"KSM over Piggyback, BN {policy} in both, batch {size}: {over(ksm, piggyback)} "
            f"({ksm.ms:.3g} and {piggyback.ms:.3g} ms; by part, ms: {differences})."
        )
    ours, theirs = found.get(("ksm", "per-task")), found.get(("piggyback", "frozen"))
    if ours is None or theirs is None:
        return
    yield (
        f"Each with the BN policy of its own code (KSM per-task, Piggyback frozen), batch {size}: {over(ours, theirs)}."
    )
    if ours.ms >= theirs.ms and ours.trained and theirs.trained:
        yield (
            f"KSM trains {theirs.trained / ours.trained:.2g} times fewer numbers (head and BN included), yet either "
            "mask needs the gradient of every weight it covers: fewer numbers spare time in the optimizer only, "
            f"{100 * theirs.parts['optimizer'] / theirs.ms:.0f} % of Piggyback's step here. Training BN takes time too."
        )
