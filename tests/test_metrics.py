"""Mean accuracy, forgetting and backward transfer on matrices worked out by hand."""

from __future__ import annotations

import pytest

from results.metrics import Matrix, backward_transfer, forgetting, mean_accuracy

#: task 1 gains then loses, task 2 loses, task 3 is the last
FORGETS: Matrix = [
    [0.90, None, None],
    [0.95, 0.80, None],
    [0.70, 0.60, 0.50],
]
KEEPS: Matrix = [[0.9, None], [0.9, 0.4]]


def test_mean_accuracy_is_the_mean_of_the_last_row() -> None:
    assert mean_accuracy(FORGETS) == pytest.approx((0.70 + 0.60 + 0.50) / 3)
    assert mean_accuracy([[0.25]]) == 0.25


def test_forgetting_counts_from_the_best_accuracy_that_a_task_ever_had() -> None:
    assert forgetting(FORGETS) == pytest.approx(((0.95 - 0.70) + (0.80 - 0.60)) / 2)
    assert forgetting(KEEPS) == 0.0


def test_forgetting_is_negative_where_the_last_task_helped() -> None:
    assert forgetting([[0.5, None], [0.8, 0.9]]) == pytest.approx(-0.3)


def test_backward_transfer_counts_from_the_accuracy_when_learned() -> None:
    assert backward_transfer(FORGETS) == pytest.approx(((0.70 - 0.90) + (0.60 - 0.80)) / 2)
    assert backward_transfer(KEEPS) == 0.0
    assert backward_transfer([[0.5, None], [0.8, 0.9]]) == pytest.approx(0.3)


def test_one_task_has_neither_forgetting_nor_transfer() -> None:
    assert forgetting([[0.7]]) is None
    assert backward_transfer([[0.7]]) is None
