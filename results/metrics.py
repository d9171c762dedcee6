"""Numbers of an accuracy matrix: row i after learning task i, column j task j, None where j was not learned yet."""

from __future__ import annotations

from collections.abc import Sequence

Matrix = Sequence[Sequence[float | None]]


def mean_accuracy(matrix: Matrix) -> float:
    """Mean over tasks of the last row: the average accuracy (ACC)."""
    last = _known(matrix[-1])
    return sum(last) / len(last)


def forgetting(matrix: Matrix) -> float | None:
    """Mean over all but the last task of (best earlier accuracy - final accuracy); None with one task.

    Chaudhry et al. (ECCV 2018), equation 3, over the whole sequence.
    """
    tasks = len(matrix)
    if tasks < 2:
        return None
    drops = []
    for task in range(tasks - 1):
        earlier = _known([row[task] for row in matrix[task:-1]])
        final = matrix[-1][task]
        assert final is not None
        drops.append(max(earlier) - final)
    return sum(drops) / len(drops)


def backward_transfer(matrix: Matrix) -> float | None:
    """Mean over all but the last task of (final accuracy - accuracy when learned); None with one task.

    Lopez-Paz and Ranzato (NeurIPS 2017), equation 3.
    """
    tasks = len(matrix)
    if tasks < 2:
        return None
    changes = []
    for task in range(tasks - 1):
        final, learned = matrix[-1][task], matrix[task][task]
        assert final is not None
        assert learned is not None
        changes.append(final - learned)
    return sum(changes) / len(changes)


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
