"""Means, intervals and paired differences against worked examples and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.statistics import (
    Difference,
    Interval,
    agrees_with_published,
    bootstrap_interval,
    mean_interval,
    more_seeds_needed,
    paired_difference,
    t_quantile,
)


def test_student_quantiles_are_those_of_any_table() -> None:
    assert t_quantile(1) == pytest.approx(12.7062047)
    assert t_quantile(2) == pytest.approx(4.30265273)
    assert t_quantile(30) == pytest.approx(2.04227246)


def test_interval_of_one_two_three() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval is not None
    assert interval.mean == 2.0
    assert interval.half_width == pytest.approx(4.30265273 / 3**0.5)  # s = 1
    assert interval.n == 3


def test_interval_agrees_with_scipy() -> None:
    sample = np.random.default_rng(3).normal(0.7, 0.02, 9)
    interval = mean_interval(sample.tolist())
    low, high = stats.t.interval(0.95, 8, loc=sample.mean(), scale=stats.sem(sample))
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_a_mean_and_no_interval() -> None:
    interval = mean_interval([0.8])
    assert interval == Interval(0.8, None, 1)
    assert interval.low is None
    assert mean_interval([]) is None


def test_paired_difference_worked_by_hand() -> None:
    a = {(1, 0): 0.8, (2, 0): 0.6, (1, 1): 0.9, (2, 1): 0.7, (3, 1): 0.1}
    b = {(1, 0): 0.7, (2, 0): 0.6, (1, 1): 0.7, (2, 1): 0.6, (1, 5): 0.0}
    difference = paired_difference(a, b)
    assert difference is not None
    assert difference.pairs == 4  # task 3 and seed 5 stand on one side only
    assert difference.mean == pytest.approx(0.1)  # seed 0: (0.1 + 0) / 2; seed 1: (0.2 + 0.1) / 2
    assert difference.seeds.n == 2
    assert difference.seeds.half_width == pytest.approx(0.6353102)  # 12.7062 * 0.0707107 / sqrt(2)
    assert difference.low is not None
    assert difference.high is not None
    assert 0.0 <= difference.low < 0.1 < difference.high <= 0.2  # means of resamples of {0.1, 0, 0.2, 0.1}
    assert difference == paired_difference(a, b)  # the bootstrap is seeded


def test_verdict_needs_both_intervals() -> None:
    seeds = Interval(1.0, 0.5, 3)
    assert Difference(1.0, seeds, 0.2, 1.8, 60).above(0)
    assert not Difference(1.0, seeds, -0.1, 1.8, 60).above(0)
    assert not Difference(1.0, Interval(1.0, 1.5, 3), 0.2, 1.8, 60).above(0)
    assert not Difference(1.0, Interval(1.0, None, 1), None, None, 20).above(0)
    assert Difference(1.0, seeds, 0.2, 1.8, 60).below(2)


def test_one_seed_gives_no_bootstrap_and_nothing_shared_gives_nothing() -> None:
    one = paired_difference({(1, 0): 0.5, (2, 0): 0.7}, {(1, 0): 0.4, (2, 0): 0.6})
    assert one is not None
    assert (one.low, one.high, one.seeds.half_width) == (None, None, None)
    assert one.mean == pytest.approx(0.1)
    assert paired_difference({(1, 0): 0.5}, {(1, 1): 0.5}) is None


def test_bootstrap_agrees_with_scipys() -> None:
    sample = np.random.default_rng(5).normal(0.01, 0.03, 60)
    low, high = bootstrap_interval(sample, resamples=5_000)
    reference = stats.bootstrap((sample,), np.mean, n_resamples=5_000, method="percentile", random_state=1)
    assert low == pytest.approx(reference.confidence_interval.low, abs=6e-4)
    assert high == pytest.approx(reference.confidence_interval.high, abs=6e-4)


def test_bootstrap_draws_every_value_of_a_large_sample() -> None:
    sample = np.arange(300.0)  # beyond what one byte can index
    low, high = bootstrap_interval(sample)
    assert low < 149.5 < high
    assert high - low == pytest.approx(2 * 1.96 * sample.std() / 300**0.5, rel=0.1)


def test_published_number_is_one_more_run() -> None:
    measured = [78.0, 79.0, 80.0]  # s = 1: one more run lies within 4.3027 * sqrt(4/3) = 4.968 of 79
    assert agrees_with_published(measured, 83.9) is True
    assert agrees_with_published(measured, 84.1) is False
    assert agrees_with_published([78.0, 79.0], 79.0) is None
    assert agrees_with_published([79.28, 79.28, 79.28], 79.3) is True  # printed with one digit
    assert agrees_with_published([79.28, 79.28, 79.28], 79.4) is False


def test_more_seeds_worked_by_hand() -> None:
    # Spread s = 1 over 3 seeds, effect 1: t(n-1)/sqrt(n) falls below 1 at n = 7 (0.925), at n = 6 it is 1.049.
    difference = Difference(1.0, Interval(1.0, 4.30265273 / 3**0.5, 3), 0.5, 1.5, 60)
    assert more_seeds_needed(difference, 0.0) == 4
    # With a bootstrap reach of 1.9 the pairs decide: 1.9 * sqrt(3/n) < 1 needs n = 11.
    assert more_seeds_needed(Difference(1.0, difference.seeds, -0.9, 2.9, 60), 0.0) == 8


def test_no_number_of_seeds_shows_an_effect_of_nothing() -> None:
    assert more_seeds_needed(Difference(0.0, Interval(0.0, 1.0, 3), -1.0, 1.0, 60), 0.0) is None
    assert more_seeds_needed(Difference(1.0, Interval(1.0, None, 1), None, None, 20), 0.0) is None
