"""The statistics of the paper's results are the textbook's."""

import math

import numpy as np
import pytest
from scipy import stats

from validation.paper.statistics import geometric_interval, holm, mean_interval, paired, ratio


def test_the_interval_is_students():
    """1 .. 5: mean 3, s = sqrt(2.5), t_0.975(4) = 2.7764451051977934 (Abramowitz and Stegun, table 26.10: 2.776)."""
    mean, low, high = mean_interval([1, 2, 3, 4, 5])
    half = 2.7764451051977934 * math.sqrt(2.5 / 5)
    assert (mean, low, high) == pytest.approx((3, 3 - half, 3 + half), rel=1e-12)
    assert mean_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_the_geometric_interval_is_that_of_the_logarithms():
    """Powers of two: the mean of the exponents 1 .. 5, and an interval that no positive number's can make negative."""
    mean, low, high = geometric_interval(2.0 ** np.arange(1, 6))
    assert np.log2([mean, low, high]) == pytest.approx(mean_interval([1, 2, 3, 4, 5]), rel=1e-12)


def test_the_interval_covers_as_often_as_it_says():
    """2,000 samples of ten normal numbers: 95 % of the intervals cover the mean, to four standard errors of a count."""
    rng = np.random.default_rng(0)
    covered = sum(low <= 0 <= high for _, low, high in (mean_interval(rng.standard_normal(10)) for _ in range(2000)))
    assert abs(covered - 1900) < 4 * math.sqrt(2000 * 0.95 * 0.05)


def test_pairs_and_ratios():
    """All ten differences positive: the exact two-sided p of signed ranks is 2 / 2^10. A ratio of factors is exact."""
    a = np.arange(1.0, 11.0)
    found = paired(3 * a, a)
    assert found["p"] == pytest.approx(2 / 2**10, rel=1e-12)
    assert found["mean"] == 11.0
    assert found["d"] == pytest.approx(11 / np.std(2 * a, ddof=1), rel=1e-12)
    assert ratio(4 * a, a)["mean"] == pytest.approx(4.0, rel=1e-12)
    assert ratio(4 * a, a)["of_b"] == pytest.approx(stats.gmean(a), rel=1e-12)
    assert paired(a, a)["p"] == 1.0
    assert stats.t.ppf(0.975, 9) == pytest.approx(2.262157, abs=1e-6)


def test_holm_steps_down():
    """Holm 1979: the smallest p times n, the next times n - 1, never falling, at most one."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
